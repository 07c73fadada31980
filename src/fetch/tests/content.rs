//! What is taken for a picture, and what is said about what is not.

use super::*;

/// A fetcher that takes `site` for public, and what it makes of the answer to `/`.
async fn outcome(rules: Rules, answer: Answer) -> Result<Picture, FetchError> {
    let site = Site::new(move |_| answer.clone()).await;
    fetcher(rules, &Names::all_private()).picture(&site.url("127.0.0.2", "/"), None).await
}

/// A PNG whose header says that it is this large.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = picture(ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes
}

#[tokio::test]
async fn whole_pictures_are_taken_whatever_their_type_is_said_to_be() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Webp] {
        for kind in ["content-type: text/html", "content-type: image/gif", "x: y"] {
            let bytes = picture(format);
            let got = outcome(rules(), Answer::new(200, &[kind], &bytes)).await.unwrap();
            assert_eq!((got.format, got.size, &got.bytes[..]), (format, ImageSize::new(37, 21).unwrap(), &bytes[..]));
        }
    }
}

#[tokio::test]
async fn other_files_are_not_taken_whatever_their_type_is_said_to_be() {
    let png = ["content-type: image/png"];
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>";
    for body in [&b"<!doctype html><html></html>"[..], b"", b"GIF89a\x01\0\x01\0\0\0\0;", svg, b"\x89PNG", b"{}"] {
        assert_eq!(category(outcome(rules(), Answer::new(200, &png, body)).await), "not_a_picture", "{body:?}");
    }
    // A picture that is packed again is none.
    let gzip = ["content-type: image/png", "content-encoding: gzip"];
    let answer = Answer::new(200, &gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x04\0\x43\xbe\xb7\xe8\x01\0\0\0");
    assert_eq!(category(outcome(rules(), answer).await), "not_a_picture");
}

#[tokio::test]
async fn what_is_no_picture_is_let_go_at_once() {
    let answer = Answer::raw(200, &[], b"<!doctype html><html>").then_hangs();
    assert_eq!(category(outcome(rules(), answer).await), "not_a_picture");
}

#[tokio::test]
async fn pictures_that_are_cut_or_damaged_are_broken() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Webp] {
        let bytes = picture(format);
        let half = &bytes[..bytes.len() / 2];
        let announced = format!("content-length: {}", bytes.len());
        let short = format!("content-length: {}", half.len());
        let endless = [format!("{:x}\r\n", half.len()).as_bytes(), half, b"\r\n"].concat();
        for (what, answer) in [
            ("half of it", Answer::new(200, &[], half)),
            ("half of what was announced", Answer::raw(200, &[&announced], half)),
            ("whole, announced as half", Answer::raw(200, &[&short], &bytes)),
            ("half of it without a length", Answer::raw(200, &[], half)),
            ("chunks that do not end", Answer::raw(200, &["transfer-encoding: chunked"], &endless)),
        ] {
            assert_eq!(category(outcome(rules(), answer).await), "broken", "{format:?}: {what}");
        }
    }
    let mut damaged = picture(ImageFormat::Png);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert_eq!(category(outcome(rules(), Answer::new(200, &[], &damaged)).await), "broken");
}

#[tokio::test]
async fn no_more_is_read_than_is_allowed() {
    let bytes = picture(ImageFormat::Png);
    let exactly = Rules { max_bytes: bytes.len(), ..rules() };
    assert_eq!(category(outcome(exactly, Answer::new(200, &[], &bytes)).await), "a picture");
    let less = Rules { max_bytes: bytes.len() - 1, ..rules() };
    assert_eq!(category(outcome(less.clone(), Answer::new(200, &[], &bytes)).await), "too_large");
    assert_eq!(category(outcome(less.clone(), Answer::raw(200, &[], &bytes)).await), "too_large");
    // Refused by what is announced alone.
    let huge = Answer::raw(200, &["content-length: 99999999999"], b"").then_hangs();
    assert_eq!(category(outcome(rules(), huge).await), "too_large");
    // Refused by what comes, whatever was announced.
    let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
    let endless = Answer::raw(200, &["transfer-encoding: chunked"], &chunk).then_hangs();
    assert_eq!(category(outcome(less, endless).await), "too_large");
}

#[tokio::test]
async fn the_header_alone_tells_that_a_picture_is_too_large() {
    let limits = Rules { max_side: 100, max_pixels: 5000, ..rules() };
    for (width, height, expected) in [
        (100, 50, "broken"),
        (101, 1, "too_many_pixels"),
        (1, 101, "too_many_pixels"),
        (100, 51, "too_many_pixels"),
        (72, 72, "too_many_pixels"),
        (u32::MAX, u32::MAX, "too_many_pixels"),
    ] {
        // What fits fails later, by the checksum that was not made anew.
        let answer = Answer::new(200, &[], &png_of(width, height));
        assert_eq!(category(outcome(limits.clone(), answer).await), expected, "{width}x{height}");
    }
    let bomb = Answer::raw(200, &[], &png_of(30_000, 30_000)[..40]).then_hangs();
    assert_eq!(category(outcome(rules(), bomb).await), "too_many_pixels");
    let all = Answer::new(200, &[], &picture(ImageFormat::Jpeg));
    let small = Rules { max_side: 36, ..rules() };
    assert_eq!(category(outcome(small, all).await), "too_many_pixels");
}

#[tokio::test]
async fn what_has_expired_is_told_from_what_is_out_of_order() {
    for status in [403, 404, 410] {
        assert_eq!(category(outcome(rules(), Answer::new(status, &[], b"<Error/>")).await), "expired", "{status}");
    }
    // Even with a picture in it.
    for status in [201, 204, 206, 300, 304, 305, 400, 401, 407, 416, 429, 500, 502, 503] {
        let body = if matches!(status, 204 | 304) { Vec::new() } else { picture(ImageFormat::Png) };
        assert_eq!(category(outcome(rules(), Answer::new(status, &[], &body)).await), "status", "{status}");
    }
}

#[test]
fn sentences_are_for_whoever_gave_the_url() {
    let size = ImageSize::new(9000, 10).unwrap();
    let errors = [
        FetchError::BadUrl("carries a user or a password"),
        FetchError::Scheme,
        FetchError::ForbiddenAddress,
        FetchError::Dns,
        FetchError::Connect(None),
        FetchError::Timeout(Duration::from_secs(15)),
        FetchError::TooLarge(20),
        FetchError::TooManyRedirects(3),
        FetchError::Expired(403),
        FetchError::Status(500),
        FetchError::NotAPicture,
        FetchError::TooManyPixels { size, max_side: 8192, max_pixels: 1 << 26 },
        FetchError::BrokenOff,
        FetchError::Broken(crate::container::Broken::CutOff),
    ];
    let lines = errors.map(|error| format!("{}: {error}", error.category()));
    insta::assert_snapshot!(lines.join("\n"));
}
