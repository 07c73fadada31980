//! One limit of time for all of it.

use tokio::time::Instant;

use super::*;

const LIMIT: Duration = Duration::from_millis(300);

/// The outcome under [`LIMIT`], which must not take much longer than that.
async fn outcome(answer: Answer) -> &'static str {
    let site = Site::new(move |_| answer.clone()).await;
    let rules = Rules { timeout: LIMIT, ..rules() };
    let began = Instant::now();
    let outcome = fetcher(rules, &Names::all_private()).picture(&site.url("127.0.0.2", "/"), None).await;
    assert!(began.elapsed() < LIMIT + Duration::from_secs(3), "{:?}", began.elapsed());
    category(outcome)
}

#[tokio::test]
async fn whatever_takes_too_long_is_cut() {
    let bytes = picture(ImageFormat::Png);
    assert_eq!(outcome(Answer::default().then_hangs()).await, "timeout");
    assert_eq!(outcome(Answer::raw(200, &[], b"").then_hangs()).await, "timeout");
    assert_eq!(outcome(Answer::raw(200, &[], &bytes[..40]).then_hangs()).await, "timeout");
}

#[tokio::test]
async fn a_drip_is_cut_although_something_always_comes() {
    let mut drip = Answer::raw(200, &[], b"");
    drip.pieces.extend(picture(ImageFormat::Png).into_iter().map(|byte| (Duration::from_millis(5), vec![byte])));
    assert_eq!(outcome(drip).await, "timeout");
}

#[tokio::test]
async fn redirects_share_the_limit() {
    let mut slow = Answer::redirect(302, "/");
    for (pause, _) in &mut slow.pieces {
        *pause = Duration::from_millis(120);
    }
    assert_eq!(outcome(slow).await, "timeout");
}

struct Silent;

#[async_trait]
impl Resolve for Silent {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_does_not_answer_is_waited_for_no_longer() {
    let began = Instant::now();
    let fetcher = Fetcher::with_resolver(Rules::for_tests(&[]), Arc::new(Silent));
    assert_eq!(category(fetcher.picture("https://a.example/", None).await), "timeout");
    assert!(began.elapsed() <= fetcher.rules().timeout);
}
