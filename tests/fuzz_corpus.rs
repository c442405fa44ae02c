//! Replays the fuzz corpora (`tests/fuzz/corpus/TARGET/*`): real-shaped requests, replies and
//! files, broken ones, and whatever fuzzing found once. No fuzzer is needed for this.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects"
)]

#[path = "fuzz/laws.rs"]
mod laws;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Every input, and the names of those that break a law.
fn replay(target: &str, law: fn(&[u8])) {
    let folder = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(folder).expect("the corpus is there");
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
fn no_request_breaks_reading() {
    replay("read", laws::read);
}

#[test]
fn no_reply_breaks_judgement() {
    replay("classify", laws::classify);
}

#[test]
fn no_text_breaks_the_config() {
    replay("config", laws::config);
}
