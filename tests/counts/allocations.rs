//! Allocations and bytes of the decisions and of a whole request. The same tests are what callgrind watches: see
//! [`counted_round`].

use std::alloc::System;
use std::sync::{Mutex, MutexGuard, PoisonError};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::bands::{Figure, hold};
use crate::judgement::Fixture;
use crate::load::{WAYS, start_service};
use crate::sidecar::Config;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is counted in one go.
pub(crate) const MESSAGES: u32 = 8;
/// How often; the least counts, because the sidecar also does something each second and when a table grows.
pub(crate) const ROUNDS: usize = 3;
/// Messages before anything is counted: connections, caches and buffers exist after them.
const WARM_UP: usize = 40;
/// Messages of each way before it is counted.
const FIRST: usize = 4;

/// Held by a test while it counts: the allocator is the process's, and so are the cores of the machine.
static COUNTING: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One round. Callgrind counts what all threads do from its beginning to the next function; it finds both by name.
#[inline(never)]
fn counted_round(send: &mut dyn FnMut()) {
    for _ in 0..MESSAGES {
        send();
    }
    round_has_ended();
}

#[inline(never)]
fn round_has_ended() {
    std::hint::black_box(());
}

/// The allocations and bytes of one message.
fn count(of: &str, mut send: impl FnMut()) -> [Figure; 2] {
    let rounds = [(); ROUNDS].map(|()| {
        let region = Region::new(ALLOCATOR);
        counted_round(&mut send);
        let change = region.change();
        let allocations = change.allocations + change.reallocations;
        [allocations, change.bytes_allocated]
    });
    let least = |which: usize| {
        let counts = rounds.iter().filter_map(|round| round.get(which));
        let least = counts.min().copied().unwrap_or_default();
        f64::from(u32::try_from(least).unwrap()) / f64::from(MESSAGES)
    };
    [("allocations", 0), ("bytes", 1)].map(|(kind, which)| Figure {
        kind,
        of: of.to_owned(),
        value: least(which),
    })
}

#[test]
fn the_allocations_of_the_decisions_are_within_their_bands() {
    let _alone = alone();
    let fixture = Fixture::new();
    for send in [Fixture::native, Fixture::translated, Fixture::failover] {
        send(&fixture);
    }
    let figures = [
        count("judgement, native", || fixture.native()),
        count("judgement, translated", || fixture.translated()),
        count("judgement, failover", || fixture.failover()),
    ];
    hold(figures.as_flattened());
}

#[test]
fn the_allocations_of_a_whole_request_are_within_their_bands() {
    let _alone = alone();
    let config = Config::write(start_service());
    config.serve_here();
    let mut figures = Vec::new();
    let mut backend = config.backend(WAYS[0].1, || ());
    (0..WARM_UP).for_each(|_| backend.send());
    for (way, recipients) in WAYS {
        let mut backend = config.backend(recipients, || ());
        (0..FIRST).for_each(|_| backend.send());
        figures.extend(count(&format!("request, {way}"), || backend.send()));
    }
    hold(&figures);
}
