//! Requests as bytes over real sockets (`strictness.txt`): what two parsers could read in two ways is
//! refused, and nothing of it reaches a provider or another host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sms_sidecar::clock::SystemClock;
use sms_sidecar::net::Limits;
use sms_sidecar::net::drain::Drain;
use sms_sidecar::net::entrypoint::{EntrypointSetup, ProxyService};
use sms_sidecar::net::peer::Peer;
use sms_sidecar::net::server::ConnectionService;
use sms_sidecar::telemetry::OpenConnections;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fake::{Fake, Got, say, takes};
use crate::stage::{Stage, provider, route};

/// One case of the file.
#[derive(Debug, Default)]
struct Case {
    name: String,
    statuses: Vec<u16>,
    provider: usize,
    other: usize,
    request: String,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("strictness.txt").lines() {
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case {
                name: name.to_owned(),
                ..Case::default()
            });
        }
        let Some(case) = cases.last_mut() else {
            continue;
        };
        let count = |text: &str| text.parse().unwrap();
        if let Some(statuses) = line.strip_prefix("=> ") {
            case.statuses = statuses
                .split(' ')
                .map(|own| own.parse().unwrap())
                .collect();
        } else if let Some(many) = line.strip_prefix("-> provider ") {
            case.provider = count(many);
        } else if let Some(many) = line.strip_prefix("-> other ") {
            case.other = count(many);
        } else if !line.starts_with("== ") && !line.starts_with('#') {
            case.request.push_str(line);
        }
    }
    cases
}

/// The hosts that a case may name.
#[derive(Clone, Copy)]
struct Hosts {
    sidecar: SocketAddr,
    provider: SocketAddr,
    other: SocketAddr,
}

fn bytes_of(case: &Case, message: &str, hosts: Hosts) -> Vec<u8> {
    let filled = case
        .request
        .replace(
            "{to}",
            "Host: localhost\\r\\nContent-Type: application/json\\r\\n",
        )
        .replace("{send}", message)
        .replace("{n}", &message.len().to_string())
        .replace("{hex}", &format!("{:x}", message.len()))
        .replace("{provider}", &hosts.provider.to_string())
        .replace("{other}", &hosts.other.to_string());
    let Some((head, body)) = filled.split_once("{body ") else {
        return unescape(&filled);
    };
    let body = unescape(body.strip_suffix('}').unwrap());
    let mut bytes = unescape(&format!("{head}Content-Length: {}\\r\\n\\r\\n", body.len()));
    bytes.extend(body);
    bytes
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'\\' => b'\\',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("\\{}", char::from(other)),
            },
            plain => plain,
        });
    }
    bytes
}

async fn serve(stage: &Stage) -> SocketAddr {
    let setup = EntrypointSetup {
        ca: Arc::default(),
        limits: Limits::default(),
        own_addresses: Vec::new(),
        own_names: Vec::new(),
        via_marker: "test-marker".into(),
        open_connections: OpenConnections::default(),
        clock: Arc::new(SystemClock::start()),
    };
    let service = ProxyService::new(Arc::clone(&stage.proxy), setup);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let peer = Peer::from_tcp(from, address);
            let service = service.clone();
            tokio::spawn(async move { service.serve(stream, peer, Drain::default()).await });
        }
    });
    address
}

/// The statuses of the responses, and whether the connection then ended.
async fn exchange(address: SocketAddr, request: &[u8], many: usize) -> (Vec<u16>, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut statuses = Vec::new();
    let mut closes = false;
    for _ in 0..many {
        let Some(status) = response(&mut stream).await else {
            return (statuses, true);
        };
        statuses.push(status.0);
        closes = status.1;
    }
    let ended = closes && !matches!(stream.read(&mut [0]).await, Ok(read) if read > 0);
    (statuses, ended)
}

/// The status, and whether the connection ends after it.
async fn response(stream: &mut TcpStream) -> Option<(u16, bool)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some((status, head.contains("connection: close\r\n")))
}

/// What the provider gets of a message, whatever its request looked like.
fn check_forwarded(case: &Case, got: &Got, message: &str) {
    let names: Vec<&str> = got.headers.iter().map(|(name, _)| name.as_str()).collect();
    for name in &names {
        let own = [
            "authorization",
            "content-type",
            "content-length",
            "host",
            "accept-encoding",
            "via",
        ];
        assert!(own.contains(name), "{}: {names:?}", case.name);
    }
    assert_eq!(got.line, "POST /v1/messages HTTP/1.1", "{}", case.name);
    let sent: serde_json::Value = serde_json::from_str(message).unwrap();
    let read: serde_json::Value = serde_json::from_str(&got.body).unwrap_or_default();
    for field in ["to", "text", "sender"] {
        assert_eq!(read[field], sent[field], "{}", case.name);
    }
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_forwarded_nowhere() {
    let near = Fake::open(|_, _| takes()).await;
    let other = Fake::open(|_, _| say(204, "")).await;
    let stage = Stage::open(&(provider("a", "plain", &near, "") + &route("a", "")));
    let hosts = Hosts {
        sidecar: serve(&stage).await,
        provider: near.address,
        other: other.address,
    };
    let cases = cases();
    assert!(cases.len() > 100, "{}", cases.len());
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let message =
            format!(r#"{{"to":"+998901234567","text":"code {number:04}","sender":"3700"}}"#);
        let before = [near.count(), other.count()];
        let request = bytes_of(case, &message, hosts);
        let done = exchange(hosts.sidecar, &request, case.statuses.len());
        let (statuses, ended) = timeout(Duration::from_secs(10), done)
            .await
            .unwrap_or_else(|_| panic!("{} hangs", case.name));
        let after = [near.count() - before[0], other.count() - before[1]];
        let refused = case.statuses.last().is_some_and(|status| *status >= 400);
        if (&statuses, after, ended) != (&case.statuses, [case.provider, case.other], refused) {
            wrong.push(format!(
                "{}: {statuses:?}, forwarded {after:?}, ended {ended}",
                case.name
            ));
        }
        for got in near.got().iter().skip(before[0]).take(case.provider) {
            check_forwarded(case, got, &message);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
