//! Changing pictures, and events of a stream, as `OpenAI` has them.

use std::time::Duration;

use provider_sim::{Behaviour, Fault, Simulator, Vendor};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::{client, data_uri, decode, dimensions, picture, post, send};

/// A form: fields and files, in order.
fn form(fields: &[(&str, &str)], files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    for (name, file) in files {
        let head = format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f.png\"\r\n");
        body.extend(format!("{head}Content-Type: image/png\r\n\r\n").bytes());
        body.extend(file);
        body.extend(b"\r\n");
    }
    body.extend(b"--X--\r\n");
    body
}

async fn edit(simulator: &Simulator, fields: &[(&str, &str)], files: &[(&str, Vec<u8>)]) -> (u16, Value) {
    let url = format!("{}/images/edits", simulator.base_url());
    let request = client(Duration::from_secs(5)).post(url).header(CONTENT_TYPE, "multipart/form-data; boundary=X");
    let response = request.body(form(fields, files)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// A mask whose left half is transparent.
fn mask(width: u32, height: u32) -> Vec<u8> {
    let pixels: Vec<u8> =
        (0..width * height).flat_map(|at| [0, 0, 0, if at % width < width / 2 { 0 } else { 255 }]).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    file
}

const ASKED: [(&str, &str); 2] = [("model", "gpt-image-1.5"), ("prompt", "put a hat on the cat")];

#[tokio::test]
async fn pictures_and_a_mask_become_one_picture() {
    let simulator = Simulator::start().await;
    let files = [("image[]", picture(96, 64)), ("image[]", picture(8, 8)), ("mask", mask(96, 64))];
    let fields = [ASKED[0], ASKED[1], ("input_fidelity", "high"), ("n", "2"), ("output_format", "webp")];
    let (status, answer) = edit(&simulator, &fields, &files).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    assert_eq!(dimensions(&decode(&answer["data"][0]["b64_json"])), Some((1536, 1024)));
    assert_eq!(answer["output_format"], "webp");
    assert_eq!(answer["usage"]["input_tokens_details"]["image_tokens"], 776);
    let request = &simulator.requests()[0];
    assert_eq!(request.form_fields()[..3], ["model", "prompt", "input_fidelity"]);
    assert_eq!(request.form_field("image[]"), Some(picture(96, 64)));
    let (_, other) = edit(&simulator, &fields, &files[..1]).await;
    assert_ne!(answer["data"][0], other["data"][0], "what comes in does not change what goes out");
}

/// Fields, files and the code of the error.
type Wrong<'a> = (Vec<(&'a str, &'a str)>, Vec<(&'a str, Vec<u8>)>, &'a str);

#[tokio::test]
async fn wrong_edits_are_refused_by_parameter() {
    let simulator = Simulator::start().await;
    let image = || ("image", picture(96, 64));
    let mini = [("model", "gpt-image-1-mini"), ASKED[1], ("input_fidelity", "high")];
    let two = [("model", "gpt-image-2"), ASKED[1], ("input_fidelity", "low")];
    let cases: Vec<Wrong> = vec![
        (ASKED.to_vec(), vec![], "missing_required_parameter"),
        (ASKED.to_vec(), vec![image(), image()], "duplicate_parameter"),
        (ASKED.to_vec(), vec![("picture", picture(8, 8))], "unknown_parameter"),
        (ASKED.to_vec(), vec![("image", b"no picture".to_vec())], "invalid_image_file"),
        (ASKED.to_vec(), vec![image(), ("mask", mask(8, 8))], "invalid_mask_image_format"),
        (ASKED.to_vec(), vec![image(), ("mask", picture(96, 64))], "invalid_mask_image_format"),
        (ASKED.to_vec(), vec![("image[]", picture(8, 8)); 17], "array_above_max_length"),
        (mini.to_vec(), vec![image()], "invalid_input_fidelity_model"),
        (two.to_vec(), vec![image()], "invalid_input_fidelity_model"),
        (vec![ASKED[0]], vec![image()], "missing_required_parameter"),
        (vec![ASKED[0], ASKED[1], ("n", "eleven")], vec![image()], "invalid_type"),
        (vec![ASKED[0], ASKED[1], ("response_format", "b64_json")], vec![image()], "unknown_parameter"),
        (vec![("model", "dall-e-3"), ASKED[1]], vec![image()], "invalid_value"),
    ];
    for (fields, files, code) in cases {
        let (status, answer) = edit(&simulator, &fields, &files).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (400, Some(code)), "{fields:?} {answer}");
    }
}

#[tokio::test]
async fn pictures_may_come_inside_json() {
    let simulator = Simulator::start().await;
    let mut body =
        json!({ "model": "gpt-image-2", "prompt": "a hat", "images": [{ "image_url": data_uri(&picture(8, 8)) }] });
    assert_eq!(post(&simulator, Vendor::OpenAi, "/images/edits", &body).await.0, 200);
    body["images"][0] = json!({ "image_url": "data:image/png;base64,AAAA" });
    let (_, answer) = post(&simulator, Vendor::OpenAi, "/images/edits", &body).await;
    assert_eq!(answer["error"]["code"], "invalid_image_file");
}

#[tokio::test]
async fn parameters_of_gpt_image_are_checked() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour { size: Some((64, 64)), ..Behaviour::default() });
    for (further, param) in [
        (json!({ "quality": "hd" }), "quality"),
        (json!({ "background": "green" }), "background"),
        (json!({ "background": "transparent", "output_format": "jpeg" }), "background"),
        (json!({ "output_format": "gif" }), "output_format"),
        (json!({ "output_compression": 101, "output_format": "webp" }), "output_compression"),
        (json!({ "output_compression": 50 }), "output_compression"),
        (json!({ "moderation": "none" }), "moderation"),
        (json!({ "partial_images": 4, "stream": true }), "partial_images"),
        (json!({ "partial_images": 1 }), "partial_images"),
        (json!({ "stream": "yes" }), "stream"),
        (json!({ "style": "vivid" }), "style"),
    ] {
        let mut body = json!({ "model": "gpt-image-1.5", "prompt": "p" });
        body.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let (status, answer) = post(&simulator, Vendor::OpenAi, "/images/generations", &body).await;
        assert_eq!((status, answer["error"]["param"].as_str()), (400, Some(param)), "{further}");
    }
    for (format, head) in [("png", b"\x89PNG".as_slice()), ("jpeg", b"\xff\xd8"), ("webp", b"RIFF")] {
        let body = json!({ "model": "gpt-image-1.5", "prompt": "p", "output_format": format });
        let (_, answer) = post(&simulator, Vendor::OpenAi, "/images/generations", &body).await;
        assert!(decode(&answer["data"][0]["b64_json"]).starts_with(head), "{format}");
    }
    let clear = json!({ "model": "gpt-image-1.5", "prompt": "p", "background": "transparent" });
    let (_, answer) = post(&simulator, Vendor::OpenAi, "/images/generations", &clear).await;
    let file = decode(&answer["data"][0]["b64_json"]);
    assert!(image::load_from_memory(&file).unwrap().color().has_alpha());
}

async fn events(simulator: &Simulator, partials: u32) -> Vec<(String, Value)> {
    let body = json!({
        "model": "sim-any", "prompt": "p", "size": "64x48", "stream": true, "partial_images": partials,
    });
    let response = send(simulator, Vendor::OpenAi, "/images/generations", &body).await.unwrap();
    assert!(response.headers()[CONTENT_TYPE].to_str().unwrap().starts_with("text/event-stream"));
    let text = response.text().await.unwrap();
    let event = |block: &str| {
        let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        (line("event: "), serde_json::from_str(&line("data: ")).unwrap())
    };
    text.split("\n\n").filter(|block| !block.is_empty()).map(event).collect()
}

#[tokio::test]
async fn a_stream_has_partial_pictures_and_then_the_whole_one() {
    let simulator = Simulator::start().await;
    for partials in 0..=3 {
        let events = events(&simulator, partials).await;
        assert_eq!(events.len(), 1 + partials as usize);
        for (at, (name, data)) in events.iter().enumerate() {
            let last = at == partials as usize;
            assert_eq!(name, if last { "image_generation.completed" } else { "image_generation.partial_image" });
            assert_eq!(data["type"], *name);
            assert_eq!(data["partial_image_index"], if last { Value::Null } else { json!(at) });
            assert_eq!(data["usage"].is_object(), last);
            assert_eq!(dimensions(&decode(&data["b64_json"])), Some((64, 48)));
        }
    }
}

#[tokio::test]
async fn a_stream_may_end_in_an_error() {
    let simulator = Simulator::start().await;
    for (fault, code) in [(Fault::ErrorIn200, Value::Null), (Fault::RefusedAs(1), json!("moderation_blocked"))] {
        simulator.fail(fault);
        let events = events(&simulator, 2).await;
        assert_eq!(events.len(), 2, "{fault}");
        assert_eq!(events[1].1["error"]["code"], code, "{fault}");
    }
    simulator.fail(Fault::NoPicture(0));
    assert_eq!(events(&simulator, 1).await.len(), 1);
}

#[tokio::test]
async fn events_come_one_by_one() {
    let simulator = Simulator::start().await;
    let body = json!({ "model": "sim-any", "prompt": "p", "size": "8x8", "stream": true, "partial_images": 3 });
    let mut response = send(&simulator, Vendor::OpenAi, "/images/generations", &body).await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&first).contains("completed"));
}
