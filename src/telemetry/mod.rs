//! What ops see: events. Something happens, one struct says so, and its `emit` writes
//! the log line and moves the metrics. Nobody else can touch a counter, so a line and
//! its number never disagree. Label values come from enums and the config only: a name
//! that is not in the [`Shape`] is counted under `other`, never as a series of its own.

mod ages;
mod call;
mod event;
mod families;
mod known;
mod life;
pub mod log;
mod memory;
mod passed;
pub mod status;
mod supply;
mod trace;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use prometheus::Registry;

use crate::clock::Clock;
use crate::sms::ProviderId;

pub use call::{AttemptLine, CallEnded};
pub use event::{AttemptEnded, Failover, LastHeard, PossibleDuplicate, RefusalFollowed, Repeat, RouteFirstChoice, StandingChanged};
pub use families::STANDINGS;
pub use life::{CaExpiry, Panicked, Reloaded, Started, Stopping};
pub use memory::{Layout, ProviderLayout, RouteLayout};
pub use passed::{TunnelEnded, TurnedAway};
pub use supply::{Balance, CredentialSeen, ReadResult, TokenExpiry, VaultRead};
pub use trace::{Loss, Parent, SpanId, Spans, SpansExported, SpansLost, TraceId};

use families::Families;
use known::Known;
use memory::Memory;
use trace::Tracer;

/// What the config names, and so which series there are.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// Each provider and its dialect.
    pub providers: Vec<(ProviderId, String)>,
    /// Names of vaults.
    pub vaults: Vec<String>,
    /// Every loaded dialect, and where it came from (`built-in`, `folder` …).
    pub dialects: Vec<(String, String)>,
    /// Which build this is.
    pub build: Build,
    /// Its routes, and what else of it ops look at.
    pub layout: Layout,
}

/// Which build this is.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// The release's number.
    pub version: String,
    /// The commit it was made from.
    pub commit: String,
}

/// A vault and a path in it.
type Entry = (String, String);

type Changed = Arc<dyn Fn() -> Option<SystemTime> + Send + Sync>;

/// All metrics, what the status shows, and the memory that keeps log lines from repeating themselves.
pub struct Telemetry {
    families: Families,
    memory: Memory,
    tracer: Tracer,
    known: Mutex<Arc<Known>>,
    /// Vault entries whose last read failed, and how: a failure is logged when it begins and when it ends.
    failing: Mutex<BTreeMap<Entry, ReadResult>>,
    /// Asks the disk whether the config there is another one than that in force, and since when.
    changed: Mutex<Option<Changed>>,
    clock: Arc<dyn Clock>,
}

impl Telemetry {
    /// Registers every family on `registry` and bears its series at zero: a counter born at 1 has no increase.
    pub fn new(registry: &Registry, shape: &Shape, clock: Arc<dyn Clock>) -> Result<Self, prometheus::Error> {
        let families = Families::register(registry, Arc::clone(&clock))?;
        families.bear(shape);
        let memory = Memory::new(shape, Arc::clone(&clock));
        let tracer = Tracer::new(Arc::clone(&clock));
        let known = Mutex::new(Arc::new(Known::new(shape)));
        Ok(Self { families, memory, tracer, known, failing: Mutex::default(), changed: Mutex::default(), clock })
    }

    /// After a reload: new names get their series, those that are gone lose theirs.
    pub fn reshape(&self, shape: &Shape) {
        let known = Known::new(shape);
        self.families.forget(&known);
        self.families.bear(shape);
        self.memory.reshape(shape);
        // An entry that is no longer named would count as failing for ever; the others are read again at once.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// From now on this share of the calls is traced where the backend does not say itself; none: no call at all.
    pub fn trace(&self, share: Option<f64>) {
        if share.is_some() {
            self.families.bear_spans();
        }
        self.tracer.share(share);
    }

    /// The spans that are to be exported, for the one who does it: later calls get none.
    pub fn spans(&self) -> Option<Spans> {
        self.tracer.far_end()
    }

    /// From now on the status says whether the config was changed on the disk since it was loaded; `changed` tells
    /// when, and is asked each time.
    pub fn follow_config(&self, changed: impl Fn() -> Option<SystemTime> + Send + Sync + 'static) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(changed));
    }

    /// What ops look at, at this moment.
    pub fn status(&self) -> status::Status {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut facts, now, wall) = self.memory.facts();
        facts.changed = changed.and_then(|changed| changed());
        status::tell(&facts, now, wall)
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}
