//! An Easel behind an Easel: nothing is lost between them, and no request goes in a circle.

use provider_sim::{Fault, Simulator};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::easel::Easel;
use crate::upstreams::{NO_DEFAULTS, PROMPT};

/// An Easel over the stand-in, and another one over that.
async fn two(upstream: &Simulator) -> (Easel, Easel) {
    let behind = Easel::start(&format!(
        r#"{NO_DEFAULTS}
        [providers.studio]
        kind = "openai_compat"
        policy = {{ breaker = {{ failures = 0 }} }}
        [providers.studio.config]
        base_url = "{}"
        models = {{ any = {{ id = "sim-any", supports_steps = false }} }}
        "#,
        upstream.base_url()
    ))
    .await;
    let front = Easel::start(&over(&format!("http://127.0.0.1:{}", behind.port()))).await;
    (front, behind)
}

fn over(base_url: &str) -> String {
    format!(
        r#"{NO_DEFAULTS}
        [providers.other]
        kind = "openai_compat"
        policy = {{ breaker = {{ failures = 0 }} }}
        config = {{ dialect = "easel", base_url = "{base_url}" }}
        "#
    )
}

#[tokio::test]
async fn wishes_go_through_and_what_became_of_them_comes_back() {
    let upstream = Simulator::start().await;
    let (front, behind) = two(&upstream).await;
    let wish = json!({
        "prompt": PROMPT, "size": "64x48", "seed": 5, "steps": 3, "n": 2, "scheduler": "euler", "output_format": "webp",
    });
    let answer = front.generate(&wish).await;
    assert_eq!(answer.pictures(), [(64, 48), (64, 48)], "{}", answer.body);
    assert_eq!(answer.body["images"][0]["mime_type"], "image/webp");
    assert_eq!((&answer.body["images"][0]["seed"], &answer.body["ignored"]), (&json!(5), &json!(["steps"])));
    let asked = upstream.requests()[0].json();
    assert_eq!((&asked["seed"], &asked["scheduler"], &asked["size"]), (&json!(5), &json!("euler"), &json!("64x48")));
    let strict = json!({ "prompt": PROMPT, "steps": 3, "strict": true });
    front.generate(&strict).await.assert_problem(422, "unsupported");
    assert_eq!(upstream.hits(), 1);
    drop(behind);
}

#[tokio::test]
async fn a_failure_keeps_its_kind_on_the_way_back() {
    let upstream = Simulator::start().await;
    let (front, behind) = two(&upstream).await;
    for (fault, status, code) in [
        (Fault::Refused, 422, "content_rejected"),
        (Fault::Status(401), 502, "provider_unauthorized"),
        (Fault::Quota, 503, "provider_quota_exhausted"),
        (Fault::Status(503), 503, "provider_overloaded"),
        (Fault::EmptyData, 502, "provider_no_image"),
        (Fault::TruncatedJson, 502, "provider_protocol"),
        // The last, because nothing is asked again before the time is over.
        (Fault::RateLimit(Some(9)), 503, "provider_rate_limited"),
    ] {
        upstream.reset();
        upstream.fail(fault);
        let answer = front.generate(&json!({ "prompt": PROMPT, "size": "64x64" })).await;
        answer.assert_problem(status, code);
        assert_eq!(upstream.hits(), 1, "{code}");
        if code == "provider_rate_limited" {
            assert_eq!(answer.header("retry-after"), "9");
        }
    }
    drop(behind);
}

#[tokio::test]
async fn a_request_that_comes_back_is_refused_at_once() {
    // The way back to the very Easel that was asked, whose port is known only once it runs.
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let easel = Easel::start(&over(&format!("http://{}", door.local_addr().unwrap()))).await;
    let port = easel.port();
    let mut passing = JoinSet::new();
    passing.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut from, _)) = door.accept().await {
            connections.spawn(async move {
                let mut to = TcpStream::connect(("127.0.0.1", port)).await?;
                tokio::io::copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    let answer = easel.generate(&json!({ "prompt": PROMPT })).await;
    answer.assert_problem(422, "unsupported");
    assert_eq!(answer.attempts(), ["other failed unsupported 1"]);
    assert!(answer.body["hint"].as_str().unwrap().contains("circle"), "{}", answer.body);

    let far = easel.generate_with("x-easel-via", "a, b, c, d, e", &json!({ "prompt": PROMPT })).await;
    far.assert_problem(508, "loop_detected");
    let odd = easel.generate_with("x-easel-via", "a b", &json!({ "prompt": PROMPT })).await;
    odd.assert_problem(400, "bad_request");
}
