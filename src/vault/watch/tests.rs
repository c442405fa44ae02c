//! File events show changes at once; the cadence finds those without an event.

use std::fs;
use std::os::unix::fs::symlink;

use secrecy::SecretString;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::clock::SystemClock;
use crate::secret::Version;
use crate::vault::directory::DirectorySettings;
use crate::vault::embedded::Embedded;
use crate::vault::embedded::EmbeddedSettings;
use crate::vault::env::EnvSettings;
use crate::vault::settings::{Settings, SourceSettings};

const LONG: Duration = Duration::from_secs(10);

struct WatchTask {
    credential_cache: Arc<CredentialCache>,
    reference: CredentialRef,
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// Runs a cache over one vault and waits for its first read.
async fn running(source: SourceSettings, reference: CredentialRef, cadence: Duration) -> WatchTask {
    let settings = Settings {
        sources: BTreeMap::from([("v".to_owned(), source)]),
    };
    let credential_cache = Arc::new(CredentialCache::new(
        &settings,
        Arc::new(SystemClock::start()),
        Box::new(|_| ()),
    ));
    let mut changes = credential_cache.subscribe_changes();
    credential_cache.track(&reference);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(
        Arc::clone(&credential_cache).run(move |_| cadence, async move { drop(stopped.await) }),
    );
    timeout(LONG, changes.recv()).await.unwrap().unwrap();
    WatchTask {
        credential_cache,
        reference,
        task,
        stop,
    }
}

impl WatchTask {
    /// Makes a change, and waits until the cache has it.
    async fn sees(&self, change: impl FnOnce()) -> Version {
        let mut changes = self.credential_cache.subscribe_changes();
        change();
        assert_eq!(
            timeout(LONG, changes.recv())
                .await
                .expect("the change was never seen")
                .unwrap(),
            self.reference
        );
        self.credential_cache
            .current(&self.reference)
            .unwrap()
            .version
    }

    async fn stops(self) {
        self.stop.send(()).unwrap();
        timeout(LONG, self.task).await.unwrap().unwrap();
    }
}

fn reference(path: &str) -> CredentialRef {
    CredentialRef {
        vault: "v".to_owned(),
        path: path.to_owned(),
        ..CredentialRef::default()
    }
}

fn swap(mount: &Path, name: &str, value: &str) {
    fs::create_dir(mount.join(name)).unwrap();
    fs::write(mount.join(name).join("password"), value).unwrap();
    symlink(name, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
}

const NEVER: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_kubernetes_swap_is_seen_by_file_events() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("sms/x");
    fs::create_dir_all(&mount).unwrap();
    swap(&mount, "..1", "one");
    let running = running(
        SourceSettings::Directory(DirectorySettings {
            path: folder.path().to_owned(),
        }),
        reference("sms/x"),
        NEVER,
    )
    .await;
    assert_eq!(
        running.sees(|| swap(&mount, "..2", "two")).await,
        Version(2)
    );
    assert_eq!(
        running.sees(|| swap(&mount, "..3", "three")).await,
        Version(3)
    );
    running.stops().await;
}

#[tokio::test]
async fn a_changed_vault_file_is_seen_by_file_events() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vault.age");
    let key_file = folder.path().join("vault.key");
    let vault = Embedded::new(file.clone(), key_file.clone());
    vault.init().unwrap();
    let set = |value: &str| {
        let value = SecretString::from(value);
        vault
            .update(|entries| {
                entries
                    .entry("sms/x".to_owned())
                    .or_default()
                    .insert("password".to_owned(), value)
            })
            .unwrap();
    };
    set("one");
    let running = running(
        SourceSettings::Embedded(EmbeddedSettings { file, key_file }),
        reference("sms/x"),
        NEVER,
    )
    .await;
    assert_eq!(running.sees(|| set("two")).await, Version(2));
    vault.rotate_key().unwrap();
    assert_eq!(
        running.sees(|| set("three")).await,
        Version(3),
        "a new key over the same content is no new version"
    );
    running.stops().await;
}

#[tokio::test]
async fn a_changed_env_file_is_seen_by_file_events() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    fs::write(&file, "A=one\n").unwrap();
    let running = running(
        SourceSettings::Env(EnvSettings {
            file: Some(file.clone()),
        }),
        reference(""),
        NEVER,
    )
    .await;
    assert_eq!(
        running.sees(|| fs::write(&file, "A=two\n").unwrap()).await,
        Version(2),
        "written in place"
    );
    let replaced = || {
        fs::write(folder.path().join("new"), "A=three\n").unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
    };
    assert_eq!(
        running.sees(replaced).await,
        Version(3),
        "replaced by an editor"
    );
    running.stops().await;
}

#[tokio::test]
async fn the_cadence_finds_changes_without_file_events() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("later");
    let settings = Settings {
        sources: BTreeMap::from([(
            "v".to_owned(),
            SourceSettings::Directory(DirectorySettings {
                path: mount.clone(),
            }),
        )]),
    };
    let credential_cache = Arc::new(CredentialCache::new(
        &settings,
        Arc::new(SystemClock::start()),
        Box::new(|_| ()),
    ));
    let mut changes = credential_cache.subscribe_changes();
    assert!(
        credential_cache.get(&reference("")).await.is_err(),
        "the folder is not there yet"
    );
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(
        Arc::clone(&credential_cache).run(|_| Duration::ZERO, async move { drop(stopped.await) }),
    );
    fs::create_dir(&mount).unwrap();
    fs::write(mount.join("password"), "one").unwrap();
    timeout(LONG, changes.recv())
        .await
        .expect("never seen")
        .unwrap();
    assert_eq!(
        credential_cache
            .current(&reference(""))
            .unwrap()
            .expose("password"),
        Some("one")
    );
    stop.send(()).unwrap();
    timeout(LONG, task).await.unwrap().unwrap();
}

#[test]
fn reads_are_not_changes() {
    let read = Event::new(EventKind::Access(AccessKind::Open(AccessMode::Read)))
        .add_path("/s/.env".into());
    let closed = Event::new(EventKind::Access(AccessKind::Close(AccessMode::Read)))
        .add_path("/s/.env".into());
    let written = Event::new(EventKind::Access(AccessKind::Close(AccessMode::Write)))
        .add_path("/s/.env".into());
    let other = Event::new(EventKind::Access(AccessKind::Close(AccessMode::Write)))
        .add_path("/s/app.log".into());
    let watched = WatchPaths::Files(vec!["/s/.env".into()]);
    let concerned = [read, closed, written, other].map(|event| affects(&event, &watched));
    assert_eq!(concerned, [false, false, true, false]);
}
