//! The cost of the decisions: time and allocations of one message through the pure functions
//! (recognise, read, decide, patch or write, classify, answer), without sockets. Run with
//! `cargo bench --bench judgement`; descriptions are compiled before, as in the sidecar.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure ends the benchmark"
)]

#[path = "../support/judgement.rs"]
mod judgement;

use std::alloc::System;
use std::hint::black_box;
use std::time::Duration;

use judgement::{Fixture, healthy, now, plan};
use sms_sidecar::clock::{Clock, SystemClock};
use sms_sidecar::policy::next;
use sms_sidecar::secret::redact::Redactor;
use sms_sidecar::sms::AttemptKind;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 5;
const MESSAGES: u32 = 10_000;

fn main() {
    let fixture = Fixture::new();
    let request = &fixture.request;

    println!("one message, median of {ROUNDS} rounds of {MESSAGES}");
    println!(
        "{:<58} {:>8} {:>12} {:>10}",
        "", "µs", "allocations", "bytes"
    );
    let clock = SystemClock::start();
    let row = |name: &str, run: &dyn Fn()| show(name, &measure(&clock, run));

    row("native: Playmobile's API, Playmobile's account", &|| {
        fixture.native();
    });
    row("translated: Playmobile's API, Twilio's account", &|| {
        fixture.translated();
    });
    row(
        "failover: Playmobile rejects it, Twilio accepts it",
        &|| fixture.failover(),
    );

    let seen = fixture.seen();
    let message = seen
        .dialect
        .read(&seen, request, "abcdefghij0123456789")
        .unwrap()
        .message
        .unwrap();
    let twilio = fixture.dialect("twilio");
    row("  recognise", &|| drop(black_box(fixture.seen())));
    row("  read", &|| {
        drop(black_box(seen.dialect.read(
            &seen,
            request,
            "abcdefghij0123456789",
        )));
    });
    row("  decide", &|| {
        black_box(next(&plan(2), &[], |_| healthy(), Duration::ZERO, 0.5));
    });
    row("  patch", &|| {
        drop(black_box(seen.dialect.patch(
            &seen,
            request,
            &fixture.account("playmobile"),
            now(),
        )));
    });
    row("  write", &|| {
        drop(black_box(twilio.write(
            &message,
            &fixture.account("twilio"),
            now(),
        )));
    });
    row("  classify", &|| {
        drop(black_box(twilio.classify(
            AttemptKind::Send,
            &fixture.created,
            &message.reference,
        )));
    });
    row(
        "  classify a rejection, its words without the text",
        &|| {
            drop(black_box(seen.dialect.classify_for(
                AttemptKind::Send,
                &fixture.suspended,
                Some(&message),
                None,
            )));
        },
    );
    show_redaction();
}

/// What it costs to take the secrets out of replies of one mebibyte.
fn show_redaction() {
    const BYTES: usize = 1 << 20;
    let redactor = Redactor::new(["Zq7Rw2Xk9LmT4vBn", "0123456789abcdef0123456789abcdef"]);
    let clock = SystemClock::start();
    println!("\na reply of 1 MiB without its secrets, median of {ROUNDS}");
    for (name, piece) in [
        (
            "JSON",
            r#"{"id":"1a2b3c","status":"delivered","price":"0.05"},"#,
        ),
        (
            "HTML",
            "<p class=\"a\">Your balance is 5&nbsp;000 sum, 20% off</p>\n",
        ),
        (
            "base64",
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        ),
        ("percent signs", "%D0%BF%D0%B0%20"),
        ("beginnings of comments", "<!-- >"),
        ("beginnings of secrets and tags", "Zq7R<a "),
        ("its secrets", "Zq7Rw2Xk9LmT4vBn "),
    ] {
        let text = piece.repeat(BYTES / piece.len());
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let text = text.clone();
                let began = clock.now();
                black_box(redactor.redact_text(text));
                clock.now().since(began).as_secs_f64() * 1e3
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        let median = rounds.get(ROUNDS / 2).copied().unwrap_or_default();
        println!("{name:<58} {median:>8.1} ms");
    }
}

/// Time, allocations and bytes of one `run`.
struct Cost {
    micros: f64,
    allocations: f64,
    bytes: f64,
}

fn measure(clock: &SystemClock, run: &dyn Fn()) -> Cost {
    let each = f64::from(MESSAGES);
    run();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = clock.now();
            (0..MESSAGES).for_each(|_| run());
            clock.now().since(began).as_secs_f64() * 1e6 / each
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let region = Region::new(MEMORY);
    (0..MESSAGES).for_each(|_| run());
    let change = region.change();
    let per = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / each;
    Cost {
        micros: rounds.get(ROUNDS / 2).copied().unwrap_or_default(),
        allocations: per(change.allocations + change.reallocations),
        bytes: per(change.bytes_allocated),
    }
}

fn show(name: &str, cost: &Cost) {
    println!(
        "{name:<58} {:>8.2} {:>12.1} {:>10.0}",
        cost.micros, cost.allocations, cost.bytes
    );
}
