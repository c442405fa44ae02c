//! Tests against a fake server with responses that a real one cannot be made to give: leases of
//! dynamic secrets, standbys, redirects, rubbish; and how many requests it gets meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use futures_util::future::join_all;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::{Moment, SystemClock};
use crate::reply_parser::tests::flooding_server;
use crate::telemetry::VaultReadResult;

type VaultAnswers = BTreeMap<&'static str, (u16, String)>;

/// Responses by path: status, headers and body; 404 for other paths. Records the requests.
#[derive(Clone, Default)]
struct FakeVaultServer {
    answers: Arc<Mutex<VaultAnswers>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// A path without any response.
    silent: Arc<Mutex<Option<&'static str>>>,
    at_once: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl FakeVaultServer {
    fn says(&self, path: &'static str, status: u16, body: impl Into<String>) -> &Self {
        self.answers
            .lock()
            .unwrap()
            .insert(path, (status, body.into()));
        self
    }

    fn times(&self, path: &str) -> usize {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| asked.contains(path))
            .count()
    }

    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(fake.clone().answer(stream));
            }
        });
        format!("http://{address}")
    }

    async fn answer(self, mut stream: TcpStream) {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let mut head = vec![0; 8192];
        let read = stream.read(&mut head).await.unwrap_or_default();
        let line = String::from_utf8_lossy(&head[..read])
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        let path = line
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .trim_start_matches("/v1/")
            .to_owned();
        self.asked.lock().unwrap().push(path.clone());
        if self
            .silent
            .lock()
            .unwrap()
            .is_some_and(|silent| path == silent)
        {
            return std::future::pending().await;
        }
        let answer = self.answers.lock().unwrap().get(path.as_str()).cloned();
        let (status, body) = answer.unwrap_or((404, r#"{"errors":[]}"#.to_owned()));
        tokio::task::yield_now().await;
        let reply = format!(
            "HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // Counted before the write, because the reader may send the next request at once.
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(reply.as_bytes()).await.unwrap_or_default();
    }
}

const LOGIN: &str =
    r#"{"auth":{"client_token":"token-canary","lease_duration":3600,"renewable":true}}"#;
const ENTRY: &str = r#"{"data":{"data":{"password":"p"}}}"#;

async fn vault(fake: &FakeVaultServer, folder: &tempfile::TempDir, kv: KvVersion) -> OpenBao {
    let auth = approle(folder, false);
    OpenBao::new(&settings(fake, Some(kv), auth).await, &clock())
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::start())
}

fn approle(folder: &tempfile::TempDir, wrapped: bool) -> OpenBaoAuth {
    let file = |name: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("{name}-canary\n")).unwrap();
        file
    };
    OpenBaoAuth::AppRole {
        role_id_file: file("role"),
        secret_id_file: file("secret"),
        wrapped,
        mount: "approle".to_owned(),
    }
}

async fn settings(
    fake: &FakeVaultServer,
    kv: Option<KvVersion>,
    auth: OpenBaoAuth,
) -> OpenBaoSettings {
    OpenBaoSettings {
        address: fake.serve().await,
        mount: "secret".to_owned(),
        kv,
        namespace: None,
        ca_file: None,
        timeout: Duration::from_secs(20),
        poll: Duration::from_mins(1),
        auth,
    }
}

#[tokio::test]
async fn every_odd_response_has_its_error_and_shows_no_value() {
    for (status, body, kind, expected) in [
        (
            200,
            "canary".to_owned(),
            VaultReadResult::Malformed,
            "not JSON",
        ),
        (
            200,
            r#"{"data":{}}"#.to_owned(),
            VaultReadResult::Malformed,
            "no `data`",
        ),
        (
            200,
            format!(
                r#"{{"data":{{"data":{{"p":"{}"}}}}}}"#,
                "canary".repeat(200_000)
            ),
            VaultReadResult::Malformed,
            "larger than 256 KiB",
        ),
        (
            204,
            String::new(),
            VaultReadResult::Malformed,
            "status is 204",
        ),
        (
            307,
            "canary".to_owned(),
            VaultReadResult::Unreachable,
            "a token follows no redirect",
        ),
        (
            429,
            "canary".to_owned(),
            VaultReadResult::Unreachable,
            "rate limit quota",
        ),
        (
            473,
            "canary".to_owned(),
            VaultReadResult::Unreachable,
            "standby",
        ),
        (
            500,
            r#"{"errors":["canary"]}"#.to_owned(),
            VaultReadResult::Unreachable,
            "cannot serve now",
        ),
        (
            503,
            r#"{"errors":["Vault is sealed"]}"#.to_owned(),
            VaultReadResult::Sealed,
            "bao operator unseal",
        ),
        (
            404,
            r#"{"errors":[]}"#.to_owned(),
            VaultReadResult::NotFound,
            "nothing was ever written",
        ),
        (
            404,
            r#"{"data":{"data":null,"metadata":{"version":2}}}"#.to_owned(),
            VaultReadResult::NotFound,
            "newest version was deleted",
        ),
    ] {
        let fake = FakeVaultServer::default();
        let folder = tempfile::tempdir().unwrap();
        fake.says("auth/approle/login", 200, LOGIN)
            .says("secret/data/sms/x", status, body);
        let settings = settings(&fake, Some(KvVersion::V2), approle(&folder, false)).await;
        let vault = OpenBao::new(&settings, &clock());
        let error = vault.read("sms/x").await.unwrap_err();
        assert_eq!(error.result(), kind, "{status}: {error}");
        assert!(
            error.to_string().contains(expected) && !error.to_string().contains("canary"),
            "{status}: {error}"
        );
        assert!(
            error.to_string().contains(&settings.address),
            "{status} of which server: {error}"
        );
        assert_eq!(
            fake.asked.lock().unwrap().len(),
            2,
            "nothing was followed or repeated: {status}"
        );
    }
}

#[tokio::test]
async fn a_path_stays_below_its_mount() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    fake.says("auth/approle/login", 200, LOGIN)
        .says("secret/data/a%3Fb%20%23c", 200, ENTRY);
    let vault = vault(&fake, &folder, KvVersion::V2).await;
    for path in ["", "/x", "x/", "../sys/x", "a/../b", "a//b", "a\nb"] {
        assert!(
            matches!(
                vault.read(path).await.unwrap_err(),
                ReadError::InvalidPath { .. }
            ),
            "{path}"
        );
    }
    assert!(vault.read("a?b #c").await.is_ok());
}

#[tokio::test]
async fn all_reads_share_one_login_and_concurrency_is_limited() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    fake.says("auth/approle/login", 200, LOGIN)
        .says("secret/data/sms/x", 200, ENTRY);
    let vault = vault(&fake, &folder, KvVersion::V2).await;
    let read = join_all((0..40).map(|_| vault.read("sms/x"))).await;
    assert!(read.iter().all(|read| {
        read.as_ref()
            .is_ok_and(|entry| entry.fields["password"].expose_secret() == "p")
    }));
    assert_eq!(fake.times("login"), 1);
    assert!(
        fake.most.load(Ordering::SeqCst) <= 4,
        "{}",
        fake.most.load(Ordering::SeqCst)
    );
}

#[tokio::test]
async fn a_recovering_server_gets_few_requests() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    fake.says(
        "auth/approle/login",
        503,
        r#"{"errors":["Vault is sealed"]}"#,
    );
    let vault = vault(&fake, &folder, KvVersion::V2).await;
    let began = tokio::time::Instant::now();
    let mut reads = 0;
    while began.elapsed() < Duration::from_secs(2) {
        for read in join_all((0..20).map(|_| vault.read("sms/x"))).await {
            assert_eq!(read.unwrap_err().result(), VaultReadResult::Sealed);
            reads += 1;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = fake.times("");
    assert!(
        asked <= 6 && reads > 100,
        "{asked} requests for {reads} reads: half a second, one, two, halved at most by the dice"
    );
}

#[tokio::test]
async fn a_rejected_login_is_not_repeated_at_once_but_another_proof_is_tried() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    fake.says(
        "auth/approle/login",
        400,
        r#"{"errors":["invalid secret id secret-canary"]}"#,
    );
    let vault = vault(&fake, &folder, KvVersion::V2).await;
    for _ in 0..20 {
        let error = vault.read("sms/x").await.unwrap_err();
        assert_eq!(error.result(), VaultReadResult::Forbidden);
        assert!(
            error
                .to_string()
                .contains("status 400, invalid secret id ***")
                && error.to_string().contains("bao write -f"),
            "{error}"
        );
    }
    assert!(fake.times("login") <= 2, "{}", fake.times("login"));
    fake.says("auth/approle/login", 200, LOGIN)
        .says("secret/data/sms/x", 200, ENTRY);
    std::fs::write(folder.path().join("secret"), "another").unwrap();
    assert!(vault.read("sms/x").await.is_ok());
}

#[tokio::test]
async fn a_lease_is_renewed_and_its_entry_read_again_only_when_it_ends() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    let lease = |lasts: u32| {
        format!(
            r#"{{"lease_id":"l/1","lease_duration":{lasts},"renewable":true,"data":{{"password":"p"}}}}"#
        )
    };
    fake.says("auth/approle/login", 200, LOGIN)
        .says("secret/creds/sms", 200, lease(3))
        .says("sys/leases/renew", 200, lease(3));
    let vault = vault(&fake, &folder, KvVersion::V1).await;
    assert_eq!(vault.read_schedule("creds/sms"), ReadSchedule::ByCadence);
    vault.read("creds/sms").await.unwrap();
    while fake.times("renew") < 2 {
        assert_eq!(
            vault.read_schedule("creds/sms"),
            ReadSchedule::NotYet,
            "each read would make another account"
        );
        vault.keep_alive().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    fake.says("sys/leases/renew", 200, lease(1));
    while fake.times("renew") < 3 {
        vault.keep_alive().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        vault.read_schedule("creds/sms"),
        ReadSchedule::Now,
        "it cannot be made to last any more"
    );
    assert_eq!(fake.times("creds"), 1);
}

/// Runs until `done`, and once more after it.
async fn tended(vault: &OpenBao, done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(50)).await;
        vault.keep_alive().await;
    }
    vault.keep_alive().await;
}

#[tokio::test]
async fn every_missing_response_has_a_time_limit() {
    let lease = r#"{"lease_id":"l/1","lease_duration":1,"renewable":true,"data":{"password":"p"}}"#;
    let short = r#"{"auth":{"client_token":"token-canary","lease_duration":1,"renewable":true}}"#;
    for silent in [
        "sys/wrapping/unwrap",
        "auth/approle/login",
        "sys/internal/ui/mounts/secret",
        "secret/x",
        "auth/token/renew-self",
        "sys/leases/renew",
    ] {
        let fake = FakeVaultServer::default();
        let folder = tempfile::tempdir().unwrap();
        let limit = Duration::from_millis(300);
        fake.says(
            "sys/wrapping/unwrap",
            200,
            r#"{"data":{"secret_id":"secret-canary"}}"#,
        )
        .says(
            "auth/approle/login",
            200,
            if silent.contains("renew-self") {
                short
            } else {
                LOGIN
            },
        );
        fake.says(
            "sys/internal/ui/mounts/secret",
            200,
            r#"{"data":{"options":null}}"#,
        )
        .says("secret/x", 200, lease);
        let auth = approle(&folder, silent == "sys/wrapping/unwrap");
        let vault = OpenBao::new(
            &OpenBaoSettings {
                timeout: limit,
                ..settings(&fake, None, auth).await
            },
            &clock(),
        );
        *fake.silent.lock().unwrap() = Some(silent);
        let ends = async {
            let read = vault.read("x").await;
            tended(&vault, || fake.times(silent) > 0).await;
            read
        };
        // Far above the time limit, so that a hang fails the test.
        let read = tokio::time::timeout(Duration::from_mins(1), ends)
            .await
            .unwrap_or_else(|_| panic!("{silent} is waited for without end"));
        assert_eq!(read.is_err(), !silent.contains("renew"), "{silent}");
        assert!(
            read.err()
                .is_none_or(|error| error.result() == VaultReadResult::Timeout),
            "{silent}"
        );
    }
}

#[tokio::test]
async fn a_server_that_floods_is_left_alone() {
    let (address, end) = flooding_server();
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeVaultServer::default();
    let vault = OpenBao::new(
        &OpenBaoSettings {
            address: format!("http://{address}").parse().unwrap(),
            ..settings(&fake, None, approle(&folder, false)).await
        },
        &clock(),
    );
    let error = vault.read("x").await.unwrap_err();
    assert_eq!(error.result(), VaultReadResult::Unreachable);
    let fault = "it sent more than 20 interim replies (1xx)";
    assert!(error.to_string().contains(fault), "{error}");
    end.recv_timeout(Duration::from_mins(1)).unwrap();
}

#[tokio::test]
async fn debug_output_shows_no_value() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    fake.says("auth/approle/login", 200, LOGIN)
        .says("secret/data/sms/x", 200, ENTRY);
    let vault = vault(&fake, &folder, KvVersion::V2).await;
    vault.read("sms/x").await.unwrap();
    assert!(!format!("{vault:?}").contains("canary"), "{vault:?}");
}

#[test]
fn an_operator_patches_or_replaces_the_entry() {
    let settings = |kv, namespace: Option<&str>| OpenBaoSettings {
        address: "https://vault.internal:8200".to_owned(),
        mount: "secret".to_owned(),
        kv,
        namespace: namespace.map(str::to_owned),
        ca_file: None,
        timeout: Duration::from_secs(3),
        poll: Duration::from_mins(1),
        auth: OpenBaoAuth::TokenFile("token".into()),
    };
    let fields = ["username", "password"].map(str::to_owned);
    let target = WriteTarget {
        config: "a.toml",
        vault: "keys",
        path: "sms/a",
        fields: &fields,
    };
    for (kv, namespace, command) in [
        (
            None,
            None,
            "`bao kv patch -mount=secret sms/a username=-`, then `bao kv patch -mount=secret sms/a password=-` (reads the value from standard input)",
        ),
        (
            Some(KvVersion::V2),
            Some("team"),
            "`bao kv patch -namespace=team -mount=secret sms/a username=-`, then `bao kv patch -namespace=team -mount=secret sms/a password=-` (reads the value from standard input)",
        ),
        (
            Some(KvVersion::V1),
            None,
            "`bao kv put -mount=secret sms/a @FILE` with all of its fields as JSON in FILE",
        ),
    ] {
        assert_eq!(settings(kv, namespace).write_instructions(&target), command);
    }
}

#[tokio::test]
async fn a_forbidden_entry_causes_a_login_only_if_the_token_is_unknown() {
    const FORBIDDEN: &str = r#"{"errors":["permission denied"]}"#;
    for (token_known, logins) in [(200, 1), (403, 2)] {
        let fake = FakeVaultServer::default();
        let folder = tempfile::tempdir().unwrap();
        fake.says("auth/approle/login", 200, LOGIN)
            .says("auth/token/lookup-self", token_known, FORBIDDEN)
            .says("secret/data/sms/x", 403, FORBIDDEN);
        let vault = vault(&fake, &folder, KvVersion::V2).await;
        let error = vault.read("sms/x").await.unwrap_err();
        assert_eq!(error.result(), VaultReadResult::Forbidden);
        assert_eq!(fake.times("login"), logins, "lookup-self {token_known}");
    }
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_before_the_login() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    fake.says(
        "sys/wrapping/unwrap",
        200,
        r#"{"data":{"secret_id":"unwrapped"}}"#,
    )
    .says("auth/approle/login", 200, LOGIN)
    .says("secret/data/sms/x", 200, ENTRY);
    let auth = approle(&folder, true);
    let settings = settings(&fake, Some(KvVersion::V2), auth).await;
    let vault = OpenBao::new(&settings, &clock());
    assert!(vault.read("sms/x").await.is_ok());
    assert_eq!((fake.times("unwrap"), fake.times("login")), (1, 1));
}

/// A clock that stands still unless a test moves it.
#[derive(Debug, Default)]
struct StillClock(Mutex<Duration>);

impl StillClock {
    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for StillClock {
    fn now(&self) -> Moment {
        Moment::default().saturating_add(*self.0.lock().unwrap())
    }

    fn wall_clock(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn random_fraction(&self) -> f64 {
        0.5
    }
}

#[tokio::test]
async fn a_server_that_timed_out_is_left_alone_for_a_while() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    fake.says("auth/approle/login", 200, LOGIN);
    *fake.silent.lock().unwrap() = Some("secret/data/sms/x");
    let settings = OpenBaoSettings {
        timeout: Duration::from_millis(300),
        ..settings(&fake, Some(KvVersion::V2), approle(&folder, false)).await
    };
    let vault = OpenBao::new(&settings, &(Arc::<StillClock>::default() as Arc<dyn Clock>));
    for _ in 0..3 {
        let error = vault.read("sms/x").await.unwrap_err();
        assert_eq!(error.result(), VaultReadResult::Timeout);
    }
    assert_eq!(fake.times("secret/data/sms/x"), 1);
}

/// A vault on a clock that the test moves.
async fn vault_with_clock(
    fake: &FakeVaultServer,
    folder: &tempfile::TempDir,
    kv: KvVersion,
) -> (OpenBao, Arc<StillClock>) {
    let clock = Arc::<StillClock>::default();
    let shared: Arc<dyn Clock> = Arc::<StillClock>::clone(&clock);
    let settings = settings(fake, Some(kv), approle(folder, false)).await;
    (OpenBao::new(&settings, &shared), clock)
}

#[tokio::test]
async fn the_pause_after_a_rejected_login_doubles_for_the_same_proof_only() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    fake.says("auth/approle/login", 400, r#"{"errors":[]}"#);
    let (vault, clock) = vault_with_clock(&fake, &folder, KvVersion::V2).await;
    let mut logins = Vec::new();
    let mut read_after = async |pauses: &[u64]| {
        for pause in pauses {
            clock.advance(Duration::from_secs(*pause));
            vault.read("sms/x").await.unwrap_err();
            logins.push(fake.times("login"));
        }
    };
    // One second, then two, then four, less a quarter at most.
    read_after(&[0, 1, 1, 1, 2, 2]).await;
    std::fs::write(folder.path().join("secret"), "another").unwrap();
    read_after(&[0, 1]).await;
    assert_eq!(logins, [1, 2, 2, 3, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_lease_is_renewed_when_it_is_due_and_not_after_it_cannot_be() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    let login = r#"{"auth":{"client_token":"t","lease_duration":36000,"renewable":true}}"#;
    let lease = |seconds: u32, renewable: bool| {
        format!(
            r#"{{"lease_id":"l/1","lease_duration":{seconds},"renewable":{renewable},"data":{{"p":"p"}}}}"#
        )
    };
    fake.says("auth/approle/login", 200, login)
        .says("secret/creds/a", 200, lease(300, true))
        .says("secret/creds/b", 200, lease(300, false))
        .says("sys/leases/renew", 200, lease(300, true));
    let (vault, clock) = vault_with_clock(&fake, &folder, KvVersion::V1).await;
    for path in ["creds/a", "creds/b"] {
        vault.read(path).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut wait = async |seconds| {
        clock.advance(Duration::from_secs(seconds));
        vault.keep_alive().await;
        seen.push((
            fake.times("leases/renew"),
            vault.read_schedule("creds/a"),
            vault.read_schedule("creds/b"),
        ));
    };
    wait(180).await;
    wait(20).await;
    // The server lets it last no longer: its entry is read again instead.
    fake.says("sys/leases/renew", 200, lease(100, true));
    wait(200).await;
    wait(50).await;
    assert_eq!(
        seen,
        [
            (0, ReadSchedule::NotYet, ReadSchedule::NotYet),
            (1, ReadSchedule::NotYet, ReadSchedule::Now),
            (2, ReadSchedule::Now, ReadSchedule::Now),
            (2, ReadSchedule::Now, ReadSchedule::Now),
        ]
    );
}

#[tokio::test]
async fn a_login_is_renewed_when_it_is_due_and_serves_to_its_end() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    let grant = |seconds: u32| {
        format!(r#"{{"auth":{{"client_token":"t","lease_duration":{seconds},"renewable":true}}}}"#)
    };
    fake.says("auth/approle/login", 200, grant(3600))
        .says("auth/token/renew-self", 200, grant(3600))
        .says("secret/data/sms/x", 200, ENTRY);
    let (vault, clock) = vault_with_clock(&fake, &folder, KvVersion::V2).await;
    vault.read("sms/x").await.unwrap();
    let wait = async |seconds| {
        clock.advance(Duration::from_secs(seconds));
        vault.keep_alive().await;
        (fake.times("renew-self"), fake.times("approle/login"))
    };
    assert_eq!(wait(2200).await, (0, 1));
    assert_eq!(wait(100).await, (1, 1), "at two thirds of an hour");
    // The server lets it last no longer: the sidecar logs in again.
    fake.says("auth/token/renew-self", 200, grant(1000));
    assert_eq!(wait(2400).await, (2, 2));
    fake.says("auth/token/renew-self", 403, "{}")
        .says("auth/approle/login", 400, "{}");
    assert_eq!(wait(2300).await, (3, 3));
    assert!(vault.read("sms/x").await.is_ok(), "the token has time left");
    clock.advance(Duration::from_secs(1300));
    let error = vault.read("sms/x").await.unwrap_err();
    assert_eq!(error.result(), VaultReadResult::Forbidden);
}

#[tokio::test]
async fn the_files_of_a_login_are_required_and_watched() {
    let fake = FakeVaultServer::default();
    let path = |name: &str| PathBuf::from("/run").join(name);
    let folder = tempfile::tempdir().unwrap();
    let role = [folder.path().join("role"), folder.path().join("secret")];
    for (auth, files) in [
        (OpenBaoAuth::TokenFile(path("token")), vec![path("token")]),
        (approle(&folder, true), role.to_vec()),
        (
            OpenBaoAuth::Jwt {
                role: "sms".to_owned(),
                jwt_file: path("jwt"),
                mount: "jwt".to_owned(),
                kubernetes: false,
            },
            vec![path("jwt")],
        ),
    ] {
        let settings = OpenBaoSettings {
            ca_file: Some(path("ca")),
            ..settings(&fake, None, auth).await
        };
        let vault = OpenBao::new(&settings, &clock());
        assert_eq!(vault.watch_paths(), WatchPaths::Files(files.clone()));
        let required: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let ca = path("ca");
        assert_eq!(settings.required_files(), [required, vec![&ca]].concat());
    }
}

#[tokio::test]
async fn an_answer_that_is_no_entry_ends_the_pause_too() {
    let fake = FakeVaultServer::default();
    let folder = tempfile::tempdir().unwrap();
    fake.says("auth/approle/login", 200, LOGIN).says(
        "secret/data/sms/x",
        503,
        r#"{"errors":["sealed"]}"#,
    );
    let (vault, clock) = vault_with_clock(&fake, &folder, KvVersion::V2).await;
    let read = async || vault.read("sms/x").await.map_err(|error| error.result());
    assert_eq!(read().await.unwrap_err(), VaultReadResult::Sealed);
    let long = format!(r#"{{"data":"{}"}}"#, "x".repeat(1 << 20));
    fake.says("secret/data/sms/x", 200, long);
    assert_eq!(read().await.unwrap_err(), VaultReadResult::Sealed, "paused");
    clock.advance(Duration::from_secs(1));
    assert_eq!(read().await.unwrap_err(), VaultReadResult::Malformed);
    fake.says("secret/data/sms/x", 200, ENTRY);
    assert!(read().await.is_ok(), "the server works");
}
