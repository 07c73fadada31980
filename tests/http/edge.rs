//! The edge of the HTTP surface: who may ask, how a body is read, what every refusal looks like.

use std::time::{Duration, Instant};

use crate::test_app::{TestApp, client, read};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const NO_PROVIDERS: &str = "";

/// Sends bytes as they are and reads until the server closes, for at most five seconds.
async fn raw(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.address).await.expect("a connection");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_and_allow_says_what_is_taken() {
    let app = TestApp::start(NO_PROVIDERS);
    let missing = app.get("/api/image-model").await.problem(404, "not_found");
    assert!(missing["hint"].as_str().expect("a hint").contains("/api/image-models"), "{missing}");
    for (method, path, allow) in [
        (reqwest::Method::DELETE, "/api/generate-image", "OPTIONS, POST"),
        (reqwest::Method::GET, "/api/generate-image", "OPTIONS, POST"),
        (reqwest::Method::POST, "/api/image-models", "GET, HEAD, OPTIONS"),
        (reqwest::Method::POST, "/swagger-ui/", "GET, HEAD, OPTIONS"),
        (reqwest::Method::PATCH, "/healthz", "GET, HEAD, OPTIONS"),
    ] {
        let answer = read(client().request(method, app.at(path))).await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
    let options = read(client().request(reqwest::Method::OPTIONS, app.at("/api/generate-image"))).await;
    assert_eq!((options.status, options.header("allow")), (204, "OPTIONS, POST"));
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let app = TestApp::start(NO_PROVIDERS);
    let get = app.get("/healthz").await;
    let head = read(client().head(app.at("/healthz"))).await;
    assert_eq!((get.status, head.status), (200, 200));
    assert_eq!(head.header("content-length"), get.bytes.len().to_string());
    assert!(head.bytes.is_empty());
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_any_other_is_replaced() {
    let app = TestApp::start(NO_PROVIDERS);
    let with = |id: &str| read(client().get(app.at("/healthz")).header("x-request-id", id));
    assert_eq!(with("abc-123").await.header("x-request-id"), "abc-123");
    let replaced = with("no spaces, please").await;
    assert_eq!(replaced.header("x-request-id").len(), 36);
    assert_ne!(with("").await.header("x-request-id"), replaced.header("x-request-id"));
}

#[tokio::test]
async fn other_hosts_and_other_sites_are_refused_on_a_loopback_bind() {
    let app = TestApp::start("[server]\nallowed_hosts = [\"easel.lan\"]");
    let port = app.address.port();
    let with = |name: &'static str, value: String| read(client().get(app.at("/api/image-models")).header(name, value));
    for host in ["localhost".to_owned(), format!("127.0.0.1:{port}"), "[::1]:1".to_owned(), "EASEL.lan".to_owned()] {
        assert_eq!(with("host", host.clone()).await.status, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8080", "10.0.0.1"] {
        with("host", host.to_owned()).await.problem(403, "host_not_allowed");
    }
    for origin in
        ["http://localhost:3000".to_owned(), format!("http://127.0.0.1:{port}"), "https://easel.lan".to_owned()]
    {
        assert_eq!(with("origin", origin.clone()).await.status, 200, "{origin}");
    }
    for origin in ["http://evil.example", "null", "http://localhost.evil.example:8080", ""] {
        with("origin", origin.to_owned()).await.problem(403, "origin_not_allowed");
    }
    with("sec-fetch-site", "cross-site".to_owned()).await.problem(403, "origin_not_allowed");
    let link = client().get(app.at("/swagger-ui/")).header("sec-fetch-site", "cross-site");
    assert_eq!(read(link.header("sec-fetch-mode", "navigate")).await.status, 200);
    let nameless = raw(&app, b"GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(nameless.starts_with("HTTP/1.0 403"), "{nameless}");
}

#[tokio::test]
async fn a_caller_past_its_limit_is_told_when_to_come_back_and_health_is_free() {
    let app = TestApp::start("[limits]\nrequests_per_minute = 6\nburst = 2");
    assert_eq!(app.get("/api/image-models").await.status, 200);
    assert_eq!(app.get("/api/image-models").await.status, 200);
    let refused = app.get("/api/image-models").await;
    refused.problem(429, "rate_limited");
    let seconds: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=10).contains(&seconds), "{seconds}");
    for _ in 0..5 {
        assert_eq!(app.get("/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn a_body_must_be_declared_as_json_and_be_json() {
    let app = TestApp::start(NO_PROVIDERS);
    let send = |kind: &'static str, body: &'static [u8]| {
        read(client().post(app.at("/api/generate-image")).header("content-type", kind).body(body))
    };
    send("text/plain", b"{\"prompt\":\"x\"}").await.problem(415, "unsupported_media_type");
    read(client().post(app.at("/api/generate-image")).body("{}")).await.problem(415, "unsupported_media_type");
    for body in
        [&b""[..], b"{", b"nonsense", b"{\"prompt\": \"\xff\xfe\"}", b"{\"prompt\":\"x\"} x", b"[]", b"\"x\"", b"7"]
    {
        let problem = send("application/json", body).await.problem(400, "invalid_json");
        assert!(problem["detail"].as_str().expect("text").len() > 10, "{problem}");
    }
    let problem =
        send("application/json; charset=utf-8", b"{\n  \"prompt\": nan\n}").await.problem(400, "invalid_json");
    assert!(problem["detail"].as_str().expect("text").contains("line 2 column"), "{problem}");
    let whole = |body: Vec<u8>| {
        read(client().post(app.at("/api/generate-image")).header("content-type", "application/json").body(body))
    };
    let deep = |field: &str| [format!("{{\"{field}\":").into_bytes(), vec![b'['; 100_000]].concat();
    for field in ["loras", "controlnets", "prompt", "bogus"] {
        whole(deep(field)).await.problem(400, "invalid_json");
        // Closed, it is JSON: what is wrong is what it says.
        let closed = [deep(field), vec![b']'; 100_000], b"}".to_vec()].concat();
        assert_eq!(whole(closed).await.status, 422, "{field}");
    }
    // A field that cannot be, and further on no JSON.
    for body in [
        &b"{\"n\": true, \"prompt\": nan}"[..],
        b"{\"n\": [], ",
        b"{\"bogus\": 1, \"a\": \"\xff\"}",
        b"{\"n\": \"x\"} }",
    ] {
        whole(body.to_vec()).await.problem(400, "invalid_json");
    }
}

#[tokio::test]
async fn a_body_too_large_is_refused_whether_or_not_it_says_so_beforehand() {
    let app = TestApp::start("[server]\njson_limit = \"64 KiB\"");
    let large = json!({ "prompt": "x".repeat(70_000) });
    app.generate(&large).await.problem(413, "body_too_large");
    let declared = raw(
        &app,
        b"POST /api/generate-image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n{",
    )
    .await;
    assert!(declared.starts_with("HTTP/1.1 413"), "{declared}");
    let mut chunked = b"POST /api/generate-image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..80 {
        chunked.extend_from_slice(b"400\r\n");
        chunked.extend_from_slice(&[b' '; 1024]);
        chunked.extend_from_slice(b"\r\n");
    }
    let chunked = raw(&app, &chunked).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
}

#[tokio::test]
async fn a_hundred_megabytes_are_refused_and_the_client_can_read_why() {
    let app = TestApp::start(NO_PROVIDERS);
    let body = vec![b' '; 100 << 20];
    let request = client().post(app.at("/api/generate-image")).header("content-type", "application/json").body(body);
    read(request).await.problem(413, "body_too_large");
    assert_eq!(app.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let app = TestApp::start("[server]\nbody_timeout = \"300ms\"");
    let began = Instant::now();
    let answer = raw(
        &app,
        b"POST /api/generate-image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"prompt\":",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body_timeout"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn bodies_together_take_no_more_memory_than_they_may() {
    let app = TestApp::start("[server]\njson_limit = \"64 KiB\"\nbody_memory = \"64 KiB\"\nbody_timeout = \"3s\"");
    let head = "POST /api/generate-image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 65000\r\n\r\n";
    let mut first = TcpStream::connect(app.address).await.expect("a connection");
    first.write_all(head.as_bytes()).await.expect("sent");
    first.write_all(&vec![b' '; 60_000]).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = app.generate(&json!({ "prompt": "x".repeat(30_000) })).await;
    second.problem(503, "overloaded");
    assert_eq!(second.header("retry-after"), "1");
    drop(first);
    tokio::time::sleep(Duration::from_millis(300)).await;
    app.generate(&json!({ "prompt": "x".repeat(30_000) })).await.problem(503, "nothing_available");
}

#[tokio::test]
async fn a_request_line_that_never_ends_is_given_up() {
    let app = TestApp::start("[server]\nheader_timeout = \"500ms\"");
    let began = Instant::now();
    let answer = raw(&app, b"GET /healthz HT").await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?} {answer}", began.elapsed());
}

#[tokio::test]
async fn what_http_itself_refuses_is_not_a_crash() {
    let app = TestApp::start(NO_PROVIDERS);
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET  / HTTP/9.9\r\n\r\n",
        b"POST /api/generate-image HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    ] {
        let answer = raw(&app, bytes).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
    assert_eq!(app.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn the_administrators_route_is_open_on_loopback_and_needs_its_token_when_one_is_set() {
    let body = json!({ "model": "x/y" });
    TestApp::start(NO_PROVIDERS).post("/api/image-models/current", &body).await.problem(404, "unknown_model");
    let open = TestApp::start("[server]\naddress = \"0.0.0.0:0\"");
    let local = format!("http://127.0.0.1:{}/api/image-models/current", open.address.port());
    read(client().post(local).json(&body)).await.problem(403, "admin_only");
    // PATH is the one variable that is surely set; its value is the token here.
    let token = Command::path();
    let guarded = TestApp::start("[server]\nadmin_token = { env = \"PATH\" }");
    let refused = guarded.post("/api/image-models/current", &body).await;
    refused.problem(401, "unauthorized");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    let url = guarded.at("/api/image-models/current");
    read(client().post(&url).bearer_auth("wrong").json(&body)).await.problem(401, "unauthorized");
    read(client().post(&url).bearer_auth(token).json(&body)).await.problem(404, "unknown_model");
    let unset = TestApp::start("[server]\nadmin_token = { env = \"EASEL_TEST_SURELY_UNSET\" }");
    let closed = unset.post("/api/image-models/current", &body).await.problem(403, "admin_only");
    assert!(closed["hint"].as_str().expect("text").contains("EASEL_TEST_SURELY_UNSET"), "{closed}");
}

/// The environment of this process, which clippy keeps everyone else from reading.
struct Command;

impl Command {
    fn path() -> String {
        let output = std::process::Command::new("sh").args(["-c", "printf %s \"$PATH\""]).output().expect("a shell");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }
}

#[tokio::test]
async fn the_documentation_needs_nothing_from_elsewhere() {
    let app = TestApp::start(NO_PROVIDERS);
    let page = app.get("/swagger-ui/").await;
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.bytes).expect("a page");
    assert!(text.contains("swagger-ui"), "{text}");
    assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    for asset in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        assert_eq!(app.get(&format!("/swagger-ui/{asset}")).await.status, 200, "{asset}");
    }
    app.get("/swagger-ui/nothing.js").await.problem(404, "not_found");
    assert_eq!(app.get("/swagger-ui").await.status, 308);
    let document = app.get("/api-docs/openapi.json").await.json();
    assert_eq!(document["info"]["title"], "Easel");
    assert_eq!(app.get("/").await.json()["docs"], "/swagger-ui/");
}
