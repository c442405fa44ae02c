//! The instructions of the same messages whose allocations are counted, by callgrind: it runs those tests, and writes
//! what each round has cost.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::allocations::{MESSAGES, ROUNDS, alone};
use crate::bands::{Figure, hold};
use crate::load::WAYS;

/// The instructions of one message in each round of a test, in their order.
fn rounds_of(test: &str) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--zero-before=*counted_round*",
            "--dump-before=*round_has_ended*",
        ])
        .arg(format!(
            "--callgrind-out-file={}/out",
            folder.path().display()
        ))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env_remove("UPDATE_GOLDENS")
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "valgrind cannot be started ({error}): run tests/setup, or apt-get install valgrind"
            )
        });
    let rounds: Vec<f64> = (1..)
        .map_while(|number| instructions(&folder.path().join(format!("out.{number}"))))
        .collect();
    assert!(
        !rounds.is_empty(),
        "callgrind has counted nothing in {test}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    rounds
}

/// What a dump of callgrind counted, for one message.
fn instructions(dump: &Path) -> Option<f64> {
    let text = fs::read_to_string(dump).ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?;
    Some(total.trim().parse::<f64>().unwrap() / f64::from(MESSAGES))
}

/// Runs a test under callgrind and holds its instructions to their bands.
fn hold_instructions(test: &str, what: &str) {
    let _alone = alone();
    let rounds = rounds_of(test);
    assert_eq!(rounds.len(), ROUNDS * WAYS.len(), "{test}: {rounds:?}");
    let figures: Vec<Figure> = WAYS
        .iter()
        .zip(rounds.chunks(ROUNDS))
        .map(|((way, _), rounds)| Figure {
            kind: "instructions",
            of: format!("{what}, {way}"),
            value: rounds.iter().copied().fold(f64::INFINITY, f64::min).round(),
        })
        .collect();
    hold(&figures);
}

#[test]
fn the_instructions_of_the_decisions_are_within_their_bands() {
    hold_instructions(
        "allocations::the_allocations_of_the_decisions_are_within_their_bands",
        "judgement",
    );
}

#[test]
fn the_instructions_of_a_whole_request_are_within_their_bands() {
    hold_instructions(
        "allocations::the_allocations_of_a_whole_request_are_within_their_bands",
        "request",
    );
}
