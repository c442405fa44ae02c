//! A fake service on loopback: answers each request from its script and records it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One request as received.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self, at: &str) -> String {
        let tree: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        tree.pointer(at)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    }
}

/// The reply.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
    /// Replies only once this gate is open.
    pub(crate) gate: Option<Gate>,
    /// Reads the request and hangs up.
    pub(crate) loses: bool,
    /// Writes these bytes instead and hangs up, or leaves the connection open.
    pub(crate) raw: Option<Raw>,
}

/// A reply of which the body is at fault.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) bytes: String,
    pub(crate) stays_open: bool,
}

pub(crate) fn say(status: u16, body: &str) -> Say {
    Say {
        status,
        headers: vec![("content-type", "application/json".into())],
        body: body.into(),
        gate: None,
        loses: false,
        raw: None,
    }
}

/// These bytes, and no more.
pub(crate) fn raw(bytes: String, stays_open: bool) -> Say {
    Say {
        raw: Some(Raw { bytes, stays_open }),
        ..say(200, "")
    }
}

impl Say {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }
}

/// The reply of our own small API when it accepts a message.
pub(crate) fn takes() -> Say {
    say(202, r#"{"id":"id-1","status":"accepted"}"#)
}

/// The reply when it rejects a message for a cause.
pub(crate) fn refuses(cause: &str) -> Say {
    let status = match cause {
        "credential-rejected" | "credential-expired" | "credential-missing" => 401,
        "throttled" => 429,
        _ => 400,
    };
    say(status, &format!(r#"{{"error":"{cause}","message":"no"}}"#))
}

/// Accepts the request and hangs up.
pub(crate) fn loses() -> Say {
    Say {
        loses: true,
        ..say(200, "")
    }
}

/// Closed until it is opened, then open permanently.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        self.0.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

type Script = Box<dyn Fn(&Got, usize) -> Say + Send + Sync>;

/// The service.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    script: Mutex<Arc<Script>>,
    got: Mutex<Vec<Got>>,
    count: watch::Sender<usize>,
}

impl Fake {
    /// `script` gets the request and the number of earlier requests.
    pub(crate) async fn open(script: impl Fn(&Got, usize) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Script = Box::new(script);
        let state = Arc::new(State {
            script: Mutex::new(Arc::new(script)),
            got: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    /// Sets the replies from now on.
    pub(crate) fn now(&self, script: impl Fn(&Got, usize) -> Say + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(Box::new(script));
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.state.got.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.got().len()
    }

    /// How many requests were for this path.
    pub(crate) fn at(&self, path: &str) -> usize {
        self.got()
            .iter()
            .filter(|got| got.line.contains(path))
            .count()
    }

    /// Waits until this number of requests has arrived.
    pub(crate) async fn wait_for_requests(&self, many: usize) {
        self.state
            .count
            .subscribe()
            .wait_for(|count| *count >= many)
            .await
            .unwrap();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let mut buffer = Vec::new();
    while let Some(got) = next(&mut stream, &mut buffer).await {
        let before = {
            let mut all = state.got.lock().unwrap();
            all.push(got.clone());
            all.len() - 1
        };
        let script = Arc::clone(&state.script.lock().unwrap());
        let say = script(&got, before);
        state.count.send_replace(before + 1);
        if let Some(gate) = &say.gate {
            gate.passed().await;
        }
        if say.loses {
            return;
        }
        if let Some(raw) = &say.raw {
            // Fails when the reply is longer than the client reads.
            stream.write_all(raw.bytes.as_bytes()).await.ok();
            if !raw.stays_open {
                return;
            }
            // Until the client has hung up.
            next(&mut stream, &mut buffer).await;
            return;
        }
        let mut head = format!(
            "HTTP/1.1 {} X\r\ncontent-length: {}\r\n",
            say.status,
            say.body.len()
        );
        head.extend(
            say.headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}\r\n")),
        );
        if stream
            .write_all(format!("{head}\r\n{}", say.body).as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn next(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Got> {
    loop {
        if let Some((got, rest)) = parsed(buffer) {
            *buffer = rest;
            return Some(got);
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}

fn parsed(buffer: &[u8]) -> Option<(Got, Vec<u8>)> {
    let text = String::from_utf8_lossy(buffer);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let body = buffer.get(head.len() + 4..head.len() + 4 + length)?;
    let got = Got {
        line,
        headers,
        body: String::from_utf8_lossy(body).into_owned(),
    };
    Some((got, buffer[head.len() + 4 + length..].to_vec()))
}
