//! What must be read nowhere: keys, prompts, addresses and the words of upstreams, neither in an answer nor in the log.

use std::time::Duration;

use provider_sim::{Fault, Request, Simulator};
use serde_json::{Value, json};

use crate::easel::Answer;

/// The variable that holds the key, and the key.
pub const KEY_VARIABLE: &str = "UPSTREAM_KEY_OF_A_TEST";
pub const KEY: &str = "sk-canary-of-a-key-93cd1";

/// What every prompt begins with.
pub const PROMPT: &str = "canary of a prompt";

/// Names that the stand-in gives itself and its requests, and beginnings of pictures.
const OWN_WORDS: [&str; 7] =
    ["stand-in", "stand_in", "Support code", "/pictures/", "iVBORw0KGgo", "safety_violations", "Sign in to continue"];

/// What must not be read anywhere, found out about one stand-in after the other.
pub struct Canaries(Vec<String>);

impl Canaries {
    /// The key, prompts, and what the stand-in always says.
    pub fn new() -> Self {
        let private = Fault::private_addresses().iter().filter_map(|url| url.split("//").nth(1)?.split('/').next());
        // A loopback name is everybody's own.
        let private = private.filter(|host| !host.is_empty() && !host.starts_with("localhost"));
        let words = OWN_WORDS.into_iter().chain([KEY, PROMPT]).chain(private);
        Self(words.map(str::to_owned).collect())
    }

    /// Its address.
    pub fn add_address(&mut self, upstream: &Simulator) {
        self.0.push(upstream.address().to_string());
    }

    /// Every sentence that the stand-in says to this request, which is sent to it once more.
    pub async fn add_sentences(&mut self, upstream: &Simulator, request: &Request) {
        for sentence in sentences(upstream, request).await {
            if !self.0.contains(&sentence) {
                self.0.push(sentence);
            }
        }
    }

    /// The first of them that stands in this text.
    pub fn found_in(&self, text: &str) -> Option<&str> {
        self.0.iter().map(String::as_str).find(|canary| text.contains(canary))
    }

    /// The first of them that stands in what this answer says: its headers, and its body without the pictures.
    pub fn found_in_answer(&self, answer: &Answer) -> Option<&str> {
        self.found_in(&said(answer))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn said(answer: &Answer) -> String {
    let mut body = answer.body.clone();
    if body.is_null() {
        return format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.bytes));
    }
    for image in body["images"].as_array_mut().into_iter().flatten() {
        image["b64_json"] = Value::Null;
    }
    format!("{:?} {body}", answer.headers)
}

async fn sentences(upstream: &Simulator, request: &Request) -> Vec<String> {
    let mut body = request.body.clone();
    if let Ok(mut tasks) = serde_json::from_slice::<Value>(&body)
        && let Some(id) = tasks.pointer_mut("/0/taskUUID")
    {
        // Runware takes each name once.
        *id = json!("7a2f3f0e-5b1c-4d9a-8e6f-0123456789ab");
        body = tasks.to_string().into_bytes();
    }
    let url = format!("http://{}{}", upstream.address(), request.path);
    let client = crate::easel::client();
    let mut again = client.post(url).timeout(Duration::from_millis(500)).body(body);
    for (name, value) in &request.headers {
        if !["host", "content-length", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
            again = again.header(name, value);
        }
    }
    let Ok(answer) = again.send().await else { return Vec::new() };
    let Ok(body) = answer.bytes().await else { return Vec::new() };
    let mut found = Vec::new();
    match serde_json::from_slice(&body) {
        Ok(value) => collect(&value, &mut found),
        Err(_) => return Vec::new(),
    }
    found
}

/// Texts of several words; single words are codes, which may be in the log.
fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let is_sentence = text.len() >= 16 && text.len() < 2_000 && text.split(' ').count() >= 3;
            if is_sentence && !text.contains(PROMPT) {
                found.push(text.clone());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
