//! Replays the fuzz corpora (`tests/fuzz/corpus/TARGET/*`): real-shaped requests, replies and
//! files, broken ones, and past findings of the fuzzers. This needs no fuzzer.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects"
)]

#[path = "fuzz/laws.rs"]
mod laws;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs every input and reports the names of those that break a law.
fn replay(target: &str, law: fn(&[u8])) {
    let folder = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(folder).expect("the corpus exists");
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 20, "{target} has {} inputs", inputs.len());
    inputs.retain(|input| {
        catch_unwind(AssertUnwindSafe(|| {
            law(&std::fs::read(input).expect("readable"));
        }))
        .is_err()
    });
    assert!(
        inputs.is_empty(),
        "these break a law of {target}: {inputs:#?}"
    );
}

#[test]
fn every_request_in_the_corpus_keeps_the_laws() {
    replay("read", laws::read);
}

#[test]
fn every_reply_in_the_corpus_keeps_the_laws() {
    replay("classify", laws::classify);
}

#[test]
fn every_file_in_the_corpus_keeps_the_laws() {
    replay("config", laws::config);
}
