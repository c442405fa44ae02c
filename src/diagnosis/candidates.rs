//! Narrows an ambiguous rejection. One reply can have several causes; evidence beside it (a probe,
//! an accepted login, the reply's date) leaves fewer of them. Pure: evidence comes in as values,
//! and this file only picks the next probe. Evidence never adds a candidate, and a cause that is
//! left because all others were ruled out is never called certain. If it rules out every candidate,
//! the conclusion is `unexplained`.

use crate::sms::{Cause, Certainty, Concern};

/// The possible causes of a rejection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseCandidates {
    /// The most probable cause, which is shown.
    pub cause: Cause,
    /// How certain it is.
    pub certainty: Certainty,
    /// The other candidates.
    pub alternatives: Vec<Cause>,
}

/// What a piece of evidence means for the candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Implication {
    /// None of these is the cause.
    RulesOut(Vec<Cause>),
    /// The cause is one of these, with this certainty.
    Indicates(Vec<Cause>, Certainty),
    /// It means nothing.
    Inconclusive,
}

/// The possible results of a probe, known before it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateProbe {
    /// The causes that a healthy account rules out.
    pub ruled_out_if_healthy: Vec<Cause>,
    /// For each other result, the causes that it indicates.
    pub causes_if_unhealthy: Vec<Vec<Cause>>,
}

impl CauseCandidates {
    /// The candidates of a classified reply.
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

    /// All candidates, the most probable first.
    pub fn causes(&self) -> Vec<Cause> {
        std::iter::once(self.cause)
            .chain(self.alternatives.iter().copied())
            .collect()
    }

    /// Whether only one candidate is left.
    pub fn is_unambiguous(&self) -> bool {
        self.alternatives.is_empty()
    }

    /// Whether the credential may be the cause; then it must not be sent again.
    pub fn includes_credential(&self) -> bool {
        self.causes()
            .iter()
            .any(|cause| cause.concern() == Concern::Credential)
    }

    /// Whether no further evidence is wanted: the cause is certain, or none that is known, or the
    /// credential, which is not sent again only to confirm that.
    pub fn is_settled(&self) -> bool {
        let is_final = self.certainty == Certainty::Certain || self.cause == Cause::Unexplained;
        self.is_unambiguous() && (is_final || self.includes_credential())
    }

    /// Narrows the candidates. Evidence that rules out all of them leaves `unexplained`; evidence for
    /// a cause that is no candidate does not explain this rejection, and changes nothing.
    #[must_use]
    pub fn apply(self, implication: &Implication) -> Self {
        let left = remaining_causes(&self.causes(), implication);
        let Some((&cause, others)) = left.split_first() else {
            return match implication {
                Implication::RulesOut(_) => Self::new(Cause::Unexplained, Certainty::Likely, &[]),
                Implication::Indicates(..) | Implication::Inconclusive => self,
            };
        };
        if left == self.causes() && !(self.is_unambiguous() && is_single_cause(implication)) {
            return self;
        }
        let certainty = match (others.is_empty(), implication) {
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

    /// After a token that a login returned just now was rejected: it has not expired, whatever the service says. What
    /// else makes a service call a token expired is left.
    #[must_use]
    pub fn without_expiry(self) -> Self {
        let expired = Implication::RulesOut(vec![Cause::CredentialExpired]);
        if self.causes() != [Cause::CredentialExpired] {
            return self.apply(&expired);
        }
        Self::new(
            Cause::CredentialRejected,
            Certainty::Ambiguous,
            &[
                Cause::ClockSkew,
                Cause::AccountSuspended,
                Cause::PermissionDenied,
            ],
        )
    }

    /// The index of the probe that leaves the fewest candidates in the worst case; none if no probe
    /// can narrow them, or rule out the only one.
    pub fn best_probe(&self, probes: &[CandidateProbe]) -> Option<usize> {
        let useful = probes
            .iter()
            .enumerate()
            .filter_map(|(index, probe)| Some((self.worst_case(probe)?, index)));
        useful.min().map(|(_, index)| index)
    }

    /// How many candidates the probe leaves in the worst case; none if no result of it can change them.
    fn worst_case(&self, probe: &CandidateProbe) -> Option<usize> {
        let results = || {
            probe
                .implications()
                .map(|implication| self.clone().apply(&implication))
        };
        let can_change = if self.is_unambiguous() {
            !self.is_settled() && results().any(|left| left.cause != self.cause)
        } else {
            results().any(|left| left.causes().len() < self.causes().len())
        };
        let worst = results().map(|left| left.causes().len()).max();
        worst.filter(|_| can_change)
    }
}

impl CandidateProbe {
    fn implications(&self) -> impl Iterator<Item = Implication> {
        let unhealthy = self
            .causes_if_unhealthy
            .iter()
            .map(|causes| Implication::Indicates(causes.clone(), Certainty::Likely));
        std::iter::once(Implication::RulesOut(self.ruled_out_if_healthy.clone())).chain(unhealthy)
    }
}

/// The candidates that are left; none if the implication contradicts all of them.
fn remaining_causes(candidates: &[Cause], implication: &Implication) -> Vec<Cause> {
    let stays = |cause: &&Cause| match implication {
        Implication::RulesOut(causes) => !causes.contains(cause),
        Implication::Indicates(causes, _) => causes.contains(cause),
        Implication::Inconclusive => true,
    };
    candidates.iter().filter(stays).copied().collect()
}

/// Whether the implication names exactly one cause.
fn is_single_cause(implication: &Implication) -> bool {
    matches!(implication, Implication::Indicates(causes, _) if causes.len() == 1)
}

#[cfg(test)]
mod tests;
