//! The table of requests that the HTTP library lets through and the sidecar rejects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Request;

use super::*;

const HERE: ScreenContext<'static> = ScreenContext {
    connect_target: None,
    is_local: true,
    via_marker: "sms-sidecar-77aa",
};
const AWAY: ScreenContext<'static> = ScreenContext {
    connect_target: None,
    is_local: false,
    via_marker: "sms-sidecar-77aa",
};

fn judged(
    way: ScreenContext<'_>,
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
) -> Result<RequestLineTarget, ScreenError> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    check_head(&request.body(()).unwrap().into_parts().0, way)
}

/// Method, target, headers, status.
type ScreenCase = (
    &'static str,
    &'static str,
    Vec<(&'static str, &'static str)>,
    u16,
);

fn authority(scheme: Scheme, host: &str, port: u16) -> Authority {
    Authority {
        scheme,
        host: host.to_owned(),
        port,
    }
}

#[test]
fn requests_of_real_clients_pass() {
    let connect = |host: &str| judged(HERE, "CONNECT", "api.test:443", &[("host", host)]);
    for host in ["api.test", "api.test:443", "127.0.0.1:8125"] {
        assert_eq!(
            connect(host),
            Ok(RequestLineTarget::Connect(authority(
                Scheme::Https,
                "api.test",
                443
            ))),
            "{host}"
        );
    }
    let clear = judged(
        HERE,
        "POST",
        "https://API.test/v1?q=1",
        &[("host", "api.test"), ("proxy-connection", "keep-alive")],
    );
    assert_eq!(
        clear,
        Ok(RequestLineTarget::Host(authority(
            Scheme::Https,
            "api.test",
            443
        )))
    );
    let odd_port = judged(
        HERE,
        "POST",
        "http://api.test:8443/",
        &[
            ("host", "api.test:8443"),
            ("connection", "keep-alive, close"),
        ],
    );
    assert_eq!(
        odd_port,
        Ok(RequestLineTarget::Host(authority(
            Scheme::Http,
            "api.test",
            8443
        )))
    );
    let fetch = judged(
        HERE,
        "POST",
        "/playmobile/x",
        &[("host", "127.0.0.1:8125"), ("sec-fetch-mode", "cors")],
    );
    assert_eq!(
        fetch,
        Ok(RequestLineTarget::Path(Some(String::from(
            "127.0.0.1:8125"
        ))))
    );
    let socket = judged(HERE, "POST", "/x", &[("host", "[::1]")]);
    assert_eq!(
        socket,
        Ok(RequestLineTarget::Path(Some(String::from("[::1]"))))
    );
}

#[test]
fn inside_a_connect_its_target_decides() {
    let target = authority(Scheme::Https, "api.test", 80);
    let inside = ScreenContext {
        connect_target: Some(&target),
        ..HERE
    };
    assert_eq!(
        judged(inside, "POST", "/x", &[("host", "api.test")]),
        Ok(RequestLineTarget::Host(target.clone()))
    );
    assert_eq!(
        judged(inside, "POST", "/x", &[("host", "api.test:443")]),
        Ok(RequestLineTarget::Host(target.clone()))
    );
    assert_eq!(
        judged(inside, "POST", "/x", &[("host", "evil.test")]),
        Err(ScreenError::HostMismatch)
    );
    assert!(matches!(
        judged(inside, "POST", "http://api.test/x", &[("host", "api.test")]),
        Err(ScreenError::InvalidTarget(_))
    ));
    assert!(matches!(
        judged(inside, "CONNECT", "api.test:443", &[("host", "api.test")]),
        Err(ScreenError::InvalidTarget(_))
    ));
}

#[test]
fn bad_requests_that_the_library_lets_through_are_rejected() {
    let host = ("host", "api.test");
    let table: Vec<ScreenCase> = vec![
        ("POST", "/x", vec![host, ("host", "evil.test")], 400),
        ("POST", "/x", vec![host, host], 400),
        ("POST", "/x", vec![], 400),
        (
            "POST",
            "http://api.test/x",
            vec![("host", "evil.test")],
            400,
        ),
        (
            "POST",
            "http://api.test/x",
            vec![("host", "api.test:81")],
            400,
        ),
        ("POST", "http://user:pass@api.test/x", vec![host], 400),
        ("POST", "ftp://api.test/x", vec![host], 400),
        ("CONNECT", "api.test", vec![host], 400),
        ("TRACE", "/x", vec![host], 405),
        ("BREW", "/x", vec![host], 405),
        (
            "POST",
            "/x",
            vec![
                host,
                ("connection", "authorization"),
                ("authorization", "Basic eDp5"),
            ],
            400,
        ),
        (
            "POST",
            "/x",
            vec![
                host,
                ("connection", "close, Content-Type"),
                ("content-type", "text/plain"),
            ],
            400,
        ),
        (
            "POST",
            "/x",
            vec![host, ("origin", "https://evil.test")],
            403,
        ),
        ("POST", "/x", vec![host, ("origin", "null")], 403),
        (
            "GET",
            "/x",
            vec![host, ("sec-fetch-site", "cross-site")],
            403,
        ),
        (
            "POST",
            "/x",
            vec![host, ("via", "1.1 other, 1.1 sms-sidecar-77aa")],
            508,
        ),
    ];
    for (method, uri, headers, status) in table {
        let refusal = judged(HERE, method, uri, &headers).expect_err(uri);
        assert_eq!(
            refusal.status().as_u16(),
            status,
            "{method} {uri} {headers:?}: {refusal}"
        );
    }
}

#[test]
fn a_connection_option_is_named_without_odd_characters() {
    let named = |option: &str| {
        let headers = [("host", "x"), ("connection", option), (option, "1")];
        judged(HERE, "POST", "/x", &headers).unwrap_err()
    };
    let long = "a".repeat(60);
    let start = "a".repeat(40);
    for (option, shown) in [
        ("X-Api-Key", "x-api-key"),
        ("x!api$key", "xapikey"),
        (&long, &start),
    ] {
        assert_eq!(
            named(option),
            ScreenError::ConnectionOption(shown.to_owned())
        );
    }
}

#[test]
fn https_in_clear_is_for_this_machine_only() {
    let ask = |way| judged(way, "POST", "https://api.test/", &[("host", "api.test")]);
    assert!(ask(HERE).is_ok());
    assert_eq!(ask(AWAY), Err(ScreenError::HttpsInCleartext));
    assert!(judged(AWAY, "POST", "http://api.test/", &[("host", "api.test")]).is_ok());
    assert!(judged(AWAY, "CONNECT", "api.test:443", &[("host", "api.test")]).is_ok());
}

#[test]
fn old_http_needs_no_host() {
    let mut request = Request::builder().method("GET").uri("/x").body(()).unwrap();
    *request.version_mut() = Version::HTTP_10;
    assert_eq!(
        check_head(&request.into_parts().0, HERE),
        Ok(RequestLineTarget::Path(None))
    );
}

#[test]
fn ambiguous_paths_are_rejected() {
    let bad = [
        "/a/./b",
        "/a/../b",
        "/..",
        "/a/.",
        "//a",
        "/a//b",
        "/a\\b",
        "/a%2fb",
        "/a%2Fb",
        "/%2e%2e/b",
        "/a%2E",
        "/a%00",
        "/a%5cb",
    ];
    for text in bad {
        assert!(check_path(text).is_err(), "{text}");
    }
    for text in [
        "/",
        "/a/b",
        "/a/b/",
        "/a.b/..c/d..",
        "/2010-04-01/Accounts/AC0/Messages.json",
        "/a%20b",
    ] {
        assert!(check_path(text).is_ok(), "{text}");
    }
}

#[test]
fn stripping_removes_own_and_connection_headers() {
    let mut headers = HeaderMap::new();
    let all = [
        ("host", "api.test"),
        ("connection", "close, x-once"),
        ("x-once", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("expect", "100-continue"),
        ("proxy-authorization", "Basic cHU6cHA="),
        ("proxy-connection", "keep-alive"),
        ("x-sms-sidecar-provider", "x"),
        ("content-length", "3"),
        ("trailer", "x"),
        ("authorization", "Basic eDp5"),
        ("content-type", "application/json"),
        ("user-agent", "axios/1.7"),
    ];
    for (name, value) in all {
        headers.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    strip_connection_headers(&mut headers);
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["authorization", "content-type", "user-agent"]);
}

#[test]
fn forbidden_addresses_are_rejected() {
    let own: Vec<SocketAddr> = vec![
        "127.0.0.1:8125".parse().unwrap(),
        "0.0.0.0:9125".parse().unwrap(),
        "10.1.1.1:7000".parse().unwrap(),
    ];
    let ask = |text: &str, local| check_address(text.parse().unwrap(), &own, local);
    let metadata = [
        "169.254.169.254:80",
        "169.254.170.2:80",
        "[fd00:ec2::254]:80",
        "100.100.100.200:80",
        "168.63.129.16:80",
        "[::ffff:169.254.169.254]:80",
        "[64:ff9b::a9fe:a9fe]:80",
        "[2002:a9fe:a9fe::]:80",
        "[::a9fe:a9fe]:80",
        "[fe80::1]:80",
    ];
    for text in metadata {
        assert!(
            matches!(ask(text, true), Err(ScreenError::MetadataAddress(_))),
            "{text}"
        );
    }
    for text in [
        "127.0.0.1:8125",
        "127.0.0.2:8125",
        "[::1]:9125",
        "0.0.0.0:8125",
        "[::ffff:127.0.0.1]:8125",
        "10.1.1.1:7000",
    ] {
        assert!(
            matches!(ask(text, true), Err(ScreenError::OwnAddress(_))),
            "{text}"
        );
    }
    for text in [
        "127.0.0.1:80",
        "10.0.0.1:80",
        "192.168.1.1:80",
        "172.16.0.1:80",
        "100.64.0.1:80",
        "[fd12::1]:80",
        "[::1]:80",
        "0.0.0.0:1",
    ] {
        assert!(
            matches!(ask(text, false), Err(ScreenError::PrivateAddress(_))),
            "{text}"
        );
        assert_eq!(ask(text, true), Ok(()), "{text}");
    }
    assert!(matches!(
        ask("224.0.0.1:80", true),
        Err(ScreenError::NotUnicast(_))
    ));
    assert_eq!(ask("93.184.216.34:443", false), Ok(()));
}

#[test]
fn names_are_checked_before_they_are_resolved() {
    let own: Vec<SocketAddr> = vec!["127.0.0.1:8125".parse().unwrap()];
    let ask =
        |name: &str, port, local| check_host(&authority(Scheme::Http, name, port), &own, local);
    assert!(matches!(
        ask("metadata.google.internal", 80, true),
        Err(ScreenError::MetadataAddress(_))
    ));
    assert!(matches!(
        ask("localhost", 8125, true),
        Err(ScreenError::OwnAddress(_))
    ));
    assert!(matches!(
        ask("x.localhost", 80, false),
        Err(ScreenError::PrivateAddress(_))
    ));
    assert!(matches!(
        ask("169.254.169.254", 80, true),
        Err(ScreenError::MetadataAddress(_))
    ));
    assert_eq!(ask("api.test", 443, false), Ok(()));
}

/// An IPv4 address as it is, and in every IPv6 address that a translator reads as it.
fn every_form(four: &str) -> Vec<IpAddr> {
    let four: Ipv4Addr = four.parse().unwrap();
    let [a, b, c, d] = four.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let six = [
        [0, 0, 0, 0, 0, 0xffff, high, low],
        [0, 0, 0, 0, 0, 0, high, low],
        [0, 0, 0, 0, 0xffff, 0, high, low],
        [0x64, 0xff9b, 0, 0, 0, 0, high, low],
        [0x64, 0xff9b, 1, 0x3434, 0x34, 0x3400, high, low],
        [
            0x64,
            0xff9b,
            1,
            high,
            u16::from(c),
            u16::from(d) << 8,
            0x3434,
            0x3434,
        ],
        [0x2002, high, low, 0, 0, 0, 0, 1],
        [0x2001, 0, high, low, 0, 0, 0x3434, 0x3434],
        [0x2001, 0, 0x3434, 0x3434, 0, 0, !high, !low],
        [0x2001, 0xdb8, 0, 0, 0, 0x5efe, high, low],
        [0x2001, 0xdb8, 0, 0, 0x200, 0x5efe, high, low],
    ];
    let six = six.map(|segments| IpAddr::V6(Ipv6Addr::from(segments)));
    six.into_iter().chain([IpAddr::V4(four)]).collect()
}

#[test]
fn an_address_is_judged_alike_in_every_form() {
    let own = ["10.1.1.1:7000".parse().unwrap()];
    for (four, port, local, expected) in [
        ("169.254.1.1", 80, true, "metadata"),
        ("100.100.100.200", 80, true, "metadata"),
        ("168.63.129.16", 80, true, "metadata"),
        ("168.63.129.17", 80, false, "allowed"),
        ("224.0.0.1", 80, true, "not unicast"),
        ("255.255.255.255", 80, true, "not unicast"),
        ("10.1.1.1", 7000, true, "own"),
        ("10.1.1.1", 7001, true, "allowed"),
        ("10.1.1.1", 7001, false, "private"),
        ("0.1.0.1", 80, false, "private"),
        ("127.0.0.1", 80, false, "private"),
        ("100.64.0.1", 80, false, "private"),
        ("100.127.255.255", 80, false, "private"),
        ("100.63.255.255", 80, false, "allowed"),
        ("100.128.0.1", 80, false, "allowed"),
        ("101.64.0.1", 80, false, "allowed"),
        ("203.0.113.1", 80, false, "allowed"),
    ] {
        for ip in every_form(four) {
            let found = match check_address(SocketAddr::new(ip, port), &own, local) {
                Ok(()) => "allowed",
                Err(ScreenError::MetadataAddress(_)) => "metadata",
                Err(ScreenError::NotUnicast(_)) => "not unicast",
                Err(ScreenError::OwnAddress(_)) => "own",
                Err(ScreenError::PrivateAddress(_)) => "private",
                Err(error) => panic!("{error}"),
            };
            assert_eq!(found, expected, "{four} as {ip}, local: {local}");
        }
    }
}

#[test]
fn metadata_addresses_are_recognised_in_every_form() {
    let metadata = [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fe80::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd00:ec2:0:1::5",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b::168.63.129.16",
        "64:ff9b:1::169.254.169.254",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "2001:0:1:2:3:4:5601:5601",
        "2001:db8::5efe:169.254.169.254",
        "2001:db8:64::169.254.169.254",
    ];
    for address in metadata {
        let ip = address.parse().unwrap();
        assert!(
            matches!(
                check_address(SocketAddr::new(ip, 80), &[], true),
                Err(ScreenError::MetadataAddress(_))
            ),
            "{address}"
        );
    }
    for address in [
        "203.0.113.1",
        "2001:db8::1",
        "fd00:1::42",
        "fd20:ce::253",
        "64:ff9b::203.0.113.1",
    ] {
        let ip = address.parse().unwrap();
        assert_eq!(
            check_address(SocketAddr::new(ip, 80), &[], true),
            Ok(()),
            "{address}"
        );
    }
}

#[test]
fn a_private_address_behind_a_translator_is_private() {
    for address in [
        "10.0.0.1",
        "64:ff9b::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "2002:a00:1::",
        "2001:0:1:2:3:4:f5ff:fffe",
        "fd00:1::1",
    ] {
        let ip = address.parse().unwrap();
        assert!(
            matches!(
                check_address(SocketAddr::new(ip, 443), &[], false),
                Err(ScreenError::PrivateAddress(_))
            ),
            "{address}"
        );
    }
}

#[test]
fn the_base_url_entrypoint_has_its_own_names_only() {
    let names = ["sidecar.internal".to_owned()];
    let check = |host: &str| check_own_host(Some(host), &names);
    for host in [
        "127.0.0.1:8125",
        "10.1.2.3",
        "[::1]:8125",
        "[::1]",
        "localhost",
        "LocalHost.:8125",
        "api.localhost",
        "sidecar.internal:8125",
        "SIDECAR.internal.",
    ] {
        assert_eq!(check(host), Ok(()), "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:8125",
        "127.0.0.1.evil.example",
        "sidecar.internal.evil.example",
        "xsidecar.internal",
        "sidecar.internal:x",
        "127.0.0.1:99999",
        "user@evil.example",
        "",
    ] {
        assert_eq!(check(host), Err(ScreenError::ForeignHost), "{host}");
    }
    assert_eq!(
        check_own_host(None, &[]),
        Ok(()),
        "no browser leaves it out"
    );
}
