//! Looking for newer credentials: by the clock, at the cadence that each reference is due, and at
//! once when a watched file changes. Watching is a help, not a promise (network shares, folders
//! made later); the clock is the promise.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::vault::keeper::Keeper;
use crate::vault::settings::Reference;
use crate::vault::source::{Due, Source, Watched};

/// How often we ask what is due; a cadence may shorten at any time, and folders may appear.
const TICK: Duration = Duration::from_secs(1);
/// Files change in bursts: a rename, a mode, an owner.
const BURST: Duration = Duration::from_millis(30);

impl Keeper {
    /// Looks for newer credentials until `shutdown` is done. `cadence` says how old a look at an entry may get.
    pub async fn run(self: Arc<Self>, cadence: impl Fn(&Reference) -> Duration + Send, shutdown: impl Future<Output = ()> + Send) {
        let touched = Touched::default();
        tokio::select! {
            () = self.look_on(&touched, cadence, shutdown) => {}
            () = self.tend(&touched) => {}
        }
    }

    /// Keeps logins and leases alive, each vault for itself: a slow one must not cost another its token. What can be
    /// kept alive no longer is read anew at once, while it still works.
    async fn tend(&self, touched: &Touched) {
        join_all(self.sources().iter().map(|(vault, source)| self.tend_one(vault, source.as_ref(), touched))).await;
        // There is no vault at all.
        std::future::pending::<()>().await;
    }

    async fn tend_one(&self, vault: &str, source: &dyn Source, touched: &Touched) {
        loop {
            tokio::time::sleep(TICK).await;
            source.tend().await;
            let ends = |reference: &Reference| source.due(&reference.path) == Due::Now && self.failure(reference).is_none();
            if self.asked().iter().any(|reference| reference.vault == vault && ends(reference)) {
                touched.signal.notify_one();
            }
        }
    }

    async fn look_on(&self, touched: &Touched, cadence: impl Fn(&Reference) -> Duration + Send, shutdown: impl Future<Output = ()> + Send) {
        let mut watch = Watch::over(self, touched);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = touched.wait() => {}
                _ = tick.tick() => watch.extend(),
            }
            let mut due = due(self, &cadence);
            due.extend(touched.take(self));
            tokio::select! {
                () = &mut shutdown => return,
                _ = join_all(due.iter().map(|reference| self.look(reference))) => {}
            }
        }
    }
}

fn due(keeper: &Keeper, cadence: &impl Fn(&Reference) -> Duration) -> BTreeSet<Reference> {
    keeper.asked().into_iter().filter(|reference| keeper.is_due(reference, cadence(reference))).collect()
}

/// Which vaults' files have changed since we last looked.
#[derive(Clone, Debug, Default)]
struct Touched {
    vaults: Arc<Mutex<BTreeSet<String>>>,
    signal: Arc<Notify>,
}

impl Touched {
    fn add(&self, vault: &str) {
        self.vaults.lock().unwrap_or_else(PoisonError::into_inner).insert(vault.to_owned());
        self.signal.notify_one();
    }

    async fn wait(&self) {
        self.signal.notified().await;
        tokio::time::sleep(BURST).await;
    }

    fn take(&self, keeper: &Keeper) -> BTreeSet<Reference> {
        let vaults = std::mem::take(&mut *self.vaults.lock().unwrap_or_else(PoisonError::into_inner));
        keeper.asked().into_iter().filter(|reference| vaults.contains(&reference.vault)).collect()
    }
}

/// The folders under watch; those that are missing are tried again.
struct Watch {
    watcher: Option<RecommendedWatcher>,
    wanted: BTreeMap<PathBuf, RecursiveMode>,
}

impl Watch {
    fn over(keeper: &Keeper, touched: &Touched) -> Self {
        let watched: Vec<(String, Watched)> = keeper.sources().iter().map(|(name, source)| (name.clone(), source.watched())).collect();
        let wanted = watched.iter().flat_map(|(_, watched)| folders(watched)).collect();
        let touched = touched.clone();
        let told = move |event: notify::Result<Event>| {
            // An error (events were lost) concerns everybody.
            let concerned = watched.iter().filter(|(_, watched)| event.as_ref().map_or(true, |event| concerns(event, watched)));
            concerned.for_each(|(vault, _)| touched.add(vault));
        };
        let mut watch = Self { watcher: notify::recommended_watcher(told).ok(), wanted };
        watch.extend();
        watch
    }

    /// Watches what could not be watched before.
    fn extend(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        self.wanted.retain(|folder, mode| !folder.is_dir() || watcher.watch(folder, *mode).is_err());
    }
}

/// Folders, not files: a file that is replaced by renaming takes its watch with it.
fn folders(watched: &Watched) -> Vec<(PathBuf, RecursiveMode)> {
    match watched {
        Watched::Files(files) => files.iter().flat_map(|file| homes(file)).map(|folder| (folder, RecursiveMode::NonRecursive)).collect(),
        Watched::Folder(folder) => vec![(folder.clone(), RecursiveMode::Recursive)],
        Watched::Nothing => Vec::new(),
    }
}

/// The folder a file is named in, and the one it is in past symbolic links.
fn homes(file: &Path) -> Vec<PathBuf> {
    let real = file.canonicalize().ok();
    [Some(file.to_owned()), real].into_iter().flatten().filter_map(|file| file.parent().map(home)).collect()
}

fn home(parent: &Path) -> PathBuf {
    if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() }
}

fn concerns(event: &Event, watched: &Watched) -> bool {
    if !is_change(event.kind) {
        return false;
    }
    match watched {
        Watched::Files(files) => {
            event.paths.iter().any(|path| files.iter().any(|file| file.file_name() == path.file_name() || is_swap(path)))
        }
        Watched::Folder(folder) => event.paths.iter().any(|path| path.starts_with(folder)),
        Watched::Nothing => false,
    }
}

/// Kubernetes turns this link when it swaps a mounted secret.
fn is_swap(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "..data")
}

/// Our own reads are events too, and must not lead to reads.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests;
