//! Names: what is connected to is what was checked, whatever the name means a moment later.

use super::*;

#[tokio::test]
async fn a_name_is_refused_for_any_private_address() {
    let mut site = Site::new(|_| Answer::png()).await;
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    let metadata = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
    let refused: [&[IpAddr]; 8] = [
        &[PRIVATE],
        &[v6],
        &[mapped],
        &[metadata],
        &[PUBLIC, PRIVATE],
        &[PRIVATE, PUBLIC],
        &[PUBLIC, v6],
        &[PUBLIC, PUBLIC, mapped],
    ];
    for answers in refused {
        let names = Names::new([("a.example", &[answers])]);
        for host in ["a.example", "A.EXAMPLE", "%61.example"] {
            let outcome = fetcher(rules(), &names).picture(&site.url(host, "/p.png"), None).await;
            assert_eq!(category(outcome), "forbidden_address", "{host} {answers:?}");
        }
    }
    assert_eq!((site.reached().await, site.requests().len()), (0, 0));
    let names = Names::new([("a.example", &[&[PUBLIC, PUBLIC]])]);
    assert_eq!(category(fetcher(rules(), &names).picture(&site.url("a.example", "/p.png"), None).await), "a picture");
    assert_eq!((site.reached().await, site.requests().len()), (0, 1));
}

#[tokio::test]
async fn a_name_that_can_only_be_private_is_not_even_looked_up() {
    let site = Site::new(|_| Answer::png()).await;
    let names = Names::new([("", &[&[PUBLIC]])]);
    let fetcher = fetcher(rules(), &names);
    for host in ["localhost", "LOCALHOST.", "a.localhost", "printer.local", "db.internal", "nas.home.arpa."] {
        assert_eq!(category(fetcher.picture(&site.url(host, "/p.png"), None).await), "forbidden_address", "{host}");
    }
    assert_eq!((names.lookups(), site.requests().len()), (0, 0));
    for host in ["notlocalhost", "localhost.example", "internal.example", "local", "mylocal.example", "arpa"] {
        let expected = if host == "local" { "forbidden_address" } else { "a picture" };
        assert_eq!(category(fetcher.picture(&site.url(host, "/p.png"), None).await), expected, "{host}");
    }
}

#[tokio::test]
async fn a_name_without_addresses_is_told_as_such() {
    let site = Site::silent().await;
    let names = Names::new([("empty.example", &[&[]])]);
    for host in ["empty.example", "unknown.example"] {
        assert_eq!(category(fetcher(rules(), &names).picture(&site.url(host, "/"), None).await), "dns", "{host}");
        let own = site.origin(host);
        let outcome = fetcher(rules(), &names).picture(&site.url(host, "/"), Some(&own)).await;
        assert_eq!(category(outcome), "dns", "{host}");
    }
}

#[tokio::test]
async fn a_name_is_asked_once_for_a_connection_and_a_second_meaning_gains_nothing() {
    let mut site = Site::new(|_| Answer::png()).await;
    let names = Names::new([("rebinds.example", &[&[PUBLIC], &[PRIVATE]])]);
    let fetcher = fetcher(rules(), &names);
    let url = site.url("rebinds.example", "/p.png");
    assert_eq!(category(fetcher.picture(&url, None).await), "a picture");
    assert_eq!(names.lookups(), 1);
    assert_eq!(category(fetcher.picture(&url, None).await), "forbidden_address");
    assert_eq!((names.lookups(), site.reached().await, site.requests().len()), (2, 0, 1));
}

#[tokio::test]
async fn a_name_that_turns_private_between_two_hops_is_refused_at_the_second() {
    let mut site = Site::new(|path| if path == "/" { Answer::redirect(307, "/p.png") } else { Answer::png() }).await;
    let names = Names::new([("rebinds.example", &[&[PUBLIC], &[PRIVATE]])]);
    let outcome = fetcher(rules(), &names).picture(&site.url("rebinds.example", "/"), None).await;
    assert_eq!(category(outcome), "forbidden_address");
    assert_eq!((site.reached().await, site.requests().len()), (0, 1));
}

#[tokio::test]
async fn a_connection_of_an_allowed_origin_serves_no_other_fetch() {
    // This one keeps its connections.
    let site = Site::private(|_| {
        let body = picture(ImageFormat::Png);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        Answer { pieces: vec![(Duration::ZERO, [head.as_bytes(), &body].concat())], hangs: true }
    })
    .await;
    let names = Names::all_private();
    let fetcher = fetcher(rules(), &names);
    let url = site.url("own.example", "/p.png");
    let own = site.origin("own.example");
    assert_eq!(category(fetcher.picture(&url, Some(&own)).await), "a picture");
    assert_eq!(category(fetcher.picture(&url, None).await), "forbidden_address");
    assert_eq!(site.requests().len(), 1);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_as_such() {
    let listener = TcpListener::bind((PUBLIC, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let names = Names::new([("a.example", &[&[PUBLIC]])]);
    let outcome = fetcher(rules(), &names).picture(&format!("http://a.example:{port}/?{SECRET}"), None).await;
    assert_eq!(category(outcome), "connect");
    let site = Site::new(|_| Answer::default()).await;
    assert_eq!(category(fetcher(rules(), &names).picture(&site.url("a.example", "/"), None).await), "connect");
    // Speaks no TLS.
    let listener = TcpListener::bind((PUBLIC, 0)).await.unwrap();
    let https = format!("https://a.example:{}/?{SECRET}", listener.local_addr().unwrap().port());
    let mut plain = JoinSet::new();
    plain.spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    assert_eq!(category(fetcher(rules(), &names).picture(&https, None).await), "connect");
}
