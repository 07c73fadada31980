//! Pictures by their addresses: `"response_format": "url"` and `GET /pictures/{name}`.

use std::time::Duration;

use provider_sim::{Behaviour, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::easel::{Answer, Easel, client};
use crate::upstreams::in_order;

fn wish(more: &Value) -> Value {
    let mut wish = json!({ "prompt": "a fox", "size": "64x48", "response_format": "url" });
    for (field, value) in more.as_object().unwrap() {
        wish[field] = value.clone();
    }
    wish
}

/// The addresses in an answer, each without the picture beside it.
#[track_caller]
fn addresses(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let images = answer.body["images"].as_array().unwrap();
    images
        .iter()
        .map(|image| {
            assert_eq!(image.get("b64_json"), Some(&Value::Null), "{image}");
            assert_eq!((&image["width"], &image["height"]), (&json!(64), &json!(48)));
            image["url"].as_str().unwrap().to_owned()
        })
        .collect()
}

async fn fetch(url: &str) -> Answer {
    fetch_with(url, &[]).await
}

async fn fetch_with(url: &str, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(client().get(url), |request, (name, value)| request.header(*name, *value));
    Answer::read(request.send().await.unwrap()).await
}

/// The path of an address, for an Easel that has another port by now.
fn path(url: &str) -> &str {
    &url[url.find("/pictures/").unwrap()..]
}

/// Asks for a path as it is written, which no client library does, and reads the whole answer.
async fn raw(easel: &Easel, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", easel.port())).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn files(easel: &Easel) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(easel.data().join("pictures")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_picture_is_fetched_from_its_address_with_all_that_a_browser_needs() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    for (format, mime_type, ending) in
        [("png", "image/png", "png"), ("jpeg", "image/jpeg", "jpg"), ("webp", "image/webp", "webp")]
    {
        let answer = easel.generate(&wish(&json!({ "n": 2, "output_format": format }))).await;
        let urls = addresses(&answer);
        assert!(urls.len() == 2 && urls[0] != urls[1], "{urls:?}");
        assert_eq!(answer.body["warnings"], json!([]));
        for url in urls {
            let name = url.strip_prefix(&easel.url("/pictures/")).unwrap();
            assert!(name.len() >= 32 && name.ends_with(&format!(".{ending}")), "{name}");
            let picture = fetch(&url).await;
            assert_eq!((picture.status, picture.header("content-type")), (200, mime_type));
            let decoded = image::load_from_memory(&picture.bytes).unwrap();
            assert_eq!((decoded.width(), decoded.height()), (64, 48));
            assert_eq!(picture.header("content-length"), picture.bytes.len().to_string());
            let left = picture.header("cache-control").strip_prefix("private, max-age=").unwrap();
            assert!((3500..=3600).contains(&left.parse::<u32>().unwrap()), "{left}");
            assert_eq!(picture.header("x-content-type-options"), "nosniff");
            assert!(picture.header("content-security-policy").starts_with("default-src 'none'"));
            let disposition = picture.header("content-disposition");
            assert!(disposition.starts_with("inline; filename=\"") && disposition.contains(ending), "{disposition}");
            let tag = picture.header("etag");
            for known in [tag, "*", &format!("\"other\", W/{tag}")] {
                let again = fetch_with(&url, &[("if-none-match", known)]).await;
                assert_eq!((again.status, again.bytes.len(), again.header("etag")), (304, 0, tag), "{known}");
            }
            assert_eq!(fetch_with(&url, &[("if-none-match", "\"other\"")]).await.status, 200);
            let head = client().head(&url).send().await.unwrap();
            assert_eq!(
                (head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()),
                (200, picture.header("content-length"))
            );
            assert!(head.bytes().await.unwrap().is_empty());
            // Whoever reads the log cannot fetch it.
            assert!(!easel.log().contains(&name[..32]), "{}", easel.log());
        }
    }
}

#[tokio::test]
async fn parts_of_a_picture_are_sent_as_http_has_them() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    let url = addresses(&easel.generate(&wish(&json!({}))).await).remove(0);
    let whole = fetch(&url).await;
    let (all, tag) = (whole.bytes.clone(), whole.header("etag").to_owned());
    let last = all.len() - 1;
    for (range, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=5-9", 5, 9),
        ("bytes=10-", 10, last),
        ("bytes=-7", last - 6, last),
        ("bytes=0-99999999", 0, last),
        ("bytes=-99999999", 0, last),
    ] {
        for condition in [None, Some(tag.as_str())] {
            let mut headers = vec![("range", range)];
            headers.extend(condition.map(|tag| ("if-range", tag)));
            let part = fetch_with(&url, &headers).await;
            assert_eq!((part.status, part.bytes.as_slice()), (206, &all[from..=to]), "{range}");
            assert_eq!(part.header("content-range"), format!("bytes {from}-{to}/{}", all.len()));
            assert_eq!(part.header("content-length"), (to - from + 1).to_string());
        }
        let changed = fetch_with(&url, &[("range", range), ("if-range", "\"other\"")]).await;
        assert_eq!((changed.status, changed.bytes.len()), (200, all.len()), "{range}");
    }
    for range in ["bytes=99999999-", "bytes=-0"] {
        let none = fetch_with(&url, &[("range", range)]).await;
        none.assert_problem(416, "range_not_satisfiable");
        assert_eq!(none.header("content-range"), format!("bytes */{}", all.len()));
    }
    for range in ["bytes=0-1,5-6", "bytes=9-5", "bytes=x-y", "pages=1-2", "bytes", ""] {
        let answer = fetch_with(&url, &[("range", range)]).await;
        assert_eq!((answer.status, answer.bytes.len()), (200, all.len()), "{range}");
    }
}

#[tokio::test]
async fn what_is_no_picture_of_ours_is_a_problem_and_nothing_leads_out_of_the_folder() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    let url = addresses(&easel.generate(&wish(&json!({}))).await).remove(0);
    let name = path(&url).strip_prefix("/pictures/").unwrap().to_owned();
    let folder = easel.data().join("pictures");
    let other = addresses(&easel.generate(&wish(&json!({}))).await).remove(0);
    // A whole file of ours that lies elsewhere, by a link; and what would never end.
    let outside = easel.data().join("outside");
    std::fs::rename(folder.join(path(&other).strip_prefix("/pictures/").unwrap()), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, folder.join("link.png")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("passwd")).unwrap();
    std::fs::create_dir(folder.join("folder.png")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(folder.join("pipe.png")).status().unwrap().success());
    let long = "a".repeat(4000);
    let unknown = "0".repeat(64);
    let names = [
        unknown.as_str(),
        &format!("{unknown}.png"),
        &name[..name.len() - 1],
        &name.to_uppercase(),
        &format!("{name}%00"),
        &format!("%00{name}"),
        &format!("{name}%00.png"),
        &format!("./{name}"),
        &format!("..%2fpictures%2f{name}"),
        &format!("%2e%2e/pictures/{name}"),
        "..%2f..%2foutside",
        "%2e%2e%2foutside",
        "..%5coutside",
        "..",
        ".",
        ".unfinished-1",
        "%2fetc%2fpasswd",
        "%ff",
        "%",
        "link.png",
        "passwd",
        "folder.png",
        "pipe.png",
        &long,
        "",
    ];
    for name in names {
        let answer = raw(&easel, &format!("/pictures/{name}")).await;
        let shown = answer.chars().take(600).collect::<String>();
        assert!(answer.starts_with("HTTP/1.1 404"), "{name}: {shown}");
        assert!(answer.contains("application/problem+json"), "{name}: {shown}");
    }
    for path in ["/pictures", "/pictures/"] {
        easel.get(path).await.assert_problem(404, "not_found");
    }
    easel.get(&format!("/pictures/{unknown}.png")).await.assert_problem(404, "unknown_picture");
    let posted = Answer::read(client().post(&url).send().await.unwrap()).await;
    posted.assert_problem(405, "method_not_allowed");
    assert_eq!(posted.header("allow"), "GET, HEAD, OPTIONS");
    assert_eq!(fetch(&url).await.status, 200);
    // Nor for a web page elsewhere.
    fetch_with(&url, &[("host", "evil.example")]).await.assert_problem(403, "host_not_allowed");
}

#[tokio::test]
async fn a_picture_outlives_the_process_and_ends_in_time() {
    let upstream = Simulator::start().await;
    let config = in_order(&[&upstream], "attempts = 1");
    let easel = Easel::start(&config).await;
    let url = addresses(&easel.generate(&wish(&json!({}))).await).remove(0);
    let before = fetch(&url).await;
    let easel = easel.killed_and_started_again().await;
    let after = easel.get(path(&url)).await;
    assert_eq!((after.status, &after.bytes, after.header("etag")), (200, &before.bytes, before.header("etag")));

    let easel = Easel::start(&format!("storage.picture_ttl = \"1s\"\n{config}")).await;
    let url = addresses(&easel.generate(&wish(&json!({}))).await).remove(0);
    assert_eq!(fetch(&url).await.header("cache-control"), "private, max-age=0");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    fetch(&url).await.assert_problem(404, "unknown_picture");
    assert_eq!(files(&easel).len(), 1);
    // Whoever starts next clears it away.
    let easel = easel.killed_and_started_again().await;
    assert!(crate::easel::eventually(Duration::from_secs(5), || files(&easel).is_empty()).await);
}

#[tokio::test]
async fn pictures_are_bounded_and_what_has_been_paid_for_is_not_lost() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::default().with_bytes(9_000));
    let start = async |most: &str| {
        let config = format!("storage.pictures_max = \"{most}\"\n{}", in_order(&[&upstream], "attempts = 1"));
        Easel::start(&config).await
    };
    // Each takes three blocks of 4 KiB.
    let easel = start("40 KiB").await;
    let mut urls = Vec::new();
    for _ in 0..4 {
        urls.extend(addresses(&easel.generate(&wish(&json!({}))).await));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fetch(&urls[0]).await.assert_problem(404, "unknown_picture");
    for url in &urls[1..] {
        assert_eq!(fetch(url).await.status, 200);
    }
    // More in one answer than there is room for: some come by address, the others themselves, and all are there.
    let answer = easel.generate(&wish(&json!({ "n": 5 }))).await;
    let (mut by_address, mut inside) = (0, 0);
    for image in answer.body["images"].as_array().unwrap() {
        if let Some(url) = image["url"].as_str() {
            assert_eq!((&image["b64_json"], fetch(url).await.status), (&Value::Null, 200));
            by_address += 1;
        } else {
            assert!(image["b64_json"].as_str().is_some_and(|text| text.len() > 9_000));
            inside += 1;
        }
    }
    assert_eq!((by_address, inside), (3, 2), "{}", answer.body["warnings"]);
    assert_eq!(answer.body["warnings"].as_array().unwrap().len(), 2);
    // Larger than everything together may be.
    let answer = start("4 KiB").await.generate(&wish(&json!({}))).await;
    assert_eq!((answer.pictures(), &answer.body["images"][0]["url"]), (vec![(64, 48)], &Value::Null));
    let warning = answer.body["warnings"][0].as_str().unwrap();
    assert!(warning.contains("could not be stored, so it is sent in place of its url"), "{warning}");
    // None at all is said before anything is paid.
    let hits = upstream.hits();
    let refused = start("0 B").await.generate(&wish(&json!({}))).await;
    assert_eq!(refused.assert_problem(422, "unsupported").body["field"], "response_format");
    assert_eq!(upstream.hits(), hits);
}

#[tokio::test]
async fn a_full_disk_costs_the_address_and_not_the_picture() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::default().with_bytes(300_000));
    let easel = Easel::start_with_small_files(&in_order(&[&upstream], r#"timeout = "20s""#), 16).await;
    let answer = easel.generate(&wish(&json!({ "size": "320x320" }))).await;
    assert_eq!((answer.pictures(), &answer.body["images"][0]["url"]), (vec![(320, 320)], &Value::Null));
    assert_eq!(answer.body["warnings"].as_array().unwrap().len(), 1);
    assert!(easel.logs("a picture could not be kept").await, "{}", easel.log());
    assert!(files(&easel).is_empty());
}

#[tokio::test]
async fn the_address_begins_as_the_request_or_the_settings_say_and_no_forwarder() {
    let upstream = Simulator::start().await;
    let config = in_order(&[&upstream], "attempts = 1");
    let easel = Easel::start(&config).await;
    let host = format!("localhost:{}", easel.port());
    let asked = client()
        .post(easel.url("/api/generate-image"))
        .header("host", &host)
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "host=evil.example;proto=https")
        .json(&wish(&json!({})));
    let url = addresses(&Answer::read(asked.send().await.unwrap()).await).remove(0);
    assert!(url.starts_with(&format!("http://{host}/pictures/")), "{url}");

    let public = r#"server.public_url = "https://pictures.example.org/easel/""#;
    let easel = Easel::start(&format!("{public}\n{config}")).await;
    let url = addresses(&easel.generate(&wish(&json!({}))).await).remove(0);
    assert!(url.starts_with("https://pictures.example.org/easel/pictures/"), "{url}");
    assert_eq!(easel.get(path(&url)).await.status, 200);
}

#[tokio::test]
async fn kept_pictures_get_new_addresses_and_a_replay_has_those_of_its_answer() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    let seeded = wish(&json!({ "seed": 7 }));
    let (first, second) = (easel.generate(&seeded).await, easel.generate(&seeded).await);
    assert_eq!((&first.body["cache"], &second.body["cache"]), (&json!("miss"), &json!("hit")));
    let (first, second) = (addresses(&first).remove(0), addresses(&second).remove(0));
    assert_ne!(first, second);
    assert_eq!(fetch(&first).await.bytes, fetch(&second).await.bytes);
    // The same pictures in the answer itself.
    let inside = easel.generate(&wish(&json!({ "seed": 7, "response_format": "b64_json" }))).await;
    assert_eq!((inside.pictures(), &inside.body["cache"], upstream.hits()), (vec![(64, 48)], &json!("hit"), 1));

    let (first, second) = (easel.generate_once("k", &seeded).await, easel.generate_once("k", &seeded).await);
    assert_eq!((first.bytes == second.bytes, second.header("idempotency-replayed")), (true, "true"));
    assert_eq!(fetch(&addresses(&second)[0]).await.status, 200);
    let other = wish(&json!({ "seed": 7, "response_format": "b64_json" }));
    easel.generate_once("k", &other).await.assert_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn the_limit_on_requests_is_not_for_pictures() {
    let upstream = Simulator::start().await;
    let limits = "limits.requests_per_minute = 1\nlimits.burst = 1";
    let easel = Easel::start(&format!("{limits}\n{}", in_order(&[&upstream], "attempts = 1"))).await;
    let url = addresses(&easel.generate(&wish(&json!({}))).await).remove(0);
    for _ in 0..20 {
        assert_eq!(fetch(&url).await.status, 200);
    }
    easel.get("/api/image-models").await.assert_problem(429, "rate_limited");
}
