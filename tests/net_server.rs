//! The server at process level: an address in use is reported, signals reload and drain, and a
//! request in flight is finished. Only one test runs a server, because a signal reaches every one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly in its helpers too"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid, getuid, kill_process};
use sms_sidecar::net::Limits;
use sms_sidecar::net::drain::{Drain, Phase};
use sms_sidecar::net::peer::Peer;
use sms_sidecar::net::server::{BindError, ConnectionService, LifecycleHooks, Server, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(20);

/// Greets the client with its socket type and uid; after a byte, waits for the drain and says goodbye.
#[derive(Clone)]
struct Greeter(Sender<&'static str>);

impl ConnectionService for Greeter {
    async fn serve<S: Stream>(&self, mut stream: S, peer: Peer, drain: Drain) {
        let _connection = drain.track_connection();
        let flight = drain.track_request();
        let kind = if peer.address.is_some() {
            "tcp"
        } else {
            "unix"
        };
        // A client that only probes the port disconnects before the greeting.
        stream
            .write_all(
                format!("{kind} {}\n", peer.owner_uid().await.unwrap_or(u32::MAX)).as_bytes(),
            )
            .await
            .ok();
        stream.flush().await.ok();
        if stream.read_u8().await.is_ok() {
            self.0.send("begun").unwrap();
            drain.wait_for(Phase::Draining).await;
            stream.write_all(b"goodbye\n").await.unwrap();
            stream.flush().await.unwrap();
            // The request has ended; what is left of the response takes a moment to its socket.
            drop(flight);
            drain.wait_for(Phase::Closing).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.write_all(b"end\n").await.unwrap();
            stream.flush().await.unwrap();
        }
    }
}

fn new_server(limits: Limits) -> Server {
    Server::new(limits, Arc::new(|_, _| {}))
}

fn line(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.extend(byte);
    }
    String::from_utf8(text).unwrap()
}

fn receive(received: &Receiver<&'static str>) -> &'static str {
    received.recv_timeout(PATIENCE).expect("in time")
}

#[test]
fn the_server_serves_reloads_and_drains() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("door.sock");
    let (sender, received) = channel();
    let limits = Limits {
        // Far above the patience of this test, so that a drain which nobody hears of fails it.
        drain_timeout: PATIENCE * 30,
        ..Limits::default()
    };
    let mut server = new_server(limits);
    let address = server
        .add_tcp(
            "proxy",
            "127.0.0.1:0".parse().unwrap(),
            Greeter(sender.clone()),
        )
        .unwrap();
    server
        .add_unix("unix", &socket, Greeter(sender.clone()))
        .unwrap();
    let ending = sender.clone();
    server.add_background("clock", move |drain| async move {
        drain.wait_for(Phase::Draining).await;
        ending.send("background").unwrap();
    });
    let ready = sender.clone();
    let reload = sender.clone();
    let hooks = LifecycleHooks::new(
        move || ready.send("ready").unwrap(),
        move || reload.send("reload").unwrap(),
        move |signal| sender.send(signal).unwrap(),
    );
    let running = thread::spawn(move || server.run(hooks));
    assert_eq!(receive(&received), "ready");

    let uid = getuid().as_raw();
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(line(&mut tcp), format!("tcp {uid}\n"));
    let mut unix = UnixStream::connect(&socket).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(line(&mut unix), format!("unix {uid}\n"));
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o660
    );

    kill_process(getpid(), Signal::HUP).unwrap();
    assert_eq!(receive(&received), "reload");

    tcp.write_all(b"!").unwrap();
    assert_eq!(receive(&received), "begun");
    unix.write_all(b"!").unwrap();
    assert_eq!(receive(&received), "begun");
    kill_process(getpid(), Signal::TERM).unwrap();
    assert_eq!(line(&mut tcp), "goodbye\n");
    assert_eq!(line(&mut unix), "goodbye\n");
    assert_eq!(line(&mut tcp), "end\n");
    assert_eq!(line(&mut unix), "end\n");
    let mut last = [receive(&received), receive(&received)];
    last.sort_unstable();
    assert_eq!(last, ["SIGTERM", "background"]);
    running.join().unwrap();
    assert!(TcpStream::connect(address).is_err());
    assert!(!socket.exists());
}

#[test]
fn an_address_in_use_is_reported_at_once_by_name() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut server = new_server(Limits::default());
    let error = server
        .add_tcp("admin", address, Greeter(channel().0))
        .unwrap_err();
    assert!(matches!(&error, BindError::Tcp { name, .. } if &**name == "admin"));
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn two_listeners_on_one_address_are_rejected() {
    let mut server = new_server(Limits::default());
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let address = server.add_tcp("proxy", any, Greeter(channel().0)).unwrap();
    assert!(
        server
            .add_tcp("admin", address, Greeter(channel().0))
            .is_err()
    );
}

#[test]
fn a_missing_folder_is_created_and_a_failure_to_create_it_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let unix =
        |path: &Path| new_server(Limits::default()).add_unix("control", path, Greeter(channel().0));
    let missing = folder.path().join("run/sms-sidecar");
    unix(&missing.join("control.sock")).unwrap();
    assert_eq!(
        fs::metadata(&missing).unwrap().permissions().mode() & 0o022,
        0,
        "other users cannot replace the socket"
    );
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = unix(&file.join("control.sock")).unwrap_err().to_string();
    assert!(
        error.contains("control")
            && error.contains(&file.display().to_string())
            && error.contains("something else has its name; move that away"),
        "{error}"
    );
}

#[test]
fn an_abandoned_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let unix =
        |path: &Path| new_server(Limits::default()).add_unix("unix", path, Greeter(channel().0));
    let dead = folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(dead.exists());
    unix(&dead).unwrap();
    let live = folder.path().join("live.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&live).unwrap();
    assert!(unix(&live).is_err());
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert!(unix(&file).is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}
