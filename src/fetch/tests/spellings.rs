//! Addresses that are not public, in every spelling that a URL allows.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::address::is_public;
use super::hosts::{ELSEWHERE, NAMES, THIS_MACHINE, UNREADABLE};
use super::*;

#[tokio::test]
async fn no_spelling_of_a_private_address_is_reached() {
    let mut site = Site::silent().await;
    let names = Names::all_private();
    let fetcher = fetcher(rules(), &names);
    assert!(THIS_MACHINE.len() + ELSEWHERE.len() + NAMES.len() >= 80);
    for host in THIS_MACHINE.iter().chain(ELSEWHERE).chain(NAMES) {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{}/p.png?signature={SECRET}", site.port);
            assert_eq!(category(fetcher.picture(&url, None).await), "forbidden_address", "{url}");
            let without_port = format!("{scheme}://{host}/p.png");
            assert_eq!(category(fetcher.picture(&without_port, None).await), "forbidden_address", "{without_port}");
        }
    }
    assert_eq!(site.reached().await, 0);
}

#[tokio::test]
async fn the_same_spellings_reach_the_canary_when_nothing_guards_it() {
    let mut site = Site::silent().await;
    let rules = Rules { timeout: Duration::from_millis(200), ..rules() };
    let open = Fetcher::assemble(rules, Names::all_private(), |_| true);
    for (index, host) in THIS_MACHINE.iter().enumerate() {
        // The canary does not answer; that it was connected to is enough.
        let outcome = tokio::time::timeout(Duration::from_millis(50), open.picture(&site.url(host, "/"), None)).await;
        drop(outcome);
        assert!(site.reached().await > index, "{host} does not lead to this machine: it proves nothing");
    }
}

#[tokio::test]
async fn addresses_of_the_real_world_are_told_apart_by_the_real_rule() {
    let mut site = Site::silent().await;
    let fetcher = Fetcher::with_resolver(rules(), Names::all_private());
    for host in THIS_MACHINE.iter().chain(ELSEWHERE).chain(NAMES).chain(&["127.0.0.2"]) {
        assert_eq!(category(fetcher.picture(&site.url(host, "/p.png"), None).await), "forbidden_address", "{host}");
    }
    assert_eq!((site.reached().await, site.requests().len()), (0, 0));
}

#[tokio::test]
async fn hosts_that_cannot_be_are_refused() {
    let mut site = Site::silent().await;
    let names = Names::all_private();
    let fetcher = fetcher(rules(), &names);
    for host in UNREADABLE {
        assert_eq!(category(fetcher.picture(&site.url(host, "/p.png"), None).await), "bad_url", "{host}");
    }
    assert_eq!((site.reached().await, names.lookups()), (0, 0));
}

#[tokio::test]
async fn sloppy_urls_are_read_as_browsers_do_and_still_reach_nothing() {
    let mut site = Site::silent().await;
    let fetcher = fetcher(rules(), &Names::all_private());
    let port = site.port;
    for url in [
        format!("http:127.0.0.1:{port}/p.png"),
        format!("http:/127.0.0.1:{port}/p.png"),
        format!("http:////127.0.0.1:{port}/p.png"),
        format!("http:\\\\127.0.0.1:{port}\\p.png"),
        format!("http:/\\127.0.0.1:{port}/p.png"),
        format!("  http://127.0.0.1:{port}/p.png\n"),
        format!("HtTp://127.0.0.1:{port}/p.png"),
        format!("ht\ntp://127.0.0.1:{port}/p.png"),
        format!("http://127.0.0.1:{port}\\@public.example/"),
        format!("http://127.0.0.1:{port}#@public.example/"),
        format!("http://127.0.0.1:{port}?@public.example/"),
        format!("http://public.example:{port}\\@127.0.0.2/"),
        format!("http://127.0.0.1:0{port}/"),
        format!("http://127.0.0.1:{port}/../../p.png"),
        format!("https://127.0.0.1:{port};@public.example"),
    ] {
        let got = category(fetcher.picture(&url, None).await);
        assert!(["forbidden_address", "bad_url"].contains(&got), "{url}: {got}");
    }
    assert_eq!(site.reached().await, 0);
}

#[tokio::test]
async fn other_schemes_are_refused() {
    let names = Names::all_private();
    let fetcher = fetcher(rules(), &names);
    for url in [
        "ftp://public.example/p.png",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "gopher://127.0.0.1:70/_x",
        "data:image/png;base64,iVBORw0KGgo=",
        "javascript:alert(1)",
        "ws://127.0.0.1/",
        "wss://127.0.0.1/",
        "blob:http://127.0.0.1/x",
        "view-source:http://127.0.0.1/",
        "unix:/run/docker.sock",
        "http+unix://%2Frun%2Fdocker.sock/",
        "jar:http://127.0.0.1!/",
        "about:blank",
        "httpx://127.0.0.1/",
        "localhost:80/p.png",
    ] {
        assert_eq!(category(fetcher.picture(url, None).await), "scheme", "{url}");
    }
    for url in ["", " ", "p.png", "/p.png", "//127.0.0.1/p.png", "127.0.0.1/p.png", "?", "http://", "https:", "://x"] {
        assert_eq!(category(fetcher.picture(url, None).await), "bad_url", "{url}");
    }
    let long = format!("http://127.0.0.2/{}", "a".repeat(9000));
    assert_eq!(category(fetcher.picture(&long, None).await), "bad_url");
    assert_eq!(names.lookups(), 0);
}

#[tokio::test]
async fn http_is_refused_unless_it_is_allowed() {
    let mut site = Site::new(|_| Answer::png()).await;
    let names = Names::new([("public.example", &[&[PUBLIC]])]);
    let url = site.url("public.example", "/p.png");
    let strict = fetcher(Rules { allow_http: false, ..rules() }, &names);
    assert_eq!(category(strict.picture(&url, None).await), "scheme");
    assert_eq!((names.lookups(), site.requests().len()), (0, 0));
    assert_eq!(category(fetcher(rules(), &names).picture(&url, None).await), "a picture");
    assert_eq!(site.reached().await, 0);
}

/// `address` in one to four parts, each in base 8, 10 or 16.
fn spelled(address: Ipv4Addr, parts: usize, bases: [u8; 4]) -> String {
    let octets = address.octets();
    let mut values: Vec<u32> = octets[..parts - 1].iter().map(|octet| u32::from(*octet)).collect();
    values.push(octets[parts - 1..].iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet)));
    let texts = values.iter().zip(bases).map(|(value, base)| match base {
        8 => format!("0{value:o}"),
        16 => format!("0x{value:x}"),
        _ => value.to_string(),
    });
    texts.collect::<Vec<_>>().join(".")
}

/// What a fetcher with the real rule makes of a host that is never asked.
fn verdict(host: &str) -> &'static str {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fetcher = Fetcher::with_resolver(rules(), Names::all_private());
    runtime.block_on(async { category(fetcher.picture(&format!("https://{host}/"), None).await) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_spelling_of_any_private_v4_address_is_refused(
        block in prop::sample::select(vec![
            0x0000_0000_u32, 0x0a00_0000, 0x6440_0000, 0x7f00_0000, 0xa9fe_0000, 0xac10_0000, 0xc0a8_0000, 0xc612_0000,
            0xe000_0000, 0xf000_0000,
        ]),
        host in 0..0x1_0000_u32,
        parts in 1..=4_usize,
        bases in prop::array::uniform4(prop::sample::select(vec![8_u8, 10, 16])),
    ) {
        prop_assert_eq!(verdict(&spelled(Ipv4Addr::from_bits(block | host), parts, bases)), "forbidden_address");
    }

    #[test]
    fn whatever_embeds_a_v4_address_is_refused(address in any::<u32>(), tail in any::<u64>()) {
        let (address, low, high) = (u128::from(address), u128::from(tail), 0xffff_u128 << 32);
        for bits in [
            address,
            high | address,
            high << 16 | address,
            0x0064_ff9b_u128 << 96 | address,
            0x0064_ff9b_0001_u128 << 80 | address,
            0x2002_u128 << 112 | address << 80 | low,
            0x2001_0000_u128 << 96 | address << 64 | low,
        ] {
            prop_assert!(!is_public(Ipv6Addr::from_bits(bits).into()));
        }
        let mapped = format!("[{}]", Ipv6Addr::from_bits(high | address));
        prop_assert_eq!(verdict(&mapped), "forbidden_address");
    }
}

#[test]
fn blocks_end_where_they_end() {
    let v4 = |text: &str| is_public(text.parse::<Ipv4Addr>().unwrap().into());
    for (before, first, last, after) in [
        ("", "0.0.0.0", "0.255.255.255", "1.0.0.0"),
        ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
        ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
        ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
        ("168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"),
        ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
        ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
        ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
        ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
        ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
        ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
        ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
        ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
        ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
        ("223.255.255.255", "224.0.0.0", "255.255.255.255", ""),
    ] {
        assert!(!v4(first) && !v4(last), "{first} to {last}");
        assert!((before.is_empty() || v4(before)) && (after.is_empty() || v4(after)), "{before}, {after}");
    }
    let v6 = |text: &str| is_public(text.parse::<Ipv6Addr>().unwrap().into());
    for public in ["2001:200::", "2001:4860:4860::8888", "2000::1", "2003::1", "2606:4700::1111", "2a00::1", "3ffe::1"]
    {
        assert!(v6(public), "{public}");
    }
    for other in ["1fff:ffff::1", "2001:1ff:ffff::1", "2001:db8:ffff::1", "2002:ffff::1", "3fff:fff::", "4000::"] {
        assert!(!v6(other), "{other}");
    }
    assert!(v6("3fff:1000::") && v6("2001:db9::") && v6("2001:db7::"));
}
