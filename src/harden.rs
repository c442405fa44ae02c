//! What the process does about its own memory and its own death: no core dump, no
//! attaching by its own user, and a panic that tells its place but not its payload,
//! because the payload may quote what was being read.

use std::panic::{self, PanicHookInfo};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// What the kernel would not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HardenError {
    /// The limit on core dumps.
    #[error("core dumps could not be forbidden ({0}); set LimitCORE=0 in the service's unit")]
    CoreLimit(rustix::io::Errno),
    /// The dumpable flag.
    #[error(
        "the process could not be made undumpable ({0}); another process of this user could read its memory"
    )]
    Dumpable(rustix::io::Errno),
}

/// Where a panic happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanicLocation {
    /// `src/net/door.rs:12:5`.
    pub location: String,
    /// The thread's name.
    pub thread: String,
}

/// Forbids core dumps and makes the process undumpable. Children that are started later inherit the limit only.
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

/// From now on a panic is told to `tell`, by place only.
pub fn set_panic_hook(tell: impl Fn(&PanicLocation) + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |info| tell(&panic_location(info))));
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
    fn no_core_and_not_dumpable() {
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
    fn a_panic_tells_its_place_and_not_its_payload() {
        let told: Arc<Mutex<Vec<PanicLocation>>> = Arc::default();
        let copy = Arc::clone(&told);
        let before = panic::take_hook();
        set_panic_hook(move |place| copy.lock().unwrap().push(place.clone()));
        let thread = std::thread::Builder::new()
            .name("canary-thread".into())
            .spawn(|| panic!("CANARY in the payload"))
            .unwrap();
        assert!(thread.join().is_err());
        panic::set_hook(before);
        let told = told.lock().unwrap();
        let place = told
            .iter()
            .find(|place| place.thread == "canary-thread")
            .unwrap();
        assert!(place.location.starts_with("src/harden.rs:"), "{place:?}");
        assert!(!format!("{told:?}").contains("CANARY"));
    }
}
