//! The backend's requests that the sidecar itself denied, since the config was loaded, and how they stand against the
//! messages that were accepted: a denied backend sends no code, whatever the providers do.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use crate::clock::Moment;
use crate::diagnosis::{Denial, DenialReason};
use crate::sms::Entrypoint;

/// How many results are kept.
const MAX_RESULTS: usize = 5;
/// What a denial is about does not repair itself, so it counts for longer than a failure of a service.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Beside accepted messages, fewer denials can be chance.
const MIN_DENIALS: usize = 3;

/// Denied requests of the backend.
#[derive(Clone, Debug, Default)]
pub(crate) struct DenialNotes {
    by_reason: BTreeMap<DenialReason, DenialNote>,
    /// The latest denials and accepted messages, oldest first.
    recent: VecDeque<(Moment, bool)>,
}

/// The denials for one reason.
#[derive(Clone, Debug)]
pub(crate) struct DenialNote {
    pub(crate) count: u64,
    pub(crate) entrypoint: Entrypoint,
    /// The last one, and when.
    pub(crate) denial: Denial,
    pub(crate) last_at: SystemTime,
    last: Moment,
}

/// How many of the latest requests were denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeniedShare {
    pub(crate) denied: usize,
    pub(crate) requests: usize,
}

impl DenialNotes {
    /// Adds a denial.
    pub(super) fn record_denial(
        &mut self,
        denial: &Denial,
        entrypoint: Entrypoint,
        last_at: SystemTime,
        last: Moment,
    ) {
        let before = self.by_reason.get(&denial.reason);
        let note = DenialNote {
            count: before.map_or(0, |note| note.count).saturating_add(1),
            entrypoint,
            denial: denial.clone(),
            last_at,
            last,
        };
        self.by_reason.insert(denial.reason, note);
        self.push(false, last);
    }

    /// Adds an accepted message.
    pub(super) fn record_accepted(&mut self, now: Moment) {
        self.push(true, now);
    }

    /// The denials of the last hour, the newest first.
    pub(crate) fn notes(&self, now: Moment) -> Vec<&DenialNote> {
        let recent = |note: &&DenialNote| now.since(note.last) < MAX_AGE;
        let mut notes: Vec<&DenialNote> = self.by_reason.values().filter(recent).collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.last));
        notes
    }

    /// The share of denials, if no message was accepted beside them or most requests are denied.
    pub(crate) fn outage(&self, now: Moment) -> Option<DeniedShare> {
        let recent = self
            .recent
            .iter()
            .filter(|(at, _)| now.since(*at) < MAX_AGE);
        let requests = recent.clone().count();
        let denied = recent.filter(|(_, accepted)| !accepted).count();
        let is_outage =
            denied > 0 && (denied == requests || denied >= MIN_DENIALS && denied * 2 > requests);
        is_outage.then_some(DeniedShare { denied, requests })
    }

    fn push(&mut self, accepted: bool, now: Moment) {
        self.recent.push_back((now, accepted));
        if self.recent.len() > MAX_RESULTS {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x` is a denial, `.` an accepted message; one a second.
    fn notes(signs: &str) -> DenialNotes {
        let mut notes = DenialNotes::default();
        for (second, sign) in signs.chars().enumerate() {
            let now = Moment(Duration::from_secs(second as u64));
            if sign == '.' {
                notes.record_accepted(now);
            } else {
                let denial = DenialReason::CaMissing.about("api.one.test");
                notes.record_denial(&denial, Entrypoint::Connect, SystemTime::UNIX_EPOCH, now);
            }
        }
        notes
    }

    #[test]
    fn denials_without_an_accepted_message_or_most_of_them_are_an_outage() {
        for (signs, outage) in [
            ("", None),
            (".", None),
            ("x", Some((1, 1))),
            ("xxxxxxx", Some((5, 5))),
            (".x", None),
            ("x.", None),
            ("..xxx", Some((3, 5))),
            ("xxx..", Some((3, 5))),
            ("xxx...", None),
        ] {
            let found = notes(signs).outage(Moment(Duration::from_secs(9)));
            let found = found.map(|share| (share.denied, share.requests));
            assert_eq!(found, outage, "{signs}");
        }
    }

    #[test]
    fn after_an_hour_a_denial_shows_nothing() {
        let notes = notes("xx");
        let at = |seconds| Moment(Duration::from_secs(seconds));
        assert_eq!(notes.notes(at(3_600)).len(), 1);
        assert_eq!(notes.notes(at(3_600))[0].count, 2);
        assert!(notes.outage(at(3_600)).is_some());
        assert!(notes.notes(at(3_601)).is_empty() && notes.outage(at(3_601)).is_none());
    }
}
