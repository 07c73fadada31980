//! Requests whose fate is unknown, through the real layers: nothing is paid for twice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::vendor::{NO_SUCH_TASK, RESULT, Turn, Vendor, ok, results};
use super::{call, provider};
use crate::generation::{Generation, GenerationRequest, ImageSize, Seed, SizeWish};
use crate::providers::scripted::{request, wrapped};
use crate::providers::{Call, Error, ErrorKind, Policy, Provider};

struct Told {
    made: Result<Generation, Error>,
    calls: u32,
    /// The identities of the tasks that were sent.
    tasks: Vec<Value>,
    look_ups: usize,
}

fn layered(vendor: &Vendor, attempts: u32, keys: &Value) -> Arc<dyn Provider> {
    let policy =
        Policy { timeout: Duration::from_secs(5), attempts, backoff: Duration::from_millis(1), ..Policy::default() };
    wrapped(provider(&vendor.base_url(), keys), &policy)
}

fn asked() -> GenerationRequest {
    GenerationRequest { size: SizeWish::Exact(ImageSize::new(1, 1).unwrap()), ..request() }
}

async fn told(vendor: &Vendor, provider: &dyn Provider, call: &Call) -> Told {
    let made = provider.generate(&asked(), call).await;
    let tasks = vendor.asked("imageInference").iter().map(|task| task["taskUUID"].clone()).collect();
    let look_ups = vendor.asked("getResponse").len() + vendor.asked("getTaskDetails").len();
    Told { made, calls: call.upstream_calls(), tasks, look_ups }
}

async fn ask(attempts: u32, tasks: &[Turn], look_ups: &[Turn]) -> Told {
    let vendor = Vendor::start(tasks.iter().cloned(), look_ups.iter().cloned()).await;
    told(&vendor, &*layered(&vendor, attempts, &json!({})), &call()).await
}

fn done() -> Turn {
    results(&[&RESULT.replace(r#""seed":55"#, r#""seed":55,"status":"success""#)])
}

fn unknown() -> Turn {
    Turn::Say(400, NO_SUCH_TASK.to_owned())
}

fn acknowledged() -> Turn {
    ok(r#"{"data":[{"taskType":"imageInference","taskUUID":"<ID>"}]}"#)
}

fn processing() -> Turn {
    ok(r#"{"data":[{"taskType":"imageInference","taskUUID":"<ID>","status":"processing","progress":40}]}"#)
}

/// Every way in which an answer leaves it open whether the task has run.
fn doubts() -> Vec<Turn> {
    let status = |status: u16| Turn::Say(status, String::new());
    vec![
        Turn::Drop,
        Turn::BreakOff(format!(r#"{{"data":[{RESULT}]}}"#)),
        ok(r#"{"data":[{"taskUUID":"<ID>","imageBase"#),
        ok(r#"{"hello":"world"}"#),
        ok(""),
        Turn::SayWith(200, "content-type: text/html", "<html>sign in</html>".to_owned()),
        status(408),
        status(500),
        status(502),
        status(503),
        status(504),
        Turn::Say(500, r#"{"errors":[{"code":"internalServerError","taskUUID":"<ID>"}]}"#.to_owned()),
        Turn::Say(504, r#"{"error":{"code":"timeoutProvider","message":""}}"#.to_owned()),
    ]
}

#[tokio::test]
async fn a_lost_answer_is_found_by_the_task_at_once_and_paid_once() {
    for doubt in doubts() {
        let told = ask(1, std::slice::from_ref(&doubt), &[done()]).await;
        let made = told.made.unwrap_or_else(|error| panic!("{doubt:?}: {error}"));
        assert_eq!((made.cost_usd, made.images[0].seed), (Some(0.04), Some(Seed::from(55))), "{doubt:?}");
        assert_eq!((told.calls, told.tasks.len(), told.look_ups), (1, 1, 1), "{doubt:?}");
    }
}

#[tokio::test]
async fn a_task_that_is_over_is_found_by_its_details() {
    let details = format!(
        r#"{{"data":[{{"taskType":"getTaskDetails","taskUUID":"<ID>","request":[{{}}],"response":{{"data":[{RESULT}]}}}}]}}"#
    );
    for first in [unknown(), ok(r#"{"data":[]}"#), Turn::Say(404, String::new())] {
        let told = ask(1, &[Turn::Drop], &[first, ok(&details)]).await;
        assert!(told.made.is_ok());
        assert_eq!((told.calls, told.tasks.len(), told.look_ups), (1, 1, 2));
    }
    let empty = r#"{"data":[{"taskType":"getTaskDetails","taskUUID":"<ID>","request":[{}],"response":{"data":[]}}]}"#;
    let told = ask(1, &[Turn::Drop], &[unknown(), ok(empty)]).await;
    assert_eq!((told.made.unwrap_err().kind(), told.look_ups), (ErrorKind::NoImage, 2));
    let failed = r#"{"data":[{"taskType":"getTaskDetails","taskUUID":"<ID>","request":[{}],"response":{"errors":[{"code":"promptBlocked"}]}}]}"#;
    let told = ask(3, &[Turn::Drop], &[unknown(), ok(failed)]).await;
    assert_eq!((told.made.unwrap_err().kind(), told.calls), (ErrorKind::ContentRejected, 1));
}

#[tokio::test]
async fn a_task_that_never_arrived_is_sent_again_as_the_same() {
    for doubt in doubts() {
        let told = ask(2, std::slice::from_ref(&doubt), &[]).await;
        assert!(told.made.is_ok(), "{doubt:?}");
        assert_eq!((told.calls, told.tasks.len()), (2, 2), "{doubt:?}");
        assert_eq!(told.tasks[0], told.tasks[1], "{doubt:?}");
        // Once when it was lost, and once more before it was sent again.
        assert_eq!(told.look_ups, 4, "{doubt:?}");
    }
}

#[tokio::test]
async fn without_a_second_attempt_nothing_is_sent_again() {
    for (doubt, kind) in [
        (Turn::Drop, ErrorKind::Unavailable),
        (Turn::Say(500, String::new()), ErrorKind::Unavailable),
        (Turn::Say(503, String::new()), ErrorKind::Overloaded),
        (ok("[]"), ErrorKind::Protocol),
    ] {
        let told = ask(1, &[doubt], &[]).await;
        assert_eq!((told.made.unwrap_err().kind(), told.calls, told.tasks.len()), (kind, 1, 1));
    }
}

#[tokio::test]
async fn while_its_fate_cannot_be_learnt_nothing_is_sent_again() {
    let down = vec![Turn::Say(500, String::new()); 8];
    let told = ask(2, &[Turn::Drop], &down).await;
    assert_eq!(told.made.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((told.calls, told.tasks.len()), (1, 1));
}

#[tokio::test]
async fn a_task_whose_time_ran_out_is_found_by_the_next_attempt() {
    let vendor = Vendor::start([Turn::Hang], [processing(), done()]).await;
    let policy =
        Policy { timeout: Duration::from_secs(2), attempts: 2, backoff: Duration::from_millis(1), ..Policy::default() };
    let told = told(&vendor, &*wrapped(provider(&vendor.base_url(), &json!({})), &policy), &call()).await;
    assert!(told.made.is_ok());
    assert_eq!((told.calls, told.tasks.len(), told.look_ups), (1, 1, 2));
}

#[tokio::test]
async fn an_acknowledged_task_is_asked_for_until_it_is_done() {
    let told = ask(1, &[acknowledged()], &[processing(), done()]).await;
    assert!(told.made.is_ok());
    assert_eq!((told.calls, told.tasks.len(), told.look_ups), (1, 1, 2));
    let failed = ok(
        r#"{"data":[],"errors":[{"code":"timeoutProvider","status":"error","taskUUID":"<ID>","taskType":"imageInference"}]}"#,
    );
    let told = ask(1, &[acknowledged()], &[failed]).await;
    assert_eq!((told.made.unwrap_err().kind(), told.calls), (ErrorKind::Timeout, 1));
}

#[tokio::test]
async fn a_task_that_failed_for_certain_is_sent_anew_as_another() {
    let failed = ok(r#"{"errors":[{"code":"inferenceError","taskUUID":"<ID>"}]}"#);
    let told = ask(2, &[failed], &[]).await;
    assert!(told.made.is_ok());
    assert_eq!((told.calls, told.look_ups), (2, 0));
    assert_ne!(told.tasks[0], told.tasks[1]);
}

fn seen_before() -> Turn {
    let body = r#"{"errors":[{"code":"conflictTaskUUID","parameter":"taskUUID","taskUUID":"<ID>","taskType":"imageInference"}]}"#;
    Turn::Say(400, body.to_owned())
}

#[tokio::test]
async fn an_identity_that_the_vendor_has_seen_before_means_that_the_task_is_there() {
    let look_ups = [unknown(), unknown(), unknown(), unknown(), done()];
    let told = ask(2, &[Turn::Drop, seen_before()], &look_ups).await;
    assert!(told.made.is_ok());
    assert_eq!((told.calls, told.look_ups), (2, 5));
    assert_eq!(told.tasks[0], told.tasks[1]);
}

#[tokio::test]
async fn an_identity_that_only_seems_to_be_seen_before_is_changed() {
    let told = ask(2, &[seen_before()], &[]).await;
    assert!(told.made.is_ok());
    assert_eq!((told.calls, told.look_ups), (2, 2));
    assert_ne!(told.tasks[0], told.tasks[1]);
}

#[tokio::test]
async fn what_was_never_sent_is_not_looked_for() {
    let vendor = Vendor::start([], []).await;
    let nobody = vendor.base_url();
    drop(vendor);
    let error = provider(&nobody, &json!({})).generate(&asked(), &call()).await.unwrap_err();
    assert_eq!(error.to_string(), "the provider cannot be reached");
}

#[tokio::test]
async fn a_picture_that_cannot_be_fetched_yet_is_asked_for_and_not_made_again() {
    let at = RESULT.replace(r#""imageBase64Data":"<PX>""#, r#""imageURL":"<ORIGIN>/a.png""#);
    let vendor = Vendor::start([results(&[&at])], [results(&[&at])]).await;
    vendor.fetched([Turn::Say(503, String::new())]);
    let told = told(&vendor, &*layered(&vendor, 2, &json!({ "output_type": "url" })), &call()).await;
    assert!(told.made.is_ok());
    assert_eq!((told.calls, told.tasks.len(), told.look_ups), (1, 1, 1));
}

#[tokio::test]
async fn fewer_pictures_than_asked_are_a_failure() {
    let two = GenerationRequest { count: 2.try_into().unwrap(), ..asked() };
    let vendor = Vendor::start([], []).await;
    let error = layered(&vendor, 1, &json!({})).generate(&two, &call()).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NoImage, "1 of 2 pictures came back"));
    assert_eq!(vendor.asked("imageInference")[0]["numberResults"], 2);
}

#[tokio::test]
async fn parts_of_a_large_count_are_tasks_of_their_own() {
    let vendor = Vendor::start([Turn::Drop], [done()]).await;
    let count = GenerationRequest { count: 2.try_into().unwrap(), seed: Some(Seed::from(54)), ..asked() };
    let config = super::section(
        &vendor.base_url(),
        &json!({ "air": "runware:100@1", "limits": { "max_count": 1 } }),
        &json!({}),
    );
    let provider = wrapped(super::build(config).unwrap().first, &Policy::default());
    let generation = provider.generate(&count, &call()).await.unwrap();
    assert_eq!(generation.images.len(), 2);
    let tasks = vendor.asked("imageInference");
    assert_eq!((&tasks[0]["seed"], &tasks[1]["seed"]), (&json!(54), &json!(55)));
    assert_ne!(tasks[0]["taskUUID"], tasks[1]["taskUUID"]);
}
