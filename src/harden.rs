//! Protects the process's memory: no core dump, no attaching by other processes of its user, and a
//! panic hook that reports the location but not the payload, because the payload may quote a
//! secret. The command line calls both before any command but `wrap` runs.

use std::panic::{self, PanicHookInfo};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// A protection that the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HardenError {
    /// The limit of core dumps.
    #[error("cannot forbid core dumps ({0}); set LimitCORE=0 in the service's unit")]
    CoreLimit(rustix::io::Errno),
    /// The dumpable flag.
    #[error(
        "cannot make the process undumpable ({0}); another process of this user could read its memory"
    )]
    Dumpable(rustix::io::Errno),
}

/// Where a panic happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanicLocation {
    /// `src/proxy/mod.rs:12:5`.
    pub location: String,
    /// The thread's name.
    pub thread: String,
}

/// Forbids core dumps and makes the process undumpable. Its children inherit the limit of core
/// dumps only.
pub fn protect_memory() -> Result<(), HardenError> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .map_err(HardenError::CoreLimit)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(HardenError::Dumpable)
}

/// Calls `report` at each panic from now on, with its location only.
pub fn set_panic_hook(report: impl Fn(&PanicLocation) + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |info| report(&panic_location(info))));
}

fn panic_location(info: &PanicHookInfo<'_>) -> PanicLocation {
    let location = info
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current()
        .name()
        .unwrap_or("unnamed")
        .to_owned();
    PanicLocation { location, thread }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn protecting_memory_forbids_core_dumps_and_attaching() {
        protect_memory().unwrap();
        assert_eq!(
            getrlimit(Resource::Core),
            Rlimit {
                current: Some(0),
                maximum: Some(0)
            }
        );
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn a_panic_reports_its_location_without_the_payload() {
        let reported: Arc<Mutex<Vec<PanicLocation>>> = Arc::default();
        let copy = Arc::clone(&reported);
        let before = panic::take_hook();
        set_panic_hook(move |location| copy.lock().unwrap().push(location.clone()));
        let thread = std::thread::Builder::new()
            .name("canary-thread".into())
            .spawn(|| panic!("CANARY in the payload"))
            .unwrap();
        assert!(thread.join().is_err());
        panic::set_hook(before);
        let reported = reported.lock().unwrap();
        let panic = reported
            .iter()
            .find(|panic| panic.thread == "canary-thread")
            .unwrap();
        assert!(panic.location.starts_with("src/harden.rs:"), "{panic:?}");
        assert!(!format!("{reported:?}").contains("CANARY"));
    }
}
