//! Addresses that are given in place of pictures, and what is found there.

use std::time::Duration;

use provider_sim::{Fault, Simulator, Vendor};
use reqwest::Response;
use serde_json::json;

use crate::runware::{UUID, ask, task, with};
use crate::{client, dimensions, post};

/// The address that Runware gives, for a picture of 192 × 128.
async fn address(simulator: &Simulator, fault: Fault) -> String {
    simulator.reset();
    simulator.fail(fault);
    let (status, answer) = ask(simulator, &[with(&task(UUID), &json!({ "outputFormat": "PNG" }))]).await;
    assert_eq!(status, 200, "{fault}");
    answer["data"][0]["imageURL"].as_str().unwrap().to_owned()
}

async fn fetch(simulator: &Simulator, fault: Fault) -> reqwest::Result<Response> {
    let url = address(simulator, fault).await;
    assert!(url.starts_with(&format!("http://{}/", simulator.address())), "{fault}: {url}");
    client(Duration::from_millis(500)).get(url).send().await
}

#[tokio::test]
async fn an_address_may_have_expired() {
    let simulator = Simulator::start().await;
    for status in [403, 404, 410] {
        assert_eq!(fetch(&simulator, Fault::UrlExpired(status)).await.unwrap().status(), status);
    }
    assert_eq!(simulator.counts().fetches, 1, "resetting forgets");
}

#[tokio::test]
async fn an_address_may_be_private() {
    let simulator = Simulator::start().await;
    let all = Fault::private_addresses();
    for (form, private) in all.iter().enumerate() {
        assert_eq!(address(&simulator, Fault::UrlPrivate(u8::try_from(form).unwrap())).await, *private);
    }
}

#[tokio::test]
async fn an_address_may_redirect() {
    let simulator = Simulator::start().await;
    for form in 0..4 {
        let response = fetch(&simulator, Fault::UrlRedirect(form)).await.unwrap();
        assert_eq!(response.status(), 302);
        let to = response.headers()["location"].to_str().unwrap().to_owned();
        match form {
            0 => {
                let url = format!("http://{}{to}", simulator.address());
                let file = client(Duration::from_secs(5)).get(url).send().await.unwrap().bytes().await.unwrap();
                assert_eq!(dimensions(&file), Some((192, 128)));
            }
            1 => assert_eq!(to, Fault::private_addresses()[0]),
            2 => assert!(to.contains("url-redirect:2")),
            _ => assert!(to.starts_with("http://localhost:")),
        }
    }
}

#[tokio::test]
async fn an_address_may_fail_as_any_server_may() {
    let simulator = Simulator::start().await;
    assert!(fetch(&simulator, Fault::UrlHang).await.unwrap_err().is_timeout());
    assert!(fetch(&simulator, Fault::UrlReset).await.is_err());
    assert!(fetch(&simulator, Fault::UrlDrip(20)).await.unwrap().bytes().await.unwrap_err().is_timeout());
    let page = fetch(&simulator, Fault::UrlHtml).await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let mut endless = fetch(&simulator, Fault::UrlEndless).await.unwrap();
    assert!(endless.content_length().unwrap() > 1 << 30);
    let mut length = 0;
    while length < 2 << 20 {
        length += endless.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_picture_may_be_spoilt_where_it_is_found() {
    let simulator = Simulator::start().await;
    for fault in [Fault::HalfPicture, Fault::CorruptPicture, Fault::NotAPicture] {
        let file = fetch(&simulator, fault).await.unwrap().bytes().await.unwrap();
        assert_eq!(dimensions(&file), None, "{fault}");
    }
    let wide = fetch(&simulator, Fault::WrongSize).await.unwrap().bytes().await.unwrap();
    assert_eq!(dimensions(&wide), Some((200, 128)));
    assert_eq!(address(&simulator, Fault::InvalidBase64).await, "this is *not* an address!");
}

#[tokio::test]
async fn every_vendor_can_be_told_to_give_an_address() {
    let simulator = Simulator::start().await;
    simulator.fail(Fault::UrlExpired(410));
    let openai = json!({ "model": "sim-any", "prompt": "p", "size": "8x8" });
    let (_, answer) = post(&simulator, Vendor::OpenAi, "/images/generations", &openai).await;
    assert!(answer["data"][0]["url"].as_str().unwrap().contains("url-expired:410"));
    let gemini = json!({ "contents": [{ "parts": [{ "text": "p" }] }] });
    let path = "/models/gemini-2.5-flash-image:generateContent";
    let (_, answer) = post(&simulator, Vendor::Gemini, path, &gemini).await;
    assert!(answer["candidates"][0]["content"]["parts"][1]["fileData"]["fileUri"].is_string());
}
