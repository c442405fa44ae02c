//! How an ambiguous refusal is settled: one reply can mean several things, and what else is
//! learned (a free call answered, a login accepted, a clock read) leaves fewer of them. Pure:
//! what is learned comes as values, which question to ask next is an answer of this file, and
//! asking is somebody else's. It never widens what the refusal left open, and what is known
//! only because all else was ruled out is never called certain.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;
use crate::diagnosis::learned::Learned;
use crate::secret::Version;
use crate::sms::{Cause, Certainty, Concern};

/// What a refusal can mean, the first most of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspects {
    /// The cause that is shown.
    pub cause: Cause,
    /// How sure it is.
    pub certainty: Certainty,
    /// What else it can be.
    pub alternatives: Vec<Cause>,
}

/// What something else that was learned says about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These are not it.
    RulesOut(Vec<Cause>),
    /// It is one of these, and how sure that is.
    Says(Vec<Cause>, Certainty),
    /// Nothing.
    Nothing,
}

/// What a question's answers could be, known before it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// If all is in order, these are not it.
    pub in_order: Vec<Cause>,
    /// Each other answer, as the causes it can mean.
    pub wrong: Vec<Vec<Cause>>,
}

impl Suspects {
    /// From a reply's classification.
    pub fn new(cause: Cause, certainty: Certainty, alternatives: &[Cause]) -> Self {
        let mut others: Vec<Cause> = Vec::new();
        for &other in alternatives.iter().filter(|&&other| other != cause) {
            if !others.contains(&other) {
                others.push(other);
            }
        }
        let certainty = if others.is_empty() { certainty } else { Certainty::Ambiguous };
        Self { cause, certainty, alternatives: others }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Cause> {
        std::iter::once(self.cause).chain(self.alternatives.iter().copied()).collect()
    }

    /// Whether nothing else is suspected.
    pub fn is_settled(&self) -> bool {
        self.alternatives.is_empty()
    }

    /// Whether the credential itself may be what was refused: then it is not to be used again.
    pub fn suspects_credential(&self) -> bool {
        self.all().iter().any(|cause| cause.concern() == Concern::Credential)
    }

    /// With what was learned. An answer that would leave nobody contradicts the refusal, and changes nothing.
    #[must_use]
    pub fn told(self, answer: &Answer) -> Self {
        let left = narrowed(&self.all(), answer);
        let Some((&cause, others)) = left.split_first() else { return self };
        if left == self.all() && !(self.is_settled() && confirms(answer)) {
            return self;
        }
        let certainty = match (others.is_empty(), answer) {
            (false, _) => Certainty::Ambiguous,
            (true, Answer::Says(causes, certainty)) if causes.len() == 1 => *certainty,
            (true, Answer::Says(..) | Answer::RulesOut(_) | Answer::Nothing) => Certainty::Likely,
        };
        Self { cause, certainty: if self.is_settled() { certainty.min(self.certainty) } else { certainty }, alternatives: others.to_vec() }
    }

    /// The question among these whose answer leaves the fewest in the worst case; none: no answer leaves fewer.
    pub fn best(&self, questions: &[Question]) -> Option<usize> {
        let all = self.all();
        let worst = |question: &Question| {
            let left: Vec<usize> = question.answers().map(|answer| narrowed(&all, &answer).len()).filter(|left| *left > 0).collect();
            left.iter().any(|left| *left < all.len()).then(|| left.into_iter().max()).flatten()
        };
        let told = questions.iter().enumerate().filter_map(|(at, question)| Some((worst(question)?, at)));
        told.min().map(|(_, at)| at)
    }
}

impl Question {
    fn answers(&self) -> impl Iterator<Item = Answer> {
        let wrong = self.wrong.iter().map(|causes| Answer::Says(causes.clone(), Certainty::Likely));
        std::iter::once(Answer::RulesOut(self.in_order.clone())).chain(wrong)
    }
}

/// Who is left; nobody where the answer contradicts all of it, or speaks of something else.
fn narrowed(suspects: &[Cause], answer: &Answer) -> Vec<Cause> {
    let stays = |cause: &&Cause| match answer {
        Answer::RulesOut(causes) => !causes.contains(cause),
        Answer::Says(causes, _) => causes.contains(cause),
        Answer::Nothing => true,
    };
    suspects.iter().filter(stays).copied().collect()
}

/// Says outright what was only likely.
fn confirms(answer: &Answer) -> bool {
    matches!(answer, Answer::Says(causes, _) if causes.len() == 1)
}

/// Between two questions about one and the same, where a message was accepted in between.
const AGAIN: Duration = Duration::from_secs(30);
/// Refusals of one provider that are followed within [`HOUR`].
const MOST: usize = 20;
const HOUR: Duration = Duration::from_hours(1);

/// Which refusals of one provider were followed already. The same doubt about the same version of its
/// credential, or a part of it, is followed once, and anew only after a message was accepted; all together so many an hour.
#[derive(Clone, Debug, Default)]
pub struct Followed(VecDeque<Doubt>);

/// One that was followed.
#[derive(Clone, Debug)]
struct Doubt {
    at: Moment,
    version: Version,
    causes: Vec<Cause>,
    learned: Vec<Learned>,
}

impl Followed {
    /// Whether this doubt is to be followed now; yes is remembered.
    pub fn admits(&mut self, version: Version, suspects: &Suspects, accepted: Option<Moment>, now: Moment) -> bool {
        let all = suspects.all();
        let last = self
            .0
            .iter()
            .rev()
            .find(|doubt| doubt.version == version && all.iter().all(|cause| doubt.causes.contains(cause)))
            .map(|doubt| doubt.at);
        let news = |at: Moment| accepted.is_some_and(|accepted| accepted > at) && now.since(at) >= AGAIN;
        let lately = self.0.iter().filter(|doubt| now.since(doubt.at) < HOUR).count();
        if lately >= MOST || !last.is_none_or(news) {
            return false;
        }
        self.0.push_back(Doubt { at: now, version, causes: all, learned: Vec::new() });
        if self.0.len() > MOST {
            self.0.pop_front();
        }
        true
    }

    /// What came of following it.
    pub fn remember(&mut self, version: Version, suspects: &Suspects, learned: Vec<Learned>) {
        let all = suspects.all();
        if let Some(doubt) = self.0.iter_mut().rev().find(|doubt| doubt.version == version && doubt.causes == all) {
            doubt.learned = learned;
        }
    }

    /// What was learned when the same doubt was followed before, unless a message was accepted since.
    pub fn known(&self, version: Version, suspects: &Suspects, accepted: Option<Moment>) -> Vec<Learned> {
        let all = suspects.all();
        let found = self.0.iter().rev().find(|doubt| doubt.version == version && doubt.causes == all);
        found.filter(|doubt| accepted.is_none_or(|accepted| accepted <= doubt.at)).map(|doubt| doubt.learned.clone()).unwrap_or_default()
    }

    /// The provider is back, by hand or because a question said so: the next doubt is a new one.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
