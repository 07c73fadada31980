//! Tasks whose results come later, or whose answer was lost.

use provider_sim::{Behaviour, Fault, Simulator, Vendor};
use serde_json::{Value, json};

use crate::runware::{UUID, ask, task, with};
use crate::send;

async fn look_up(simulator: &Simulator, kind: &str) -> (u16, Value) {
    ask(simulator, &[json!({ "taskType": kind, "taskUUID": UUID })]).await
}

#[tokio::test]
async fn asynchronous_work_is_acknowledged_then_goes_on_then_is_done() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::default().with_pending(2));
    let later = with(&task(UUID), &json!({ "deliveryMethod": "async", "numberResults": 2 }));
    let (status, answer) = ask(&simulator, &[later]).await;
    assert_eq!((status, answer), (200, json!({ "data": [{ "taskType": "imageInference", "taskUUID": UUID }] })));
    for _ in 0..2 {
        let (_, answer) = look_up(&simulator, "getResponse").await;
        assert_eq!(answer["data"][0]["status"], "processing");
        assert!(answer["data"][0]["progress"].is_u64());
    }
    let (_, answer) = look_up(&simulator, "getResponse").await;
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    assert_eq!(answer["data"][1]["status"], "success");
    assert!(answer["data"][1]["imageURL"].is_string());
    assert_eq!((simulator.hits(), simulator.counts().lookups), (1, 3));
    assert_eq!(simulator.lookups().len(), 3);
}

#[tokio::test]
async fn asynchronous_work_may_fail_when_it_is_asked_for() {
    let simulator = Simulator::start().await;
    simulator.fail(Fault::Refused);
    let later = with(&task(UUID), &json!({ "deliveryMethod": "async" }));
    assert_eq!(ask(&simulator, &[later]).await.0, 200);
    let (_, answer) = look_up(&simulator, "getResponse").await;
    assert_eq!(answer["errors"][0]["code"], "contentPolicyViolation");
    assert_eq!((&answer["errors"][0]["status"], &answer["data"]), (&json!("error"), &json!([])));
    simulator.set(Behaviour::default().with_shape(1));
    let (_, answer) = look_up(&simulator, "getResponse").await;
    assert_eq!(answer["data"]["error"]["code"], "contentPolicyViolation");
}

#[tokio::test]
async fn what_was_lost_before_is_not_there_and_what_was_lost_after_is() {
    for (fault, there) in [
        (Fault::LostBefore, false),
        (Fault::Reset, false),
        (Fault::Close, false),
        (Fault::Status(500), false),
        (Fault::LostAfter, true),
        (Fault::ResetMidBody, true),
        (Fault::TruncatedBody, true),
        (Fault::EmptyBody(504), true),
    ] {
        assert_eq!(fault.runs(), there, "{fault}");
        let simulator = Simulator::start().await;
        simulator.fail(fault);
        let _ = send(&simulator, Vendor::Runware, "", &json!([task(UUID)])).await;
        let (status, answer) = look_up(&simulator, "getResponse").await;
        assert_eq!(status, if there { 200 } else { 404 }, "{fault}");
        assert_eq!(answer["data"][0]["imageURL"].is_string(), there, "{fault}");
        let (_, details) = look_up(&simulator, "getTaskDetails").await;
        assert_eq!(details["data"][0]["request"][0]["positivePrompt"] == "a fox", there, "{fault}");
        assert_eq!(simulator.counts().runs, usize::from(there), "{fault}");
        // Sending it again is refused where it was run, and runs where it was not.
        simulator.set(Behaviour::default());
        let (status, answer) = ask(&simulator, &[task(UUID)]).await;
        let code = answer["errors"][0]["code"].as_str();
        assert_eq!((status, code), if there { (400, Some("conflictTaskUUID")) } else { (200, None) }, "{fault}");
    }
}

#[tokio::test]
async fn asking_fails_only_where_it_is_told_to() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::failing(Fault::LostAfter).with_lookups_failing(Fault::Status(503)));
    let _ = send(&simulator, Vendor::Runware, "", &json!([task(UUID)])).await;
    assert_eq!(look_up(&simulator, "getResponse").await.0, 503);
}

#[tokio::test]
async fn what_buys_nothing_is_no_hit() {
    let simulator = Simulator::start().await;
    for kind in ["accountManagement", "modelSearch", "ping"] {
        assert_eq!(look_up(&simulator, kind).await.0, 200, "{kind}");
    }
    let upload =
        json!({ "taskType": "imageUpload", "taskUUID": UUID, "image": crate::data_uri(&crate::picture(4, 4)) });
    let (_, answer) = ask(&simulator, &[upload]).await;
    let image = answer["data"][0]["imageUUID"].clone();
    assert_eq!((simulator.hits(), simulator.counts().lookups), (0, 4));
    let other = "9d1d1d39-90f1-4cfd-8a3c-9a53b8a74e55";
    assert_eq!(ask(&simulator, &[with(&task(other), &json!({ "seedImage": image }))]).await.0, 200);
}
