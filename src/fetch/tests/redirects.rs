//! Redirects: each hop is checked like the first one.

use super::*;

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

#[tokio::test]
async fn a_redirect_to_a_private_address_is_not_taken() {
    for location in [
        "http://127.0.0.1:{port}/p.png",
        "//127.0.0.1:{port}/p.png",
        "\\\\127.0.0.1:{port}/p.png",
        "http:\\\\127.1:{port}",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "https://127.0.0.1:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://localhost:{port}/",
        "http://private.example:{port}/",
        "http://mixed.example:{port}/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://100.100.100.200/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "http://[2002:7f00:1::]:{port}/",
        "http://[fe80::1]/",
        "http://224.0.0.1/",
    ] {
        for status in STATUSES {
            let (port, target) = (Arc::new(AtomicUsize::new(0)), location.to_owned());
            let known = Arc::clone(&port);
            let mut site = Site::new(move |_| {
                Answer::redirect(status, &target.replace("{port}", &known.load(Ordering::SeqCst).to_string()))
            })
            .await;
            port.store(site.port.into(), Ordering::SeqCst);
            let names = Names::new([
                ("public.example", &[&[PUBLIC]]),
                ("private.example", &[&[PRIVATE]]),
                ("mixed.example", &[&[PUBLIC, PRIVATE]]),
            ]);
            let outcome = fetcher(rules(), &names).picture(&site.url("public.example", "/"), None).await;
            assert_eq!(category(outcome), "forbidden_address", "{status} to {location}");
            assert_eq!((site.reached().await, site.requests().len()), (0, 1), "{status} to {location}");
        }
    }
}

#[tokio::test]
async fn a_redirect_to_no_web_address_is_not_taken() {
    for (location, expected) in [
        ("file:///etc/passwd", "scheme"),
        ("ftp://public.example/", "scheme"),
        ("data:image/png;base64,AAAA", "scheme"),
        ("http://user:password@public.example/", "bad_url"),
        ("http://[::1/", "bad_url"),
        ("http://256.256.256.256/", "bad_url"),
        ("http://", "bad_url"),
    ] {
        let mut site = Site::new(move |_| Answer::redirect(302, location)).await;
        let outcome = fetcher(rules(), &Names::all_private()).picture(&site.url("127.0.0.2", "/"), None).await;
        assert_eq!(category(outcome), expected, "{location}");
        assert_eq!((site.reached().await, site.requests().len()), (0, 1), "{location}");
    }
    for headers in [&[][..], &["location: http://\u{e9}\u{fffd}\u{0}x/"], &["location: \u{80}"]] {
        let answer = Answer::new(302, headers, b"");
        let site = Site::new(move |_| answer.clone()).await;
        let outcome = fetcher(rules(), &Names::all_private()).picture(&site.url("127.0.0.2", "/"), None).await;
        assert!(["bad_url", "connect"].contains(&category(outcome)), "{headers:?}");
    }
}

#[tokio::test]
async fn good_redirects_are_followed_up_to_the_limit() {
    // `/3` needs three redirects: relative, to another path, to another host.
    let script = |path: &str| match path {
        "/3" => Answer::redirect(302, "2"),
        "/2" => Answer::redirect(307, "/1"),
        "/1" => Answer::redirect(308, "//other.example:{port}/p.png"),
        _ => Answer::png(),
    };
    let port = Arc::new(AtomicUsize::new(0));
    let known = Arc::clone(&port);
    let mut site = Site::new(move |path| {
        let mut answer = script(path);
        for (_, piece) in &mut answer.pieces {
            if piece.windows(6).any(|part| part == b"{port}") {
                let text = String::from_utf8(piece.clone()).unwrap();
                *piece = text.replace("{port}", &known.load(Ordering::SeqCst).to_string()).into_bytes();
            }
        }
        answer
    })
    .await;
    port.store(site.port.into(), Ordering::SeqCst);
    let names = Names::new([("public.example", &[&[PUBLIC]]), ("other.example", &[&[PUBLIC]])]);
    let url = site.url("public.example", "/3");
    assert_eq!(category(fetcher(rules(), &names).picture(&url, None).await), "a picture");
    let requests = site.requests();
    assert_eq!(requests.len(), 4);
    for request in &requests {
        let request = request.to_ascii_lowercase();
        assert!(request.contains("\r\naccept-encoding: identity\r\n"), "{request}");
        for name in ["referer", "cookie", "authorization", "origin"] {
            assert!(!request.contains(&format!("\r\n{name}:")), "{request}");
        }
    }
    assert!(!requests[1..].iter().any(|request| request.contains(SECRET)), "the query is the first URL's own");
    for (most, expected) in [(2, "too_many_redirects"), (0, "too_many_redirects"), (4, "a picture")] {
        let rules = Rules { max_redirects: most, ..rules() };
        assert_eq!(category(fetcher(rules, &names).picture(&url, None).await), expected, "{most}");
    }
    assert_eq!(site.requests().len(), 4 + 3 + 1 + 4);
    assert_eq!(site.reached().await, 0);
}

#[tokio::test]
async fn a_loop_ends() {
    let site = Site::new(|_| Answer::redirect(302, "/again")).await;
    let outcome = fetcher(rules(), &Names::all_private()).picture(&site.url("127.0.0.2", "/"), None).await;
    assert_eq!(category(outcome), "too_many_redirects");
    assert_eq!(site.requests().len(), 4);
}

#[tokio::test]
async fn a_redirect_does_not_lead_from_https_or_an_allowed_origin_to_http() {
    let elsewhere = Site::new(|_| Answer::png()).await;
    let location = format!("http://public.example:{}/p.png", elsewhere.port);
    let site = Site::private(move |_| Answer::redirect(302, &location)).await;
    let names = Names::new([("public.example", &[&[PUBLIC]])]);
    let strict = fetcher(Rules { allow_http: false, ..rules() }, &names);
    let outcome = strict.picture(&site.url("127.0.0.1", "/"), Some(&site.origin("127.0.0.1"))).await;
    assert_eq!(category(outcome), "scheme");
    assert_eq!((site.requests().len(), elsewhere.requests().len()), (1, 0));
}

#[tokio::test]
async fn an_origin_of_ones_own_is_taken_as_it_is_and_nothing_beside_it() {
    let site = Site::private(|path| match path {
        "/relative" => Answer::redirect(302, "/p.png"),
        "/elsewhere" => Answer::redirect(302, "http://127.0.0.1:1/p.png"),
        "/spelled" => Answer::redirect(302, "http://10.0.0.1/p.png"),
        "/mapped" => Answer::redirect(302, "http://[::ffff:127.0.0.1]/p.png"),
        "/https" => Answer::redirect(302, "https://127.0.0.1/p.png"),
        _ => Answer::png(),
    })
    .await;
    let names = Names::all_private();
    let strict = fetcher(Rules { allow_http: false, ..rules() }, &names);
    let own = site.origin("127.0.0.1");
    for (host, path, expected) in [
        ("127.0.0.1", "/p.png", "a picture"),
        ("127.1", "/p.png", "a picture"),
        ("127.0.0.1", "/relative", "a picture"),
        ("127.0.0.1", "/elsewhere", "scheme"),
        ("127.0.0.1", "/spelled", "scheme"),
        ("127.0.0.1", "/mapped", "scheme"),
        ("127.0.0.1", "/https", "forbidden_address"),
        ("user@127.0.0.1", "/p.png", "bad_url"),
        ("localhost", "/p.png", "scheme"),
        ("[::ffff:127.0.0.1]", "/p.png", "scheme"),
    ] {
        assert_eq!(category(strict.picture(&site.url(host, path), Some(&own)).await), expected, "{host}{path}");
    }
    let lax = fetcher(rules(), &names);
    for path in ["/elsewhere", "/spelled", "/mapped", "/https"] {
        let outcome = lax.picture(&site.url("127.0.0.1", path), Some(&own)).await;
        assert_eq!(category(outcome), "forbidden_address", "{path}");
    }
    assert_eq!(category(lax.picture(&site.url("127.0.0.1", "/p.png"), None).await), "forbidden_address");
    let allowed = Rules { allowed_origins: vec![own], ..rules() };
    assert_eq!(category(fetcher(allowed, &names).picture(&site.url("127.0.0.1", "/p.png"), None).await), "a picture");
}

#[tokio::test]
async fn who_has_left_an_origin_of_ones_own_does_not_come_back_to_it() {
    let port = Arc::new(AtomicUsize::new(0));
    let known = Arc::clone(&port);
    let back =
        Site::new(move |_| Answer::redirect(302, &format!("http://127.0.0.1:{}/p.png", known.load(Ordering::SeqCst))))
            .await;
    let away = format!("http://{}/", at(PUBLIC, back.port));
    let own = Site::private(move |path| if path == "/" { Answer::redirect(302, &away) } else { Answer::png() }).await;
    port.store(own.port.into(), Ordering::SeqCst);
    let fetcher = fetcher(rules(), &Names::all_private());
    let origin = own.origin("127.0.0.1");
    assert_eq!(category(fetcher.picture(&own.url("127.0.0.1", "/"), Some(&origin)).await), "forbidden_address");
    assert_eq!((own.requests().len(), back.requests().len()), (1, 1));
    // Nor does who began elsewhere arrive at it.
    assert_eq!(category(fetcher.picture(&back.url("127.0.0.2", "/"), Some(&origin)).await), "forbidden_address");
    assert_eq!((own.requests().len(), back.requests().len()), (1, 2));
}
