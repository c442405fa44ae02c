//! Which ambiguous rejections of a provider were already probed, so that a reply that stays
//! ambiguous does not cause a probe each time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::diagnosis::{CauseCandidates, Evidence};
use crate::secret::Version;
use crate::sms::Cause;

/// The time between two probe rounds about the same rejection, if a message was accepted between.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// Limit of probe rounds at one provider within an [`HOUR`].
const MAX_PROBES_PER_HOUR: usize = 20;
const HOUR: Duration = Duration::from_hours(1);

/// The probe rounds of one provider. The same candidates for the same credential version, or a part
/// of them, are probed once, and again only after a message was accepted; at most
/// [`MAX_PROBES_PER_HOUR`] rounds in all.
#[derive(Clone, Debug, Default)]
pub struct ProbeHistory(VecDeque<ProbeRecord>);

/// One probe round.
#[derive(Clone, Debug)]
struct ProbeRecord {
    at: Moment,
    version: Version,
    causes: Vec<Cause>,
    /// None while the round runs.
    evidence: Option<Vec<Evidence>>,
}

impl ProbeHistory {
    /// Whether to probe these candidates now; records the round if so.
    pub fn try_begin(
        &mut self,
        version: Version,
        candidates: &CauseCandidates,
        accepted: Option<Moment>,
        now: Moment,
    ) -> bool {
        let all = candidates.causes();
        let last = self.last_about(version, &all).map(|round| round.at);
        let is_outdated = |at: Moment| {
            accepted.is_some_and(|accepted| accepted > at) && now.since(at) >= MIN_PROBE_INTERVAL
        };
        let recent = self
            .0
            .iter()
            .filter(|round| now.since(round.at) < HOUR)
            .count();
        if recent >= MAX_PROBES_PER_HOUR || !last.is_none_or(is_outdated) {
            return false;
        }
        self.0.push_back(ProbeRecord {
            at: now,
            version,
            causes: all,
            evidence: None,
        });
        if self.0.len() > MAX_PROBES_PER_HOUR {
            self.0.pop_front();
        }
        true
    }

    /// Records the evidence of the round about these candidates.
    pub fn record(
        &mut self,
        version: Version,
        candidates: &CauseCandidates,
        evidence: Vec<Evidence>,
    ) {
        let all = candidates.causes();
        if let Some(round) = self
            .0
            .iter_mut()
            .rev()
            .find(|round| round.version == version && round.causes == all)
        {
            round.evidence = Some(evidence);
        }
    }

    /// Whether a round about these candidates, or more, runs now.
    pub fn is_running(&self, version: Version, candidates: &CauseCandidates) -> bool {
        self.last_about(version, &candidates.causes())
            .is_some_and(|round| round.evidence.is_none())
    }

    fn last_about(&self, version: Version, causes: &[Cause]) -> Option<&ProbeRecord> {
        self.0.iter().rev().find(|round| {
            round.version == version && causes.iter().all(|cause| round.causes.contains(cause))
        })
    }

    /// The evidence of an earlier round about the same candidates, or more, unless a message was
    /// accepted since.
    pub fn known_evidence(
        &self,
        version: Version,
        candidates: &CauseCandidates,
        accepted: Option<Moment>,
    ) -> Vec<Evidence> {
        self.last_about(version, &candidates.causes())
            .filter(|round| accepted.is_none_or(|accepted| accepted <= round.at))
            .and_then(|round| round.evidence.clone())
            .unwrap_or_default()
    }

    /// Forgets all rounds, after a probe or an operator put the provider back.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
