//! Runware through the front door, with the shipped section: what it is asked, and that nothing is paid for twice.

use base64::Engine as _;
use provider_sim::{Behaviour, Fault, Simulator, Vendor};
use serde_json::{Value, json};

use crate::easel::{Answer, Easel};
use crate::upstreams::PROMPT;

const KEY: &str = "rw-of-a-test";

/// The shipped section at this stand-in, which takes this key only, and another stand-in to fall back to.
async fn with_runware_at(upstream: &Simulator, fallback: &Simulator, more: &str) -> Easel {
    let (base_url, next) = (upstream.url(Vendor::Runware), fallback.base_url());
    let config = format!(
        "providers.gemini.enabled = false\nproviders.local.enabled = false\nproviders.openai.enabled = false\n\
         [providers.next]\nkind = \"openai_compat\"\ndefault_model = \"any\"\n\
         [providers.next.config]\nbase_url = \"{next}\"\n[providers.next.config.models.any]\nid = \"sim-any\"\n{more}"
    );
    let variables = [
        ("RUNWARE_API_KEY", KEY),
        // One test makes it fail more often than a breaker would let it.
        ("EASEL_PROVIDERS__RUNWARE__POLICY__BREAKER__FAILURES", "0"),
        ("EASEL_PROVIDERS__RUNWARE__CONFIG__BASE_URL", base_url.as_str()),
    ];
    Easel::start_with(&config, &variables).await
}

fn failing(upstream: &Simulator, fault: Fault) {
    upstream.reset();
    upstream.set(Behaviour::failing(fault).with_key(KEY));
}

/// A picture that a caller gives.
fn picture(side: u32) -> String {
    let mut file = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(side, side).write_to(&mut file, image::ImageFormat::Png).unwrap();
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(file.into_inner()))
}

fn sent(upstream: &Simulator) -> Vec<Value> {
    upstream.requests().iter().map(|request| request.json()[0].clone()).collect()
}

async fn small(easel: &Easel) -> Answer {
    easel.generate(&json!({ "prompt": PROMPT, "size": "128x128" })).await
}

#[tokio::test]
async fn every_shipped_model_is_asked_in_a_way_that_the_vendor_takes() {
    let (upstream, next) = (Simulator::start().await, Simulator::start().await);
    upstream.set(Behaviour::default().with_key(KEY));
    let easel = with_runware_at(&upstream, &next, "").await;
    let listed = easel.get("/api/image-models").await;
    let entry = &listed.body["providers"]["runware"];
    assert_eq!((&entry["priority"], &entry["default_model"]), (&json!(1), &json!("juggernaut_pro")));
    let shipped = [
        ("juggernaut_pro", "rundiffusion:130@100", 20, 7.5, false),
        ("juggernaut_lightning", "rundiffusion:110@101", 4, 1.0, false),
        ("flux_schnell", "runware:100@1", 4, 3.5, false),
        ("hidream_fast", "runware:97@3", 8, 7.0, true),
    ];
    assert_eq!(entry["models"].as_array().unwrap().len(), shipped.len());
    for (key, air, steps, guidance, takes_negative) in shipped {
        upstream.reset();
        upstream.set(Behaviour::default().with_key(KEY));
        let answer =
            easel.generate(&json!({ "prompt": PROMPT, "model": format!("runware/{key}"), "n": 2, "seed": 7 })).await;
        assert_eq!(answer.pictures(), [(1024, 1024); 2], "{key}");
        assert_eq!((&answer.body["images"][0]["seed"], &answer.body["images"][1]["seed"]), (&json!(7), &json!(8)));
        assert_eq!(answer.body["cost_usd"], 0.0052);
        let task = sent(&upstream).remove(0);
        assert_eq!(
            (&task["model"], &task["steps"], &task["CFGScale"], &task["numberResults"]),
            (&json!(air), &json!(steps), &json!(guidance), &json!(2))
        );
        let negative = if takes_negative { json!("worst quality, low quality, blurry") } else { Value::Null };
        assert_eq!(task["negativePrompt"], negative, "{key}");
        let wish = json!({ "prompt": PROMPT, "model": format!("runware/{key}"), "negative_prompt": "dull", "size": "512x512" });
        let ignored = easel.generate(&wish).await.body["ignored"].clone();
        assert_eq!(ignored, if takes_negative { json!([]) } else { json!(["negative_prompt"]) }, "{key}");
    }
    let too_large =
        easel.generate(&json!({ "prompt": PROMPT, "model": "runware/flux_schnell", "size": "1088x1024" })).await;
    too_large.assert_problem(422, "unsupported");
}

#[tokio::test]
async fn any_model_of_the_vendors_is_had_by_its_own_name() {
    let (upstream, next) = (Simulator::start().await, Simulator::start().await);
    let easel = with_runware_at(&upstream, &next, "").await;
    let named = |name: &str| json!({ "prompt": PROMPT, "model": name, "size": "192x128" });
    let answer = easel.generate(&named("runware/civitai:101055@128078")).await;
    assert_eq!(answer.pictures(), [(192, 128)]);
    assert_eq!(answer.body["model"], "civitai:101055@128078");
    assert_eq!(sent(&upstream)[0]["model"], "civitai:101055@128078");
    easel.generate(&named("runware/civitai:101055")).await.assert_problem(404, "unknown_model");
    easel
        .generate(&json!({ "prompt": PROMPT, "model": "runware/civitai:1@2", "size": "200x128" }))
        .await
        .assert_problem(422, "unsupported");
}

#[tokio::test]
async fn pictures_masks_adapters_and_formats_go_along() {
    let (upstream, next) = (Simulator::start().await, Simulator::start().await);
    let easel = with_runware_at(&upstream, &next, "").await;
    let (image, mask) = (picture(256), picture(256));
    let answer = easel
        .generate(&json!({
            "prompt": PROMPT, "model": "runware/juggernaut_pro", "image": image, "mask": mask, "strength": 0.6,
            "loras": [{ "name": "civitai:82098@87153", "weight": 0.8 }], "scheduler": "Euler Beta",
            "output_format": "webp", "output_quality": 80,
        }))
        .await;
    assert_eq!(answer.pictures(), [(256, 256)]);
    assert_eq!((&answer.body["images"][0]["mime_type"], &answer.body["ignored"]), (&json!("image/webp"), &json!([])));
    let task = sent(&upstream).remove(0);
    assert_eq!((&task["seedImage"], &task["maskImage"], &task["strength"]), (&json!(image), &json!(mask), &json!(0.6)));
    assert_eq!(task["lora"], json!([{ "model": "civitai:82098@87153", "weight": 0.8 }]));
    assert_eq!((&task["outputFormat"], &task["outputQuality"]), (&json!("WEBP"), &json!(80)));
    assert_eq!(task["scheduler"], "Euler Beta");
}

#[tokio::test]
async fn a_task_whose_answer_is_lost_is_paid_once() {
    let (upstream, next) = (Simulator::start().await, Simulator::start().await);
    let easel = with_runware_at(&upstream, &next, "").await;
    for fault in [
        Fault::LostAfter,
        Fault::ResetMidBody,
        Fault::TruncatedBody,
        Fault::TruncatedJson,
        Fault::Html,
        Fault::EmptyBody(502),
        Fault::EmptyBody(504),
    ] {
        failing(&upstream, fault);
        let answer = small(&easel).await;
        assert_eq!(answer.pictures(), [(128, 128)], "{fault}");
        assert_eq!(answer.attempts(), ["runware ok - 1"], "{fault}");
        assert_eq!((upstream.hits(), upstream.counts().runs), (1, 1), "{fault}");
    }
    assert_eq!(next.hits(), 0);
}

#[tokio::test]
async fn a_task_that_was_lost_on_its_way_is_sent_again_and_paid_once() {
    let (upstream, next) = (Simulator::start().await, Simulator::start().await);
    let easel = with_runware_at(&upstream, &next, "").await;
    for fault in [Fault::LostBefore, Fault::Reset, Fault::Close, Fault::Status(500), Fault::Status(503)] {
        upstream.reset();
        upstream.set(Behaviour::failing(fault).times(1).with_key(KEY));
        let answer = small(&easel).await;
        assert_eq!(answer.pictures(), [(128, 128)], "{fault}");
        assert_eq!(answer.attempts(), ["runware ok - 2"], "{fault}");
        assert_eq!((upstream.hits(), upstream.counts().runs), (2, 1), "{fault}");
        let tasks = sent(&upstream);
        assert_eq!(tasks[0]["taskUUID"], tasks[1]["taskUUID"], "{fault}");
    }
    assert_eq!(next.hits(), 0);
}

#[tokio::test]
async fn a_refusal_in_each_of_its_forms_is_final_and_told_without_the_vendors_words() {
    let (upstream, next) = (Simulator::start().await, Simulator::start().await);
    let easel = with_runware_at(&upstream, &next, "").await;
    for form in 0..Vendor::Runware.refusals() {
        for shape in 0..3 {
            upstream.reset();
            upstream.set(Behaviour::failing(Fault::RefusedAs(form)).with_shape(shape).with_key(KEY));
            let answer = small(&easel).await;
            answer.assert_problem(422, "content_rejected");
            assert_eq!(answer.attempts(), ["runware failed content_rejected 1"], "{form}");
            assert_eq!((upstream.hits(), next.hits()), (1, 0), "{form}");
        }
    }
}

#[tokio::test]
async fn what_the_account_is_short_of_goes_to_the_next_provider() {
    let (upstream, next) = (Simulator::start().await, Simulator::start().await);
    let easel = with_runware_at(&upstream, &next, "").await;
    for (fault, reason) in [
        (Fault::Quota, "quota_exhausted"),
        (Fault::InvalidKey, "unauthorized"),
        (Fault::Status(403), "unauthorized"),
        (Fault::UnknownModel, "model_not_found"),
    ] {
        failing(&upstream, fault);
        let answer = small(&easel).await;
        assert_eq!(answer.attempts(), [format!("runware failed {reason} 1"), "next ok - 1".to_owned()], "{fault}");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains(KEY));
    }
}

#[tokio::test]
async fn results_by_address_are_fetched_from_the_vendor_and_from_nowhere_private() {
    let (upstream, next) = (Simulator::start().await, Simulator::start().await);
    let by_address = "[providers.runware.config]\noutput_type = \"url\"\n";
    let easel = with_runware_at(&upstream, &next, by_address).await;
    upstream.set(Behaviour::default().with_key(KEY));
    assert_eq!(small(&easel).await.pictures(), [(128, 128)]);
    assert_eq!(upstream.counts().fetches, 1);
    for form in 0..Fault::private_addresses().len() {
        failing(&upstream, Fault::UrlPrivate(u8::try_from(form).unwrap()));
        let wish = json!({ "prompt": PROMPT, "size": "128x128", "fallback": "never" });
        easel.generate(&wish).await.assert_problem(502, "provider_protocol");
    }
    failing(&upstream, Fault::UrlExpired(404));
    let wish = json!({ "prompt": PROMPT, "size": "128x128", "fallback": "never" });
    easel.generate(&wish).await.assert_problem(502, "provider_no_image");
}
