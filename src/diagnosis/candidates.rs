//! How an ambiguous refusal is settled: one reply can mean several things, and what else is
//! learned (a free call answered, a login accepted, a clock read) leaves fewer of them. Pure:
//! what is learned comes as values, which question to ask next is an answer of this file, and
//! asking is somebody else's. It never widens what the refusal left open, and what is known
//! only because all else was ruled out is never called certain.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::diagnosis::evidence::Evidence;
use crate::secret::Version;
use crate::sms::{Cause, Certainty, Concern};

/// What a refusal can mean, the first most of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseCandidates {
    /// The cause that is shown.
    pub cause: Cause,
    /// How sure it is.
    pub certainty: Certainty,
    /// What else it can be.
    pub alternatives: Vec<Cause>,
}

/// What something else that was learned says about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Implication {
    /// These are not it.
    RulesOut(Vec<Cause>),
    /// It is one of these, and how sure that is.
    Indicates(Vec<Cause>, Certainty),
    /// Nothing.
    Inconclusive,
}

/// What a question's answers could be, known before it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateProbe {
    /// If all is in order, these are not it.
    pub ruled_out_if_healthy: Vec<Cause>,
    /// Each other answer, as the causes it can mean.
    pub causes_if_unhealthy: Vec<Vec<Cause>>,
}

impl CauseCandidates {
    /// From a reply's classification.
    pub fn new(cause: Cause, certainty: Certainty, alternatives: &[Cause]) -> Self {
        let mut others: Vec<Cause> = Vec::new();
        for &other in alternatives.iter().filter(|&&other| other != cause) {
            if !others.contains(&other) {
                others.push(other);
            }
        }
        let certainty = if others.is_empty() {
            certainty
        } else {
            Certainty::Ambiguous
        };
        Self {
            cause,
            certainty,
            alternatives: others,
        }
    }

    /// All of them.
    pub fn causes(&self) -> Vec<Cause> {
        std::iter::once(self.cause)
            .chain(self.alternatives.iter().copied())
            .collect()
    }

    /// Whether nothing else is suspected.
    pub fn is_unambiguous(&self) -> bool {
        self.alternatives.is_empty()
    }

    /// Whether the credential itself may be what was refused: then it is not to be used again.
    pub fn includes_credential(&self) -> bool {
        self.causes()
            .iter()
            .any(|cause| cause.concern() == Concern::Credential)
    }

    /// With what was learned. An answer that would leave nobody contradicts the refusal, and changes nothing.
    #[must_use]
    pub fn apply(self, answer: &Implication) -> Self {
        let left = remaining_causes(&self.causes(), answer);
        let Some((&cause, others)) = left.split_first() else {
            return self;
        };
        if left == self.causes() && !(self.is_unambiguous() && is_single_cause(answer)) {
            return self;
        }
        let certainty = match (others.is_empty(), answer) {
            (false, _) => Certainty::Ambiguous,
            (true, Implication::Indicates(causes, certainty)) if causes.len() == 1 => *certainty,
            (
                true,
                Implication::Indicates(..) | Implication::RulesOut(_) | Implication::Inconclusive,
            ) => Certainty::Likely,
        };
        Self {
            cause,
            certainty: if self.is_unambiguous() {
                certainty.min(self.certainty)
            } else {
                certainty
            },
            alternatives: others.to_vec(),
        }
    }

    /// The question among these whose answer leaves the fewest in the worst case; none: no answer leaves fewer.
    pub fn best_probe(&self, questions: &[CandidateProbe]) -> Option<usize> {
        let all = self.causes();
        let worst = |question: &CandidateProbe| {
            let left: Vec<usize> = question
                .implications()
                .map(|answer| remaining_causes(&all, &answer).len())
                .filter(|left| *left > 0)
                .collect();
            left.iter()
                .any(|left| *left < all.len())
                .then(|| left.into_iter().max())
                .flatten()
        };
        let told = questions
            .iter()
            .enumerate()
            .filter_map(|(at, question)| Some((worst(question)?, at)));
        told.min().map(|(_, at)| at)
    }
}

impl CandidateProbe {
    fn implications(&self) -> impl Iterator<Item = Implication> {
        let wrong = self
            .causes_if_unhealthy
            .iter()
            .map(|causes| Implication::Indicates(causes.clone(), Certainty::Likely));
        std::iter::once(Implication::RulesOut(self.ruled_out_if_healthy.clone())).chain(wrong)
    }
}

/// Who is left; nobody where the answer contradicts all of it, or speaks of something else.
fn remaining_causes(suspects: &[Cause], answer: &Implication) -> Vec<Cause> {
    let stays = |cause: &&Cause| match answer {
        Implication::RulesOut(causes) => !causes.contains(cause),
        Implication::Indicates(causes, _) => causes.contains(cause),
        Implication::Inconclusive => true,
    };
    suspects.iter().filter(stays).copied().collect()
}

/// Says outright what was only likely.
fn is_single_cause(answer: &Implication) -> bool {
    matches!(answer, Implication::Indicates(causes, _) if causes.len() == 1)
}

/// Between two questions about one and the same, where a message was accepted in between.
const MIN_PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// Refusals of one provider that are followed within [`HOUR`].
const MAX_PROBES_PER_HOUR: usize = 20;
const HOUR: Duration = Duration::from_hours(1);

/// Which refusals of one provider were followed already. The same doubt about the same version of its
/// credential, or a part of it, is followed once, and anew only after a message was accepted; all together so many an hour.
#[derive(Clone, Debug, Default)]
pub struct ProbeHistory(VecDeque<ProbeRecord>);

/// One that was followed.
#[derive(Clone, Debug)]
struct ProbeRecord {
    at: Moment,
    version: Version,
    causes: Vec<Cause>,
    evidence: Vec<Evidence>,
}

impl ProbeHistory {
    /// Whether this doubt is to be followed now; yes is remembered.
    pub fn try_begin(
        &mut self,
        version: Version,
        suspects: &CauseCandidates,
        accepted: Option<Moment>,
        now: Moment,
    ) -> bool {
        let all = suspects.causes();
        let last = self
            .0
            .iter()
            .rev()
            .find(|doubt| {
                doubt.version == version && all.iter().all(|cause| doubt.causes.contains(cause))
            })
            .map(|doubt| doubt.at);
        let news = |at: Moment| {
            accepted.is_some_and(|accepted| accepted > at) && now.since(at) >= MIN_PROBE_INTERVAL
        };
        let lately = self
            .0
            .iter()
            .filter(|doubt| now.since(doubt.at) < HOUR)
            .count();
        if lately >= MAX_PROBES_PER_HOUR || !last.is_none_or(news) {
            return false;
        }
        self.0.push_back(ProbeRecord {
            at: now,
            version,
            causes: all,
            evidence: Vec::new(),
        });
        if self.0.len() > MAX_PROBES_PER_HOUR {
            self.0.pop_front();
        }
        true
    }

    /// What came of following it.
    pub fn record(&mut self, version: Version, suspects: &CauseCandidates, learned: Vec<Evidence>) {
        let all = suspects.causes();
        if let Some(doubt) = self
            .0
            .iter_mut()
            .rev()
            .find(|doubt| doubt.version == version && doubt.causes == all)
        {
            doubt.evidence = learned;
        }
    }

    /// What was learned when the same doubt was followed before, unless a message was accepted since.
    pub fn known_evidence(
        &self,
        version: Version,
        suspects: &CauseCandidates,
        accepted: Option<Moment>,
    ) -> Vec<Evidence> {
        let all = suspects.causes();
        let found = self
            .0
            .iter()
            .rev()
            .find(|doubt| doubt.version == version && doubt.causes == all);
        found
            .filter(|doubt| accepted.is_none_or(|accepted| accepted <= doubt.at))
            .map(|doubt| doubt.evidence.clone())
            .unwrap_or_default()
    }

    /// The provider is back, by hand or because a question said so: the next doubt is a new one.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
