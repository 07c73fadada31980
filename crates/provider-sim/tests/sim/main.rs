//! The stand-ins refuse what their vendors refuse, answer as they answer, and fail as they are told.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod dialects;
mod edits;
mod every_vendor;
mod faults;
mod gemini;
mod openai;
mod runware;
mod runware_socket;
mod runware_tasks;
mod urls;

use std::io::Cursor;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use provider_sim::{Simulator, Vendor};
use reqwest::{Client, Response};
use serde_json::{Value, json};

fn client(timeout: Duration) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let none = reqwest::redirect::Policy::none();
    // Connections are not kept: they would outlive the runtime of the test that made them.
    Client::builder().no_proxy().redirect(none).pool_max_idle_per_host(0).timeout(timeout).build().unwrap()
}

/// Posts to a path below the vendor's base URL: the status and the body, `Null` if that is not JSON.
async fn post(simulator: &Simulator, vendor: Vendor, path: &str, body: &Value) -> (u16, Value) {
    let response = send(simulator, vendor, path, body).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
}

async fn send(simulator: &Simulator, vendor: Vendor, path: &str, body: &Value) -> reqwest::Result<Response> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let url = format!("{}{path}", simulator.url(vendor));
    CLIENT.get_or_init(|| client(Duration::from_secs(5))).post(url).json(body).send().await
}

/// What the text is in base64, if it is.
fn base64_of(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

fn decode(text: &Value) -> Vec<u8> {
    BASE64.decode(text.as_str().unwrap()).unwrap()
}

/// Reads a picture to its end.
fn dimensions(file: &[u8]) -> Option<(u32, u32)> {
    if !file.starts_with(b"\x89PNG") {
        let picture = image::load_from_memory(file).ok()?;
        return Some((picture.width(), picture.height()));
    }
    let mut reader = png::Decoder::new(Cursor::new(file)).read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut pixels).ok()?;
    reader.finish().ok()?;
    Some((info.width, info.height))
}

/// A picture as a file.
fn picture(width: u32, height: u32) -> Vec<u8> {
    provider_sim::Picture { width, height, subject: 5, bytes: None }.encode()
}

fn base64(file: &[u8]) -> String {
    BASE64.encode(file)
}

fn data_uri(file: &[u8]) -> Value {
    json!(format!("data:image/png;base64,{}", base64(file)))
}
