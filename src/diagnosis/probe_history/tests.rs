//! Which rejections are probed, and how long the evidence is kept.

use super::*;
use crate::diagnosis::Implication;
use crate::sms::Certainty;
use Cause::{AccountSuspended, BalanceEmpty, CredentialRejected, IpNotAllowed};

fn candidates_of(all: &[Cause]) -> CauseCandidates {
    CauseCandidates::new(all[0], Certainty::Certain, &all[1..])
}

#[test]
fn candidates_are_probed_once_per_version_until_a_message_is_accepted() {
    let mut history = ProbeHistory::default();
    let start = Moment::default();
    let at = |seconds| start.saturating_add(Duration::from_secs(seconds));
    let candidates = candidates_of(&[CredentialRejected, IpNotAllowed]);
    let other = candidates_of(&[BalanceEmpty, AccountSuspended]);
    assert!(history.try_begin(Version(1), &candidates, None, at(0)));
    assert!(
        !history.try_begin(Version(1), &candidates, None, at(1_000)),
        "the same candidates again"
    );
    assert!(
        history.try_begin(Version(1), &other, None, at(1_001)),
        "other candidates"
    );
    assert!(
        history.try_begin(Version(2), &candidates, None, at(1_002)),
        "another version"
    );
    assert!(
        !history.try_begin(Version(2), &candidates, Some(at(900)), at(1_100)),
        "a message accepted before the round does not count"
    );
    assert!(
        !history.try_begin(Version(2), &candidates, Some(at(1_010)), at(1_020)),
        "not twice within 30 seconds"
    );
    assert!(history.try_begin(Version(2), &candidates, Some(at(1_010)), at(1_032)));
    assert!(
        !history.try_begin(Version(2), &candidates_of(&[IpNotAllowed]), None, at(1_040)),
        "a part of the candidates"
    );
    history.clear();
    assert!(
        history.try_begin(Version(2), &candidates, None, at(1_033)),
        "after the history was cleared"
    );
}

#[test]
fn rounds_per_hour_are_limited() {
    let mut history = ProbeHistory::default();
    let candidates = candidates_of(&[CredentialRejected, IpNotAllowed]);
    let now = Moment::default();
    let admitted = (1..=100)
        .filter(|version| history.try_begin(Version(*version), &candidates, None, now))
        .count();
    assert_eq!(admitted, MAX_PROBES_PER_HOUR);
    assert!(history.try_begin(Version(101), &candidates, None, now.saturating_add(HOUR)));
}

#[test]
fn evidence_is_kept_until_a_message_is_accepted() {
    let mut history = ProbeHistory::default();
    let start = Moment::default();
    let at = |seconds| start.saturating_add(Duration::from_secs(seconds));
    let candidates = candidates_of(&[CredentialRejected, AccountSuspended]);
    let evidence = || {
        vec![Evidence {
            source: crate::diagnosis::EvidenceSource::AccountProbe,
            implication: Implication::Indicates(vec![AccountSuspended], Certainty::Certain),
        }]
    };
    history.record(Version(1), &candidates, evidence());
    assert_eq!(
        history.known_evidence(Version(1), &candidates, None),
        [],
        "no round was begun"
    );
    assert!(history.try_begin(Version(1), &candidates, Some(at(1)), at(2)));
    history.record(Version(1), &candidates, evidence());
    assert_eq!(
        history.known_evidence(Version(1), &candidates, Some(at(1))),
        evidence()
    );
    assert_eq!(
        history.known_evidence(Version(2), &candidates, Some(at(1))),
        []
    );
    assert_eq!(
        history.known_evidence(Version(1), &candidates, Some(at(3))),
        []
    );
    history.clear();
    assert_eq!(history.known_evidence(Version(1), &candidates, None), []);
}
