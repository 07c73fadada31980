//! A proxy that the environment names is not asked: it would resolve names out of our sight.

use std::process::Stdio;

use super::*;

/// A test of this very program that fetches.
const FETCHES: &str = "fetch::tests::content::whole_pictures_are_taken_whatever_their_type_is_said_to_be";

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_asked() {
    let mut site = Site::silent().await;
    let proxy = format!("http://{}", at(PRIVATE, site.port));
    let mut again = tokio::process::Command::new(std::env::current_exe().unwrap());
    again.args([FETCHES, "--exact", "--test-threads=1"]).stdin(Stdio::null()).kill_on_drop(true);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, &proxy);
    }
    again.env_remove("no_proxy").env_remove("NO_PROXY");
    let output = tokio::time::timeout(Duration::from_mins(1), again.output()).await.unwrap().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    assert_eq!(site.reached().await, 0);
}
