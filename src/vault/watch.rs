//! Looks for newer credentials: at the cadence of each reference, and at once when a watched file
//! changes. File events are best effort (network shares, folders created later); the cadence is
//! the guarantee.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::vault::cache::CredentialCache;
use crate::vault::reference::CredentialRef;
use crate::vault::source::{ReadSchedule, VaultSource, WatchPaths};

/// How often to check what is due; a cadence may shorten at any time, and folders may appear.
const TICK: Duration = Duration::from_secs(1);
/// Waits out a burst of events: a rename, a mode, an owner.
const DEBOUNCE: Duration = Duration::from_millis(30);

impl CredentialCache {
    /// Looks for newer credentials until `shutdown` resolves. `cadence` returns the maximum age of a read of an entry.
    pub async fn run(
        self: Arc<Self>,
        cadence: impl Fn(&CredentialRef) -> Duration + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let touched = ChangedVaults::default();
        tokio::select! {
            () = self.poll_and_watch(&touched, cadence, shutdown) => {}
            () = self.keep_sources_alive(&touched) => {}
        }
    }

    /// Renews logins and leases, each vault in its own task: a slow one must not cost another its token. An entry
    /// whose lease cannot be renewed is read again at once, while it still works.
    async fn keep_sources_alive(&self, touched: &ChangedVaults) {
        join_all(
            self.sources()
                .iter()
                .map(|(vault, source)| self.keep_source_alive(vault, source.as_ref(), touched)),
        )
        .await;
        // The config has no vault.
        std::future::pending::<()>().await;
    }

    async fn keep_source_alive(
        &self,
        vault: &str,
        source: &dyn VaultSource,
        touched: &ChangedVaults,
    ) {
        loop {
            tokio::time::sleep(TICK).await;
            source.keep_alive().await;
            let ends = |reference: &CredentialRef| {
                source.read_schedule(&reference.path) == ReadSchedule::Now
                    && self.last_failure(reference).is_none()
            };
            if self
                .tracked_references()
                .iter()
                .any(|reference| reference.vault == vault && ends(reference))
            {
                touched.signal.notify_one();
            }
        }
    }

    async fn poll_and_watch(
        &self,
        touched: &ChangedVaults,
        cadence: impl Fn(&CredentialRef) -> Duration + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let mut watch = FolderWatch::new(self, touched);
        // The first tick comes at once, and begins to watch.
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = touched.wait() => {}
                _ = tick.tick() => watch.watch_pending(),
            }
            let mut due = due_references(self, &cadence);
            due.extend(touched.take(self));
            tokio::select! {
                () = &mut shutdown => return,
                _ = join_all(due.iter().map(|reference| self.poll(reference))) => {}
            }
        }
    }
}

fn due_references(
    cache: &CredentialCache,
    cadence: &impl Fn(&CredentialRef) -> Duration,
) -> BTreeSet<CredentialRef> {
    cache
        .tracked_references()
        .into_iter()
        .filter(|reference| cache.is_due(reference, cadence(reference)))
        .collect()
}

/// The vaults whose files have changed since the last check.
#[derive(Clone, Debug, Default)]
struct ChangedVaults {
    names: Arc<Mutex<BTreeSet<String>>>,
    signal: Arc<Notify>,
}

impl ChangedVaults {
    fn add(&self, vault: &str) {
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(vault.to_owned());
        self.signal.notify_one();
    }

    async fn wait(&self) {
        self.signal.notified().await;
        tokio::time::sleep(DEBOUNCE).await;
    }

    fn take(&self, cache: &CredentialCache) -> BTreeSet<CredentialRef> {
        let vaults =
            std::mem::take(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner));
        cache
            .tracked_references()
            .into_iter()
            .filter(|reference| vaults.contains(&reference.vault))
            .collect()
    }
}

/// The watched folders; missing ones are tried again.
struct FolderWatch {
    watcher: Option<RecommendedWatcher>,
    pending: BTreeMap<PathBuf, RecursiveMode>,
}

impl FolderWatch {
    fn new(cache: &CredentialCache, touched: &ChangedVaults) -> Self {
        let watched: Vec<(String, WatchPaths)> = cache
            .sources()
            .iter()
            .map(|(name, source)| (name.clone(), source.watch_paths()))
            .collect();
        let wanted = watched
            .iter()
            .flat_map(|(_, watched)| watched_folders(watched))
            .collect();
        let touched = touched.clone();
        let on_event = move |event: notify::Result<Event>| {
            // An error means lost events, so every vault counts as changed.
            let concerned = watched.iter().filter(|(_, watched)| {
                event.as_ref().map_or(true, |event| affects(event, watched))
            });
            concerned.for_each(|(vault, _)| touched.add(vault));
        };
        Self {
            watcher: notify::recommended_watcher(on_event).ok(),
            pending: wanted,
        }
    }

    /// Watches the folders that could not be watched before.
    fn watch_pending(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        self.pending
            .retain(|folder, mode| !folder.is_dir() || watcher.watch(folder, *mode).is_err());
    }
}

/// Folders, not files: the watch of a file is lost when a rename replaces the file.
fn watched_folders(watched: &WatchPaths) -> Vec<(PathBuf, RecursiveMode)> {
    match watched {
        WatchPaths::Files(files) => files
            .iter()
            .flat_map(|file| parent_folders(file))
            .map(|folder| (folder, RecursiveMode::NonRecursive))
            .collect(),
        WatchPaths::Folder(folder) => vec![(folder.clone(), RecursiveMode::Recursive)],
        WatchPaths::Nothing => Vec::new(),
    }
}

/// The folder of a file's path, and the folder of the file that its symbolic links lead to.
fn parent_folders(file: &Path) -> Vec<PathBuf> {
    let real = file.canonicalize().ok();
    [Some(file.to_owned()), real]
        .into_iter()
        .flatten()
        .filter_map(|file| file.parent().map(parent_or_current))
        .collect()
}

fn parent_or_current(parent: &Path) -> PathBuf {
    if parent.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        parent.to_owned()
    }
}

fn affects(event: &Event, watched: &WatchPaths) -> bool {
    if !is_change(event.kind) {
        return false;
    }
    match watched {
        WatchPaths::Files(files) => event.paths.iter().any(|path| {
            files
                .iter()
                .any(|file| file.file_name() == path.file_name() || is_swap(path))
        }),
        WatchPaths::Folder(folder) => event.paths.iter().any(|path| path.starts_with(folder)),
        WatchPaths::Nothing => false,
    }
}

/// Kubernetes replaces this link when it updates a mounted secret.
fn is_swap(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "..data")
}

/// Whether an event is a change. Reads are events too, and must not cause further reads.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests;
