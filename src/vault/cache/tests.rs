//! Versions as ordinals, one read for all waiting requests, and the last good credential.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use futures_util::future::{BoxFuture, join, join_all};
use tokio::sync::Semaphore;

use super::*;
use crate::clock::{Moment, SystemClock};
use crate::secret::SecretString;
use crate::vault::directory::Directory;
use crate::vault::embedded::Embedded;
use crate::vault::entry::entry_from_object;
use crate::vault::env::Env;
use crate::vault::exec::Exec;
use crate::vault::source::WatchPaths;

type ScriptedRead = Result<VaultEntry, ReadError>;

/// Replays a list of reads; repeats the last one.
#[derive(Clone, Debug, Default)]
struct FakeSource {
    script: Arc<Mutex<VecDeque<ScriptedRead>>>,
    reads: Arc<AtomicU64>,
    held: Option<Arc<Semaphore>>,
    piecewise: bool,
    /// `NotYet`: each read creates another account. `Now`: the lease has ended.
    due: Option<ReadSchedule>,
    /// The vault's own interval.
    poll: Option<Duration>,
}

impl FakeSource {
    fn plays(reads: &[&[(&str, &str)]]) -> Self {
        let fake = Self::default();
        for fields in reads {
            fake.then(Ok(entry(fields)));
        }
        fake
    }

    fn then(&self, read: Result<VaultEntry, ReadError>) {
        self.script.lock().unwrap().push_back(read);
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }
}

impl VaultSource for FakeSource {
    fn read(&self, _path: &str) -> BoxFuture<'static, Result<VaultEntry, ReadError>> {
        let fake = self.clone();
        Box::pin(async move {
            fake.reads.fetch_add(1, Ordering::SeqCst);
            if let Some(held) = &fake.held {
                held.acquire().await.unwrap().forget();
            }
            let mut script = fake.script.lock().unwrap();
            if script.len() > 1 {
                script.pop_front().unwrap()
            } else {
                script[0].clone()
            }
        })
    }

    fn location(&self) -> String {
        "the fake".to_owned()
    }

    fn allows_torn_reads(&self) -> bool {
        self.piecewise
    }

    fn watch_paths(&self) -> WatchPaths {
        WatchPaths::Nothing
    }

    fn poll_interval(&self) -> Option<Duration> {
        self.poll
    }

    fn read_schedule(&self, _path: &str) -> ReadSchedule {
        self.due.unwrap_or(ReadSchedule::ByCadence)
    }
}

fn entry(fields: &[(&str, &str)]) -> VaultEntry {
    let fields = fields
        .iter()
        .map(|(field, value)| ((*field).to_owned(), SecretString::from(*value)))
        .collect();
    VaultEntry {
        fields,
        ..VaultEntry::default()
    }
}

fn credential_cache(fake: &FakeSource) -> CredentialCache {
    cache_with_events(fake, Box::new(|_| ()))
}

/// With a clock that moves only when set.
fn cache_with_clock(fake: &FakeSource) -> (CredentialCache, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let sources = BTreeMap::from([(
        "local".to_owned(),
        Arc::new(fake.clone()) as Arc<dyn VaultSource>,
    )]);
    (
        CredentialCache::with_sources(sources, Arc::<ManualClock>::clone(&clock), Box::new(|_| ())),
        clock,
    )
}

fn cache_with_events(fake: &FakeSource, events: ReadEventSink) -> CredentialCache {
    let sources = BTreeMap::from([(
        "local".to_owned(),
        Arc::new(fake.clone()) as Arc<dyn VaultSource>,
    )]);
    CredentialCache::with_sources(sources, Arc::new(SystemClock::start()), events)
}

fn reference() -> CredentialRef {
    CredentialRef {
        vault: "local".to_owned(),
        path: "sms/x".to_owned(),
        ..CredentialRef::default()
    }
}

fn sealed() -> ReadError {
    ReadError::WrongKey {
        file: Path::new("v.age").into(),
        key_file: Path::new("v.key").into(),
    }
}

#[tokio::test]
async fn versions_count_contents() {
    let credential_cache = credential_cache(&FakeSource::plays(&[
        &[("p", "one")],
        &[("p", "one")],
        &[("p", "two")],
        &[("p", "one")],
    ]));
    let reference = reference();
    assert!(credential_cache.current(&reference).is_none());
    let mut versions = Vec::new();
    for _ in 0..4 {
        credential_cache.poll(&reference).await;
        versions.push(credential_cache.current(&reference).unwrap().version.0);
    }
    assert_eq!(
        versions,
        [1, 1, 2, 3],
        "going back to an old value is a new version"
    );
}

#[tokio::test]
async fn a_newer_version_is_returned_without_a_read() {
    let fake = FakeSource::plays(&[&[("p", "one")], &[("p", "two")]]);
    let credential_cache = credential_cache(&fake);
    credential_cache.get(&reference()).await.unwrap();
    credential_cache.get(&reference()).await.unwrap();
    assert_eq!(fake.reads(), 1, "get is cached");
    assert_eq!(
        credential_cache
            .reread(&reference(), Version(1))
            .await
            .unwrap()
            .version,
        Version(2)
    );
    assert_eq!(
        credential_cache
            .reread(&reference(), Version(1))
            .await
            .unwrap()
            .version,
        Version(2)
    );
    assert_eq!(fake.reads(), 2);
}

#[tokio::test]
async fn rejections_of_one_version_share_one_read() {
    let held = Arc::new(Semaphore::new(1));
    let fake = FakeSource {
        held: Some(Arc::clone(&held)),
        ..FakeSource::plays(&[&[("p", "one")], &[("p", "two")]])
    };
    let credential_cache = credential_cache(&fake);
    let reference = reference();
    credential_cache.get(&reference).await.unwrap();
    // Polled in order: all of them wait before the read continues.
    let rereads = join_all((0..50).map(|_| credential_cache.reread(&reference, Version(1))));
    let (got, ()) = join(rereads, async { held.add_permits(1) }).await;
    assert!(got.iter().all(|got| {
        got.as_ref()
            .is_ok_and(|credential| credential.expose("p") == Some("two"))
    }));
    assert_eq!(fake.reads(), 2);
}

#[tokio::test]
async fn rejections_of_an_unchanged_version_share_one_read() {
    let held = Arc::new(Semaphore::new(1));
    let fake = FakeSource {
        held: Some(Arc::clone(&held)),
        ..FakeSource::plays(&[&[("p", "one")]])
    };
    let credential_cache = credential_cache(&fake);
    let reference = reference();
    credential_cache.get(&reference).await.unwrap();
    let rereads = join_all((0..50).map(|_| credential_cache.reread(&reference, Version(1))));
    let (got, ()) = join(rereads, async { held.add_permits(1) }).await;
    assert!(got.iter().all(|got| {
        got.as_ref()
            .is_ok_and(|credential| credential.version == Version(1))
    }));
    assert_eq!(fake.reads(), 2);
}

#[tokio::test]
async fn all_waiting_requests_continue_at_once() {
    let held = Arc::new(Semaphore::new(1));
    let fake = FakeSource {
        held: Some(Arc::clone(&held)),
        ..FakeSource::plays(&[&[("p", "one")], &[("p", "two")]])
    };
    let credential_cache = Arc::new(credential_cache(&fake));
    credential_cache.get(&reference()).await.unwrap();
    let doubt = |credential_cache: Arc<CredentialCache>| async move {
        credential_cache
            .reread(&reference(), Version(1))
            .await
            .unwrap()
            .version
    };
    let rereads: Vec<_> = (0..50)
        .map(|_| tokio::spawn(doubt(Arc::clone(&credential_cache))))
        .collect();
    while fake.reads() < 2 {
        tokio::task::yield_now().await;
    }
    held.add_permits(1);
    // Another task that is always busy: it runs once in each round of the scheduler.
    let rounds = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&rounds);
    let busy = tokio::spawn(std::future::poll_fn(move |context| {
        count.fetch_add(1, Ordering::SeqCst);
        context.waker().wake_by_ref();
        std::task::Poll::<()>::Pending
    }));
    join_all(rereads).await;
    busy.abort();
    let rounds = rounds.load(Ordering::SeqCst);
    assert!(
        rounds < 25,
        "{rounds} rounds of the scheduler: on a busy machine each is a wait for everything else that runs"
    );
}

#[tokio::test]
async fn a_cancelled_read_does_not_block_the_next() {
    let held = Arc::new(Semaphore::new(0));
    let fake = FakeSource {
        held: Some(Arc::clone(&held)),
        ..FakeSource::plays(&[&[("p", "one")]])
    };
    let credential_cache = credential_cache(&fake);
    let reference = reference();
    let mut first = Box::pin(credential_cache.get(&reference));
    assert!(futures_util::FutureExt::now_or_never(&mut first).is_none());
    drop(first);
    held.add_permits(1);
    assert!(credential_cache.get(&reference).await.is_ok());
}

#[tokio::test]
async fn the_last_good_credential_survives_a_failed_read() {
    let fake = FakeSource::plays(&[&[("p", "canary-good")]]);
    let credential_cache = credential_cache(&fake);
    credential_cache.get(&reference()).await.unwrap();
    fake.then(Err(sealed()));
    fake.script.lock().unwrap().pop_front();
    let error = credential_cache
        .reread(&reference(), Version(1))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("vault `local`: {}", sealed()));
    assert_eq!(
        credential_cache
            .get(&reference())
            .await
            .unwrap()
            .expose("p"),
        Some("canary-good")
    );
    assert!(credential_cache.last_failure(&reference()).is_some());
    fake.then(Ok(entry(&[("p", "canary-good")])));
    fake.script.lock().unwrap().pop_front();
    assert_eq!(
        credential_cache
            .reread(&reference(), Version(1))
            .await
            .unwrap()
            .version,
        Version(1)
    );
    assert!(credential_cache.last_failure(&reference()).is_none());
}

#[tokio::test]
async fn a_value_that_cannot_be_used_leaves_the_last_good_one() {
    for broken in ["", " \n", "canary-\0\0"] {
        let fake = FakeSource::plays(&[&[("p", "canary-good")]]);
        let credential_cache = credential_cache(&fake);
        credential_cache.get(&reference()).await.unwrap();
        fake.then(Ok(entry(&[("p", broken)])));
        fake.script.lock().unwrap().pop_front();
        let error = credential_cache
            .reread(&reference(), Version(1))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("field `p`") && error.contains("last good value stays in use"),
            "{error}"
        );
        assert!(!error.contains("canary"), "{error}");
        let kept = credential_cache.get(&reference()).await.unwrap();
        assert_eq!(kept.expose("p"), Some("canary-good"), "{broken:?}");
        fake.then(Ok(entry(&[("p", "canary-new")])));
        fake.script.lock().unwrap().pop_front();
        let new = credential_cache.reread(&reference(), Version(1)).await;
        assert_eq!(new.unwrap().expose("p"), Some("canary-new"));
    }
}

#[tokio::test]
async fn a_field_that_is_gone_leaves_the_last_good_entry() {
    let needed = CredentialRef {
        aliases: ["l", "p"].map(|name| (name.to_owned(), Vec::new())).into(),
        ..reference()
    };
    let fake = FakeSource::plays(&[&[("l", "a"), ("p", "canary-good")]]);
    let credential_cache = credential_cache(&fake);
    credential_cache.get(&needed).await.unwrap();
    fake.then(Ok(entry(&[("l", "b")])));
    fake.script.lock().unwrap().pop_front();
    let error = credential_cache.reread(&needed, Version(1)).await;
    assert!(error.unwrap_err().to_string().contains("field `p`"));
    let kept = credential_cache.get(&needed).await.unwrap();
    assert_eq!(kept.expose("l"), Some("a"), "the fields stay together");
}

#[tokio::test]
async fn a_first_value_that_cannot_be_used_is_passed_on() {
    let fake = FakeSource::plays(&[&[("p", "")]]);
    let read = credential_cache(&fake).get(&reference()).await.unwrap();
    assert_eq!(
        read.expose("p"),
        Some(""),
        "its use is what fails, with the field's name"
    );
}

#[tokio::test]
async fn an_entry_that_changes_piece_by_piece_is_read_until_stable() {
    let old = [("l", "a"), ("p", "1")];
    let half = [("l", "b"), ("p", "1")];
    let new = [("l", "b"), ("p", "2")];
    let fake = FakeSource {
        piecewise: true,
        ..FakeSource::plays(&[&old, &old, &half, &new, &new])
    };
    let credential_cache = credential_cache(&fake);
    credential_cache.get(&reference()).await.unwrap();
    let credential = credential_cache
        .reread(&reference(), Version(1))
        .await
        .unwrap();
    assert_eq!(
        (credential.expose("p"), credential.version),
        (Some("2"), Version(2)),
        "the half-changed one was never handed out"
    );
    assert_eq!(fake.reads(), 5);
    credential_cache
        .reread(&reference(), Version(2))
        .await
        .unwrap();
    assert_eq!(fake.reads(), 6, "what agrees with the cache is read once");
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_keeps_changing_is_not_used() {
    let values: Vec<String> = (0..20).map(|value| value.to_string()).collect();
    let reads: Vec<[(&str, &str); 1]> =
        values.iter().map(|value| [("p", value.as_str())]).collect();
    let reads: Vec<&[(&str, &str)]> = reads.iter().map(|read| &read[..]).collect();
    let fake = FakeSource {
        piecewise: true,
        ..FakeSource::plays(&reads)
    };
    let error = credential_cache(&fake).get(&reference()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is still being written; it is read again"),
        "{error}"
    );
}

/// The file is emptied, half-written and completed, as an editor or a script without a rename does it.
#[tokio::test]
async fn a_file_is_used_when_its_writer_has_finished() {
    let folder = tempfile::tempdir().unwrap();
    let field = folder.path().join("p");
    let directory = Directory::new(folder.path().to_owned());
    let variables = folder.path().join(".env");
    let env = Env::from_file(variables.clone());
    tokio::join!(
        assert_read_when_finished(&field, "", Arc::new(directory)),
        assert_read_when_finished(&variables, "p=", Arc::new(env)),
    );
}

/// `file` holds the field `p` after `name`.
async fn assert_read_when_finished(file: &Path, name: &str, source: Arc<dyn VaultSource>) {
    let write = |value: &str| std::fs::write(file, format!("{name}{value}")).unwrap();
    write("canary-old");
    let sources = BTreeMap::from([("local".to_owned(), source)]);
    let cache =
        CredentialCache::with_sources(sources, Arc::new(SystemClock::start()), Box::new(|_| ()));
    let needed = CredentialRef {
        path: String::new(),
        aliases: [("p".to_owned(), Vec::new())].into(),
        ..reference()
    };
    cache.get(&needed).await.unwrap();
    write("");
    let writer = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        write("canary-ne");
        tokio::time::sleep(Duration::from_millis(300)).await;
        write("canary-new");
    };
    let (read, ()) = join(cache.reread(&needed, Version(1)), writer).await;
    let read = read.unwrap();
    assert_eq!(
        (read.expose("p"), read.version),
        (Some("canary-new"), Version(2)),
        "{}",
        file.display()
    );
}

/// An error of the whole vault is not reported as an error of one entry.
#[tokio::test]
async fn an_error_is_about_the_entry_or_about_the_vault() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    let source: Arc<dyn VaultSource> = Arc::new(Env::from_file(file.clone()));
    let sources = BTreeMap::from([("local".to_owned(), source)]);
    let clock = Arc::new(SystemClock::start());
    let cache = CredentialCache::with_sources(sources, clock, Box::new(|_| ()));
    let needed = |vault: &str| CredentialRef {
        vault: vault.to_owned(),
        path: String::new(),
        aliases: [("p".to_owned(), Vec::new())].into(),
        ..reference()
    };
    for (vault, content, is_about_entry) in [
        ("local", "other=1".as_bytes(), true),
        ("local", b"p='a\nb'", true),
        ("local", &[0xff, b'='], false),
        ("elsewhere", b"p=1", false),
    ] {
        std::fs::write(&file, content).unwrap();
        let error = cache.get(&needed(vault)).await.unwrap_err();
        assert_eq!(error.is_about_entry(), is_about_entry, "{error}");
    }
}

/// Every defect, written into every kind of vault that reads text, is a named error or a trimmed value.
#[tokio::test]
async fn a_defect_in_a_value_is_never_sent_whichever_vault_holds_it() {
    let defects = [
        ("\u{FEFF}canary", Ok("canary")),
        (" canary\n\n", Ok("canary")),
        ("canary\u{A0}", Ok("canary")),
        ("canary\u{200B}", Ok("canary")),
        ("can\nary", Err("contains a newline")),
        ("can\u{FEFF}ary", Err("contains an invisible character")),
        ("can\tary", Err("contains a blank that is not a space")),
        ("can\0ary", Err("contains a NUL byte")),
    ];
    for (value, expected) in defects {
        let folder = tempfile::tempdir().unwrap();
        for (kind, source) in sources_with(value, folder.path()) {
            assert_read(kind, &read_field(kind, source).await, expected);
        }
    }
}

fn assert_read(kind: &str, read: &Result<String, String>, expected: Result<&str, &str>) {
    match (read, expected) {
        (Ok(read), Ok(text)) => assert_eq!(read, text, "{kind}"),
        (Err(error), Err(what)) => {
            assert!(
                error.contains("field `p`") && error.contains(what),
                "{kind} {error}"
            );
            assert!(!error.contains("ary"), "{kind} {error}");
        }
        (read, expected) => panic!("{kind}: {read:?}, not {expected:?}"),
    }
}

/// The value of the field `p`, or the error of its read.
async fn read_field(kind: &str, source: Arc<dyn VaultSource>) -> Result<String, String> {
    let is_one_entry = ["env", "process"].contains(&kind);
    let path = if is_one_entry { "" } else { "x" };
    let sources = BTreeMap::from([("local".to_owned(), source)]);
    let clock = Arc::new(SystemClock::start());
    let cache = CredentialCache::with_sources(sources, clock, Box::new(|_| ()));
    let needed = CredentialRef {
        path: path.to_owned(),
        aliases: [("p".to_owned(), Vec::new())].into(),
        ..reference()
    };
    let read = cache
        .get(&needed)
        .await
        .map_err(|error| error.to_string())?;
    Ok(read.expose("p").unwrap_or_default().to_owned())
}

/// One vault of each kind that reads text, with `value` in the field `p` of the entry `x`.
fn sources_with(value: &str, folder: &Path) -> BTreeMap<&'static str, Arc<dyn VaultSource>> {
    std::fs::create_dir(folder.join("x")).unwrap();
    std::fs::write(folder.join("x/p"), value).unwrap();
    std::fs::write(folder.join("env"), format!("p='{value}'\n")).unwrap();
    let json = serde_json::json!({ "p": value });
    std::fs::write(folder.join("json"), json.to_string()).unwrap();
    let cat = [
        "/bin/cat".to_owned(),
        folder.join("json").display().to_string(),
    ];
    let embedded = Embedded::new(folder.join("vault.age"), folder.join("vault.key"));
    embedded.init().unwrap();
    let fields = [("p".to_owned(), SecretString::from(value))].into();
    embedded
        .update(|entries| entries.insert("x".to_owned(), fields))
        .unwrap();
    let reply = FakeSource::default();
    reply.then(Ok(entry_from_object(json.as_object().unwrap().clone())));
    let process = [("p".to_owned(), value.to_owned())].into_iter();
    let mut sources: BTreeMap<&'static str, Arc<dyn VaultSource>> = BTreeMap::new();
    sources.insert("directory", Arc::new(Directory::new(folder.to_owned())));
    sources.insert("env", Arc::new(Env::from_file(folder.join("env"))));
    sources.insert("process", Arc::new(Env::from_variables(process)));
    sources.insert(
        "exec",
        Arc::new(Exec::new(cat.to_vec(), Duration::from_secs(5))),
    );
    sources.insert("embedded", Arc::new(embedded));
    sources.insert("openbao", Arc::new(reply));
    sources
}

fn outcome_label(outcome: &ReadOutcome<'_>) -> &'static str {
    match outcome {
        ReadOutcome::Unchanged(_) => "unchanged",
        ReadOutcome::New(..) => "new",
        ReadOutcome::Failed(_) => "failed",
    }
}

#[tokio::test]
async fn changes_and_events_are_reported() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let fake = FakeSource::plays(&[&[("p", "one")], &[("p", "one")], &[("p", "two")]]);
    let event_log = Arc::clone(&events);
    let credential_cache = cache_with_events(
        &fake,
        Box::new(move |event| {
            event_log.lock().unwrap().push(format!(
                "{} {} {}",
                event.vault,
                event.path,
                outcome_label(&event.outcome)
            ));
        }),
    );
    let mut changes = credential_cache.subscribe_changes();
    for _ in 0..3 {
        credential_cache.poll(&reference()).await;
    }
    fake.then(Err(sealed()));
    fake.script.lock().unwrap().pop_front();
    credential_cache
        .reread(&reference(), Version(2))
        .await
        .unwrap_err();
    assert_eq!(
        *events.lock().unwrap(),
        [
            "local sms/x new",
            "local sms/x unchanged",
            "local sms/x new",
            "local sms/x failed"
        ]
    );
    assert_eq!(changes.try_recv().unwrap(), reference());
    assert_eq!(changes.try_recv().unwrap(), reference());
    assert!(changes.try_recv().is_err());
}

#[tokio::test]
async fn an_unknown_vault_is_reported() {
    let other = CredentialRef {
        vault: "else".to_owned(),
        ..reference()
    };
    let error = credential_cache(&FakeSource::plays(&[&[]]))
        .get(&other)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no `[vaults.else]` in the config"
    );
}

#[tokio::test]
async fn versions_keep_counting_across_a_reload() {
    let old = credential_cache(&FakeSource::plays(&[&[("p", "one")]]));
    old.get(&reference()).await.unwrap();
    let gone = CredentialRef {
        path: "sms/gone".to_owned(),
        ..reference()
    };
    old.get(&gone).await.unwrap();
    let mut changes = old.subscribe_changes();
    let new = credential_cache(&FakeSource::plays(&[&[("p", "two")]])).continue_from(&old);
    assert_eq!(new.current(&reference()).unwrap().version, Version(1));
    new.track(&reference());
    assert_eq!(
        new.tracked_references(),
        [reference()],
        "what nobody asks for any more is not read"
    );
    assert!(
        new.is_due(&reference(), Duration::from_mins(1)),
        "due at once"
    );
    new.poll(&reference()).await;
    assert_eq!(new.current(&reference()).unwrap().version, Version(2));
    let third = credential_cache(&FakeSource::plays(&[&[("p", "three")]])).continue_from(&new);
    let other = CredentialRef {
        path: "sms/other".to_owned(),
        ..reference()
    };
    assert_eq!(
        third.get(&other).await.unwrap().version,
        Version(3),
        "no provider meets a number twice"
    );
    assert_eq!(third.get(&reference()).await.unwrap().version, Version(2));
    assert_eq!(
        changes.try_recv().unwrap(),
        reference(),
        "who listened to the old one hears of it"
    );
}

fn mapped(fields: &[(&str, &str)], names: &[(&str, &[&str])]) -> CredentialRef {
    CredentialRef {
        fields: fields
            .iter()
            .map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned()))
            .collect(),
        aliases: names
            .iter()
            .map(|(field, names)| {
                (
                    (*field).to_owned(),
                    names.iter().map(|name| (*name).to_owned()).collect(),
                )
            })
            .collect(),
        ..reference()
    }
}

#[tokio::test]
async fn fields_are_found_by_mapping_then_own_name_then_env_names() {
    let vault: &[(&str, &str)] = &[
        ("sid", "own"),
        ("MAPPED_SID", "mapped"),
        ("X_TOKEN", "second"),
        ("PATH", "/usr/bin/canary"),
    ];
    let of = async |reference: &CredentialRef| {
        credential_cache(&FakeSource::plays(&[vault]))
            .get(reference)
            .await
    };
    let names: &[(&str, &[&str])] = &[("sid", &["X_SID"]), ("token", &["TOKEN", "X_TOKEN"])];

    let credential = of(&mapped(&[], names)).await.unwrap();
    assert_eq!(
        (credential.expose("sid"), credential.expose("token")),
        (Some("own"), Some("second"))
    );
    assert_eq!(
        credential.field_names().count(),
        2,
        "nothing that was not named"
    );
    let credential = of(&mapped(&[("sid", "MAPPED_SID")], names)).await.unwrap();
    assert_eq!(credential.expose("sid"), Some("mapped"));
    let credential = of(&mapped(&[("sid", "NOT_THERE")], names)).await.unwrap();
    assert_eq!(credential.expose("sid"), None, "a mapping is meant");
    assert_eq!(
        of(&reference()).await.unwrap().field_names().count(),
        4,
        "a reference that names nothing gets all"
    );
    let error = of(&mapped(&[("sid", "A")], &[("token", &["B"])]))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`sms/x` in the fake has none of token, B, A;"),
        "{error}"
    );
}

#[tokio::test]
async fn no_value_is_shown() {
    let credential_cache = credential_cache(&FakeSource::plays(&[&[("p", "canary-value")]]));
    let credential = credential_cache.get(&reference()).await.unwrap();
    let shown = format!(
        "{credential_cache:?} {credential:?} {:?} {:?}",
        credential_cache.seen_at(&reference()),
        credential_cache.slot(&reference())
    );
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn rejections_within_the_window_cause_one_read() {
    let fake = FakeSource::plays(&[&[("p", "one")]]);
    let credential_cache = credential_cache(&fake);
    credential_cache.get(&reference()).await.unwrap();
    for _ in 0..20 {
        assert_eq!(
            credential_cache
                .reread(&reference(), Version(1))
                .await
                .unwrap()
                .version,
            Version(1)
        );
    }
    assert_eq!(
        fake.reads(),
        2,
        "the first, and the one that confirmed what was refused"
    );
    fake.then(Ok(entry(&[("p", "two")])));
    credential_cache.poll(&reference()).await;
    credential_cache.poll(&reference()).await;
    assert_eq!(
        credential_cache.current(&reference()).unwrap().version,
        Version(2),
        "a look by time is no refusal"
    );
}

#[tokio::test]
async fn an_account_created_after_a_rejection_is_not_replaced_at_once() {
    let fake = FakeSource {
        due: Some(ReadSchedule::NotYet),
        ..FakeSource::plays(&[&[("p", "one")], &[("p", "two")], &[("p", "three")]])
    };
    let (credential_cache, clock) = cache_with_clock(&fake);
    credential_cache.get(&reference()).await.unwrap();
    for _ in 0..20 {
        credential_cache
            .reread(&reference(), Version(1))
            .await
            .unwrap();
        assert_eq!(
            credential_cache
                .reread(&reference(), Version(2))
                .await
                .unwrap()
                .version,
            Version(2)
        );
    }
    assert_eq!(fake.reads(), 2);
    *clock.0.lock().unwrap() = Duration::from_secs(61);
    assert_eq!(
        credential_cache
            .reread(&reference(), Version(2))
            .await
            .unwrap()
            .version,
        Version(3),
        "the service may have been mended meanwhile"
    );
}

#[tokio::test]
async fn a_vault_is_polled_at_its_interval_minus_jitter() {
    for (poll, cadence, at) in [
        (None, 60, 54),
        (Some(10), 60, 9),
        (Some(600), 60, 54),
        (Some(600), 5, 5),
    ] {
        let fake = FakeSource {
            poll: poll.map(Duration::from_secs),
            ..FakeSource::plays(&[&[("p", "one")]])
        };
        let (credential_cache, clock) = cache_with_clock(&fake);
        credential_cache.poll(&reference()).await;
        let due = |seconds: u64| {
            *clock.0.lock().unwrap() = Duration::from_secs(seconds);
            credential_cache.is_due(&reference(), Duration::from_secs(cadence))
        };
        assert!(
            !due(at - 1) && due(at),
            "a tenth early by dice of a half: {poll:?} {cadence}"
        );
    }
}

#[tokio::test]
async fn an_ended_lease_that_cannot_be_replaced_is_read_with_pauses() {
    let fake = FakeSource {
        due: Some(ReadSchedule::Now),
        ..FakeSource::default()
    };
    fake.then(Err(sealed()));
    let (credential_cache, clock) = cache_with_clock(&fake);
    credential_cache.poll(&reference()).await;
    let due = |seconds: u64| {
        *clock.0.lock().unwrap() = Duration::from_secs(seconds);
        credential_cache.is_due(&reference(), Duration::from_mins(1))
    };
    assert!(credential_cache.last_failure(&reference()).is_some() && !due(4) && due(5));
}

#[tokio::test]
async fn an_unreadable_entry_is_read_more_often() {
    let fake = FakeSource::default();
    fake.then(Err(sealed()));
    let (credential_cache, clock) = cache_with_clock(&fake);
    credential_cache.poll(&reference()).await;
    let due = |seconds: u64| {
        *clock.0.lock().unwrap() = Duration::from_secs(seconds);
        credential_cache.is_due(&reference(), Duration::from_mins(1))
    };
    assert!(!due(3) && due(5));
    fake.then(Ok(entry(&[("p", "one")])));
    credential_cache.poll(&reference()).await;
    credential_cache.poll(&reference()).await;
    assert!(!due(50) && due(60), "a fifth earlier at most, by the dice");
}

/// A clock that moves only when advanced.
#[derive(Debug, Default)]
struct ManualClock(Mutex<Duration>);

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        Moment(*self.0.lock().unwrap())
    }

    fn wall_clock(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn random_fraction(&self) -> f64 {
        0.5
    }
}
