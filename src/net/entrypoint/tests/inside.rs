//! Inside a CONNECT: terminated TLS, plain HTTP, a tunnel.

use std::process::Stdio;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::tls;

/// A tunnel whose inside the sidecar serves.
async fn opened(fixture: &EntrypointFixture, target: &str) -> TestClient {
    open_tunnel(fixture.connect(), target).await
}

async fn open_tunnel(mut wire: TestClient, target: &str) -> TestClient {
    wire.send(&format!("CONNECT {target} HTTP/1.1\r\nHost: 127.0.0.1:8125\r\nProxy-Authorization: Basic cHU6cHA=\r\n\r\n")).await;
    let head = wire.head().await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    wire
}

fn trusting(fixture: &EntrypointFixture, sni: bool, alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(
            tls::load_certificates(&fixture.ca.cert_file)
                .unwrap()
                .remove(0),
        )
        .unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_sni = sni;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

async fn secured(
    connector: TlsConnector,
    wire: TestClient,
) -> std::io::Result<TlsStream<DuplexStream>> {
    connector
        .connect(ServerName::try_from("api.ours.test").unwrap(), wire.0)
        .await
}

#[tokio::test]
async fn tls_inside_a_connect_is_terminated_with_and_without_sni() {
    let mut fixture = EntrypointFixture::new();
    for sni in [true, false] {
        let wire = opened(&fixture, "api.ours.test:443").await;
        let mut wire = TestClient(secured(trusting(&fixture, sni, &[]), wire).await.unwrap());
        for path in ["/one", "/two"] {
            wire.send(&format!(
                "POST {path} HTTP/1.1\r\nHost: api.ours.test\r\nContent-Length: 2\r\n\r\nhi"
            ))
            .await;
            assert_eq!(wire.answer().await.body, "received 2 bytes");
            let arrival = fixture.arrivals.recv().await.unwrap();
            assert_eq!(
                (arrival.entrypoint, arrival.request.path.as_str()),
                (Entrypoint::Connect, path)
            );
            assert_eq!(
                arrival.target,
                EntrypointTarget::Host(authority(Scheme::Https, "api.ours.test", 443))
            );
            assert_eq!(
                secrecy::ExposeSecret::expose_secret(&arrival.peer.token.unwrap()),
                "pp"
            );
        }
    }
}

#[tokio::test]
async fn http_1_1_is_negotiated_where_h2_is_offered() {
    let fixture = EntrypointFixture::new();
    let wire = opened(&fixture, "api.ours.test:443").await;
    let stream = secured(trusting(&fixture, true, &["h2", "http/1.1"]), wire)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn an_idle_tunnel_is_not_timed_as_a_request() {
    let fixture = EntrypointFixture::new();
    let wire = opened(&fixture, "api.ours.test:443").await;
    let mut wire = TestClient(secured(trusting(&fixture, true, &[]), wire).await.unwrap());
    tokio::time::pause();
    for _ in 0..3 {
        wire.send("GET /a HTTP/1.1\r\nHost: api.ours.test\r\n\r\n")
            .await;
        assert_eq!(wire.answer().await.status, 202);
        tokio::time::sleep(Duration::from_secs(500)).await;
    }
}

#[tokio::test]
async fn plain_http_inside_a_connect_works_on_any_port() {
    let mut fixture = EntrypointFixture::new();
    for port in [80, 443, 8080] {
        let mut wire = opened(&fixture, &format!("api.ours.test:{port}")).await;
        let host = if port == 8080 {
            "api.ours.test:8080"
        } else {
            "api.ours.test"
        };
        wire.send(&format!("POST /a HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(wire.answer().await.status, 202, "{port}");
        let arrival = fixture.arrivals.recv().await.unwrap();
        assert_eq!(arrival.entrypoint, Entrypoint::Connect);
        assert_eq!(
            arrival.target,
            EntrypointTarget::Host(authority(Scheme::Http, "api.ours.test", port))
        );
    }
}

#[tokio::test]
async fn a_backend_that_does_not_trust_the_ca_is_reported() {
    let mut fixture = EntrypointFixture::new();
    let wire = opened(&fixture, "api.ours.test:443").await;
    let config = tls::client_config(None).unwrap();
    secured(TlsConnector::from(config), wire).await.unwrap_err();
    let denied = HandlerEvent::Unconnected(Entrypoint::Connect, ConnectionDenialReason::Tls);
    assert_eq!(fixture.events.recv().await, Some(denied));
    match fixture.events.recv().await.unwrap() {
        HandlerEvent::TurnedAway(Entrypoint::Connect, 502, why) => {
            assert!(why.contains("NODE_EXTRA_CA_CERTS"), "{why}");
        }
        events @ (HandlerEvent::TurnedAway(..)
        | HandlerEvent::Tunnelled(..)
        | HandlerEvent::Unconnected(..)) => panic!("{events:?}"),
    }
}

#[tokio::test]
async fn a_backend_that_leaves_when_it_has_seen_the_certificate_is_reported() {
    let mut fixture = EntrypointFixture::new();
    let wire = opened(&fixture, "api.ours.test:443").await;
    let stream = secured(trusting(&fixture, true, &[]), wire).await.unwrap();
    drop(stream);
    assert_eq!(
        fixture.denials.recv().await.unwrap(),
        (DenialReason::CaUntrusted, ClientKind::Backend)
    );
    let wire = opened(&fixture, "api.ours.test:443").await;
    let mut wire = TestClient(secured(trusting(&fixture, true, &[]), wire).await.unwrap());
    wire.send("GET /a HTTP/1.1\r\nHost: api.ours.test\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.status, 202);
    drop(wire);
    fixture.ask("GET / HTTP/9\r\n\r\n").await;
    assert_eq!(
        fixture.denials.recv().await.unwrap(),
        (DenialReason::Malformed, ClientKind::Stranger),
        "a connection that was used is not reported"
    );
}

#[tokio::test]
async fn a_ca_that_is_replaced_is_in_force_at_once() {
    let mut fixture = EntrypointFixture::without_ca();
    let connect = "CONNECT api.ours.test:443 HTTP/1.1\r\nHost: api.ours.test:443\r\n\r\n";
    let denied = fixture.ask(connect).await;
    assert_eq!(denied.status, 502);
    assert!(denied.body.contains("needs a local CA"), "{}", denied.body);
    assert_eq!(
        fixture.denials.recv().await.unwrap(),
        (DenialReason::CaMissing, ClientKind::Backend)
    );
    let setup = &fixture.service.0.setup;
    let ca = Ca::load(&fixture.ca, Arc::clone(&setup.clock)).unwrap();
    setup.ca.replace(Some(ca));
    let wire = opened(&fixture, "api.ours.test:443").await;
    secured(trusting(&fixture, true, &[]), wire).await.unwrap();
}

#[tokio::test]
async fn a_denied_request_counts_as_the_backends_only_if_it_is_for_a_provider() {
    let mut fixture = EntrypointFixture::new();
    for (request, expected) in [
        (
            "GET /send//a HTTP/1.1\r\nHost: x\r\n\r\n",
            (DenialReason::Malformed, ClientKind::Backend),
        ),
        (
            "GET /a//b HTTP/1.1\r\nHost: x\r\n\r\n",
            (DenialReason::Malformed, ClientKind::Stranger),
        ),
        (
            "GET /send HTTP/1.1\r\nHost: other\r\n\r\n",
            (DenialReason::ForeignHost, ClientKind::Backend),
        ),
        (
            "GET / HTTP/1.1\r\nHost: other\r\n\r\n",
            (DenialReason::ForeignHost, ClientKind::Stranger),
        ),
        (
            "GET http://api.ours.test//a HTTP/1.1\r\nHost: api.ours.test\r\n\r\n",
            (DenialReason::Malformed, ClientKind::Backend),
        ),
        (
            "GET /send HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\r\n",
            (DenialReason::BrowserRequest, ClientKind::Stranger),
        ),
        (
            "CONNECT refused.test:443 HTTP/1.1\r\nHost: refused.test:443\r\n\r\n",
            (DenialReason::OtherHost, ClientKind::Stranger),
        ),
        (
            "POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n",
            (DenialReason::BodyTooLarge, ClientKind::Backend),
        ),
    ] {
        fixture.ask(request).await;
        assert_eq!(fixture.denials.recv().await.unwrap(), expected, "{request}");
    }
}

#[tokio::test]
async fn a_connect_at_the_unix_socket_counts_as_unix_throughout() {
    let mut fixture = EntrypointFixture::new();
    let connect = |fixture: &EntrypointFixture| fixture.connect_as(Peer::from_unix(Some(7)));

    let wire = open_tunnel(connect(&fixture), "api.ours.test:443").await;
    let wire = secured(trusting(&fixture, true, &[]), wire).await.unwrap();
    let mut wire = TestClient(wire);
    wire.send("GET /a HTTP/1.1\r\nHost: api.ours.test\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.status, 202);
    let arrival = fixture.arrivals.recv().await.unwrap();
    assert_eq!(arrival.entrypoint, Entrypoint::Unix, "a request inside TLS");

    let mut wire = open_tunnel(connect(&fixture), "api.ours.test:80").await;
    wire.send("GET /a HTTP/1.1\r\nHost: api.ours.test\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.status, 202);
    let arrival = fixture.arrivals.recv().await.unwrap();
    assert_eq!(arrival.entrypoint, Entrypoint::Unix, "a request in clear");

    let wire = open_tunnel(connect(&fixture), "api.ours.test:443").await;
    let distrusting = TlsConnector::from(tls::client_config(None).unwrap());
    secured(distrusting, wire).await.unwrap_err();
    assert_eq!(
        fixture.turned_away().await,
        (Entrypoint::Unix, 502),
        "a TLS failure"
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = listener.local_addr().unwrap();
    let wire = open_tunnel(connect(&fixture), &far.to_string()).await;
    drop((wire, listener.accept().await.unwrap()));
    assert!(
        matches!(
            fixture.events.recv().await.unwrap(),
            HandlerEvent::Tunnelled(Entrypoint::Unix, ..)
        ),
        "a tunnel to another host"
    );
}

#[tokio::test]
async fn without_a_ca_only_plain_http_works_inside() {
    let mut fixture = EntrypointFixture::without_ca();
    let answer = fixture
        .ask("CONNECT api.ours.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("ca init"), "{}", answer.body);
    fixture.turned_away().await;
    let mut wire = opened(&fixture, "api.ours.test:80").await;
    wire.send("POST /a HTTP/1.1\r\nHost: api.ours.test\r\n\r\n")
        .await;
    assert_eq!(wire.answer().await.status, 202);
}

const NODE: &str = r"
const http = require('http'), https = require('https');
const [port, host] = process.argv.slice(1);
http.request({ host: '127.0.0.1', port, method: 'CONNECT', path: host + ':443' }).on('connect', (res, socket) => {
  const req = https.request({ host, path: '/node', method: 'POST', createConnection: () => require('tls').connect({ socket, servername: host }) },
    (res) => { console.log(res.statusCode); process.exit(0); });
  req.on('error', (error) => { console.log(error.code || error.message); process.exit(0); });
  req.end('to=1');
}).end();
";

#[tokio::test]
async fn node_accepts_the_configured_ca() {
    let mut fixture = EntrypointFixture::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let service = fixture.service.clone();
    let drain = fixture.drain.clone();
    tokio::spawn(async move {
        while let Ok((stream, client)) = listener.accept().await {
            let peer = Peer {
                address: Some(client),
                ..Peer::default()
            };
            // One after the other, like the script.
            service.serve(stream, peer, drain.clone()).await;
        }
    });
    let run = |ca: Option<&std::path::Path>| {
        let mut node = Command::new("node");
        node.args(["-e", NODE, &port, "api.ours.test"])
            .stdout(Stdio::piped());
        if let Some(ca) = ca {
            node.env("NODE_EXTRA_CA_CERTS", ca);
        }
        node.output()
    };
    let trusting = run(Some(&fixture.ca.cert_file))
        .await
        .expect("node is installed");
    assert_eq!(String::from_utf8_lossy(&trusting.stdout).trim(), "202");
    assert_eq!(fixture.arrivals.recv().await.unwrap().request.path, "/node");
    let without_ca = run(None).await.unwrap();
    assert_ne!(String::from_utf8_lossy(&without_ca.stdout).trim(), "202");
}
