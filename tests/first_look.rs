//! How many replies are classified right that the descriptions had not seen. `tests/replies/held-back.toml` has them
//! with what each can mean. A reply is right if it is accepted where it must be and nowhere else, and its cause is one
//! of those that can be defended. Every one is right today, or has a note; the share at first look is printed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a corpus that cannot be read fails the test, and the share is for people"
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use sms_sidecar::dialect::{Catalog, Reply};
use sms_sidecar::sms::{AttemptKind, Cause};

/// The least share that must have been right at first look, in percent.
const LEAST_SHARE: usize = 95;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldBack {
    reply: Vec<HeldBackReply>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeldBackReply {
    dialect: String,
    status: u16,
    body: String,
    /// `accepted`, or causes.
    means: Vec<String>,
    #[serde(default = "right")]
    first_look: bool,
    /// Why it is still not understood.
    note: Option<String>,
}

const fn right() -> bool {
    true
}

impl HeldBackReply {
    /// What it is taken for, and whether that can be defended.
    fn judge(&self, catalog: &Catalog) -> (String, bool) {
        let dialect = catalog.iter().find(|dialect| dialect.name == self.dialect);
        let reply = Reply {
            status: StatusCode::from_u16(self.status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from(self.body.clone()),
        };
        let found = dialect.unwrap().classify(AttemptKind::Send, &reply, "r");
        let cause = found.outcome.cause();
        let word = cause.map_or_else(|| "accepted".to_owned(), |cause| cause.to_string());
        let is_right = self.means.contains(&word);
        (word, is_right)
    }
}

fn held_back() -> Vec<HeldBackReply> {
    let corpus: HeldBack = toml::from_str(include_str!("replies/held-back.toml")).unwrap();
    corpus.reply
}

#[test]
fn replies_that_nobody_had_shown_are_understood() {
    let catalog = Catalog::built_in();
    let mut wrong = Vec::new();
    let mut shares: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let replies = held_back();
    for reply in &replies {
        let (word, is_right) = reply.judge(&catalog);
        if is_right == reply.note.is_some() {
            wrong.push(format!(
                "{} {} {}: {word}",
                reply.dialect, reply.status, reply.body
            ));
        }
        let share = shares.entry(reply.dialect.clone()).or_default();
        share.0 += usize::from(reply.first_look);
        share.1 += 1;
    }
    for (dialect, (right, all)) in &shares {
        println!("{dialect}: {right} of {all} at first look");
    }
    assert_eq!(wrong, [""; 0]);
    let right = replies.iter().filter(|reply| reply.first_look).count();
    println!("{right} of {} at first look", replies.len());
    assert!(right * 100 >= LEAST_SHARE * replies.len());
}

#[test]
fn what_a_held_back_reply_means_is_a_cause() {
    for word in held_back().iter().flat_map(|reply| &reply.means) {
        assert!(
            word == "accepted" || word.parse::<Cause>().is_ok(),
            "{word}"
        );
    }
}
