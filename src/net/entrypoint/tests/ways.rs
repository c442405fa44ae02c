//! The entrypoints that hand whole requests to the handler.

use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

#[tokio::test]
async fn a_base_url_request_is_handed_over_whole() {
    let mut fixture = EntrypointFixture::new();
    let request = "POST /playmobile/send?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8125\r\nContent-Length: 4\r\nAuthorization: Basic eDp5\r\n\
                   X-Sms-Sidecar-Id: mine\r\nConnection: keep-alive\r\n\r\nto=1";
    let answer = fixture.ask(request).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (202, "received 4 bytes")
    );
    assert!(
        answer.head.contains("x-sms-sidecar-provider: one\r\n") && !answer.head.contains("chunked"),
        "{}",
        answer.head
    );
    let arrival = fixture.arrivals.recv().await.unwrap();
    assert_eq!(
        (arrival.entrypoint, arrival.target),
        (Entrypoint::BaseUrl, EntrypointTarget::BaseUrl)
    );
    assert_eq!(
        (
            arrival.request.path.as_str(),
            arrival.request.query.as_deref()
        ),
        ("/playmobile/send", Some("x=1"))
    );
    assert_eq!(&arrival.request.body[..], b"to=1");
    assert_eq!(
        arrival
            .request
            .headers
            .keys()
            .map(http::HeaderName::as_str)
            .collect::<Vec<_>>(),
        ["authorization"]
    );
    assert!(
        arrival.id.len() == 16
            && answer
                .head
                .contains(&format!("x-sms-sidecar-id: {}\r\n", arrival.id)),
        "{}",
        answer.head
    );
}

#[tokio::test]
async fn chunked_bodies_and_expectations_work() {
    let mut fixture = EntrypointFixture::new();
    let mut wire = fixture.connect();
    wire.send(
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    )
    .await;
    assert!(wire.head().await.starts_with("http/1.1 100 continue"));
    wire.send("2\r\nto\r\n2\r\n=1\r\n0\r\n\r\n").await;
    assert_eq!(wire.answer().await.body, "received 4 bytes");
    let arrival = fixture.arrivals.recv().await.unwrap();
    assert!(
        arrival.request.headers.is_empty(),
        "{:?}",
        arrival.request.headers
    );
    wire.send("GET /b HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 202, "the connection is kept");
}

#[tokio::test]
async fn old_http_is_answered_and_closed() {
    let fixture = EntrypointFixture::new();
    let mut wire = fixture.connect();
    wire.send("POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    let answer = wire.answer().await;
    assert!(answer.head.starts_with("http/1.0 202"), "{}", answer.head);
    assert_eq!(answer.body, "received 2 bytes");
    assert!(wire.closed().await);
}

#[tokio::test]
async fn absolute_form_names_its_host_also_for_https_in_clear() {
    let mut fixture = EntrypointFixture::new();
    fixture.ask("POST https://api.ours.test/v1 HTTP/1.1\r\nHost: api.ours.test\r\nProxy-Authorization: Basic cHU6cHA=\r\n\r\n").await;
    let arrival = fixture.arrivals.recv().await.unwrap();
    assert_eq!(arrival.entrypoint, Entrypoint::Absolute);
    assert_eq!(
        arrival.target,
        EntrypointTarget::Host(authority(Scheme::Https, "api.ours.test", 443))
    );
    assert_eq!(
        secrecy::ExposeSecret::expose_secret(&arrival.peer.token.unwrap()),
        "pp"
    );
    assert!(arrival.request.headers.is_empty());
    fixture
        .ask("POST http://api.ours.test:81/v1 HTTP/1.1\r\nHost: api.ours.test:81\r\n\r\n")
        .await;
    assert_eq!(
        fixture.arrivals.recv().await.unwrap().target,
        EntrypointTarget::Host(authority(Scheme::Http, "api.ours.test", 81))
    );
}

#[tokio::test]
async fn https_in_clear_is_rejected_from_elsewhere() {
    let mut fixture = EntrypointFixture::new();
    let mut wire = fixture.connect_as(Peer {
        address: Some("10.0.0.9:40000".parse().unwrap()),
        ..Peer::default()
    });
    wire.send("POST https://ours.test/ HTTP/1.1\r\nHost: ours.test\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.status, 403);
    assert_eq!(fixture.turned_away().await, (Entrypoint::Absolute, 403));
}

#[tokio::test]
async fn a_request_over_loopback_has_the_uid_of_its_sender() {
    let mut fixture = EntrypointFixture::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let mut wire = fixture.connect_as(Peer::from_tcp(
        client.local_addr().unwrap(),
        client.peer_addr().unwrap(),
    ));
    wire.send("POST /send HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(wire.answer().await.status, 202);
    assert_eq!(
        fixture.arrivals.recv().await.unwrap().peer.uid,
        Some(rustix::process::getuid().as_raw())
    );
}

#[tokio::test]
async fn the_unix_socket_uses_the_host_only_if_it_names_a_provider() {
    let mut fixture = EntrypointFixture::new();
    for (host, target) in [
        ("[::1]", EntrypointTarget::Unspecified),
        ("localhost", EntrypointTarget::Unspecified),
        ("elsewhere.test", EntrypointTarget::Unspecified),
        (
            "api.ours.test",
            EntrypointTarget::Host(authority(Scheme::Https, "api.ours.test", 443)),
        ),
    ] {
        let mut wire = fixture.connect_as(Peer::from_unix(Some(7)));
        wire.send(&format!("POST /send HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(wire.answer().await.status, 202);
        let arrival = fixture.arrivals.recv().await.unwrap();
        assert_eq!(
            (arrival.entrypoint, arrival.target, arrival.peer.uid),
            (Entrypoint::Unix, target, Some(7)),
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_connect_to_another_host_is_a_tunnel() {
    let mut fixture = EntrypointFixture::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = listener.local_addr().unwrap();
    let mut wire = fixture.connect();
    wire.send(&format!("CONNECT {far} HTTP/1.1\r\nHost: {far}\r\n\r\n"))
        .await;
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(wire.head().await.starts_with("http/1.1 200"));
    wire.send("\x16anything").await;
    let mut got = [0; 9];
    stream.read_exact(&mut got).await.unwrap();
    stream.write_all(&got).await.unwrap();
    wire.0.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"\x16anything");
    drop((wire, stream));
    assert_eq!(
        fixture.events.recv().await.unwrap(),
        HandlerEvent::Tunnelled(Entrypoint::Connect, far.to_string(), 18)
    );
}

#[tokio::test]
async fn absolute_form_to_another_host_is_forwarded() {
    let mut fixture = EntrypointFixture::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = listener.local_addr().unwrap();
    let mut wire = fixture.connect();
    wire.send(&format!(
        "POST http://{far}/a?b=1 HTTP/1.1\r\nHost: {far}\r\nContent-Length: 2\r\nAuthorization: Basic eDp5\r\nProxy-Authorization: Basic x\r\n\r\nhi"
    ))
    .await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut server: TestClient<TcpStream> = TestClient(stream);
    let head = server.head().await;
    assert!(head.starts_with("post /a?b=1 http/1.1\r\n"), "{head}");
    for line in [
        &format!("host: {far}"),
        "via: 1.1 sms-sidecar-test1",
        "authorization: basic edp5",
        "content-length: 2",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
    }
    assert!(!head.contains("proxy-"), "{head}");
    server.send("HTTP/1.1 418 Teapot\r\nContent-Length: 5\r\nX-Theirs: 1\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nConnection: close, X-Hop\r\n\r\nhello").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (418, "hello"));
    assert!(answer.head.contains("x-theirs: 1"));
    for theirs in ["x-hop", "keep-alive", "connection: close"] {
        assert!(!answer.head.contains(theirs), "{}", answer.head);
    }
    assert!(
        matches!(fixture.events.recv().await.unwrap(), HandlerEvent::Tunnelled(Entrypoint::Absolute, _, bytes) if bytes > 100)
    );
}

#[tokio::test]
async fn an_unreachable_host_is_reported() {
    let mut fixture = EntrypointFixture::new();
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let answer = fixture
        .ask(&format!("CONNECT {closed} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains(&closed.to_string()), "{}", answer.body);
    assert_eq!(fixture.turned_away().await, (Entrypoint::Connect, 502));
}

#[tokio::test]
async fn https_in_clear_to_another_host_verifies_its_certificate() {
    let mut fixture = EntrypointFixture::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = listener.local_addr().unwrap();
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(server))
            .accept(stream)
            .await
            .ok();
    });
    let answer = fixture
        .ask(&format!(
            "GET https://{far}/ HTTP/1.1\r\nHost: {far}\r\n\r\n"
        ))
        .await;
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("certificate"), "{}", answer.body);
    assert_eq!(fixture.turned_away().await, (Entrypoint::Absolute, 502));
}
