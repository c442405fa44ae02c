//! What a description knows of causes, as a table: which reply shows which, how certain, and what
//! else it can mean. Read off the very rules, codes and probes that judge replies, so that what is
//! shown and what is done cannot differ; and which line of it a given reply is.

use std::fmt::Write as _;

use crate::dialect::code::CodeTest;
use crate::dialect::judge::Heard;
use crate::dialect::place::Place;
use crate::dialect::shape::{Judge, Probe, Rule, StatusTest, Test, Then};
use crate::dialect::{Dialect, Reply};
use crate::sms::{Cause, Certainty, Kind};

/// One reply, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What was asked.
    pub kind: Kind,
    /// What the reply is like.
    pub reply: String,
    /// What it means.
    pub cause: Cause,
    /// How sure that is.
    pub certainty: Certainty,
    /// What else it can mean.
    pub alternatives: Vec<Cause>,
    origin: Origin,
}

/// Which part of the description says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A rule of the send's, or the login's.
    Rule(Kind, usize),
    /// The send's codes of this cause.
    Codes(Cause),
    /// An answer of a probe.
    Dead(usize, usize),
    /// A probe's figure is nothing or less.
    Empty(usize),
}

impl Dialect {
    /// Every reply that names a cause: logins, sends, account calls, each in the order of asking.
    pub fn causes(&self) -> Vec<Shown> {
        let login = self.token.iter().flat_map(|token| rules(&token.judge, Kind::Login));
        let probes = self.probes.iter().enumerate().flat_map(|(at, probe)| answers(probe, at));
        let mut all: Vec<Shown> = login.chain(rules(&self.send.judge, Kind::Send)).chain(codes(&self.send.judge)).chain(probes).collect();
        if self.requires_experimental() {
            for shown in &mut all {
                shown.certainty = shown.certainty.max(Certainty::Likely);
            }
        }
        all
    }

    /// Which lines of [`causes`](Self::causes) this reply is; none: no rule of the description knows it.
    pub fn shown_by(&self, kind: Kind, reply: &Reply) -> Vec<Shown> {
        let heard = Heard::of(reply);
        let origins: Vec<Origin> = match kind {
            Kind::Login => self.token.iter().filter_map(|token| token.judge.origin(&heard, kind)).collect(),
            Kind::Send => self.send.judge.origin(&heard, kind).into_iter().collect(),
            Kind::Probe | Kind::Carry => {
                self.probes.iter().enumerate().filter_map(|(at, probe)| self.answer_of(at, probe, reply)).collect()
            }
        };
        self.causes().into_iter().filter(|shown| origins.contains(&shown.origin)).collect()
    }

    fn answer_of(&self, at: usize, probe: &Probe, reply: &Reply) -> Option<Origin> {
        let heard = Heard::of(reply);
        let dead = probe.dead.iter().position(|dead| dead.test.fits(&heard)).map(|dead| Origin::Dead(at, dead));
        let empty = || self.read_probe(probe, reply).balance.is_some_and(|(left, _)| left <= 0.0).then_some(Origin::Empty(at));
        dead.or_else(empty)
    }
}

impl Judge {
    fn origin(&self, heard: &Heard<'_>, kind: Kind) -> Option<Origin> {
        let (at, finding) = self.deciding(heard, Some("reference"))?;
        match self.rules.get(at)?.then {
            Then::Codes => finding.outcome.cause().map(Origin::Codes),
            Then::Refused(_) | Then::Unknown(_) => Some(Origin::Rule(kind, at)),
            Then::AcceptedAt(_) | Then::AcceptedAs(_) => None,
        }
    }
}

fn rules(judge: &Judge, kind: Kind) -> impl Iterator<Item = Shown> {
    judge.rules.iter().enumerate().filter_map(move |(at, rule)| {
        let (Then::Refused(cause) | Then::Unknown(cause)) = rule.then else { return None };
        let (reply, origin) = (rule.words(), Origin::Rule(kind, at));
        Some(Shown { kind, reply, cause, certainty: sure(rule.guess, &rule.or), alternatives: rule.or.clone(), origin })
    })
}

/// One line a cause: its codes, and where they stand.
fn codes(judge: &Judge) -> impl Iterator<Item = Shown> {
    let rules = judge.rules.iter().filter(|rule| matches!(rule.then, Then::Codes) && !rule.at.is_empty());
    let place = rules.map(|rule| places(&rule.at)).collect::<Vec<_>>().join(" or ");
    Cause::ALL.iter().filter_map(move |&cause| {
        let found: Vec<String> = judge.codes.0.iter().filter(|entry| entry.cause == cause).map(|entry| word(&entry.test)).collect();
        let (reply, origin) = (format!("{place} is {}", found.join(", ")), Origin::Codes(cause));
        let shown = Shown { kind: Kind::Send, reply, cause, certainty: Certainty::Certain, alternatives: Vec::new(), origin };
        (!found.is_empty()).then_some(shown)
    })
}

fn answers(probe: &Probe, at: usize) -> Vec<Shown> {
    let asks = probe.asks.as_str();
    let told = |reply: String, cause, (guess, alternatives): (bool, &[Cause]), origin| Shown {
        kind: Kind::Probe,
        reply: format!("{asks}: {reply}"),
        cause,
        certainty: sure(guess || probe.guess, alternatives),
        alternatives: alternatives.to_vec(),
        origin,
    };
    let dead = probe.dead.iter().enumerate();
    let mut all: Vec<Shown> =
        dead.map(|(nth, dead)| told(dead.test.words(), dead.cause, (dead.guess, &dead.or), Origin::Dead(at, nth))).collect();
    if let Some(place) = &probe.balance {
        all.push(told(format!("`{}` is 0 or less", place.text), Cause::BalanceEmpty, (false, &[]), Origin::Empty(at)));
    }
    all
}

fn sure(guess: bool, or: &[Cause]) -> Certainty {
    match (or.is_empty(), guess) {
        (false, _) => Certainty::Ambiguous,
        (true, true) => Certainty::Likely,
        (true, false) => Certainty::Certain,
    }
}

impl Rule {
    fn words(&self) -> String {
        let mut all = tested(self.status, &self.at, (&self.is, self.like.as_ref()));
        all.extend(self.with.as_ref().map(|place| format!("`{}` is there", place.text)));
        all.extend(self.body.as_ref().map(|body| format!("the body is “{body}”")));
        all.extend(self.body_like.as_ref().map(|regex| format!("the body is like {regex}")));
        if all.is_empty() { "whatever else".to_owned() } else { all.join(", ") }
    }
}

impl Test {
    fn words(&self) -> String {
        tested(self.status, &self.at, (&self.is, self.like.as_ref())).join(", ")
    }
}

fn tested(status: Option<StatusTest>, at: &[Place], (is, like): (&[CodeTest], Option<&regex::Regex>)) -> Vec<String> {
    let status = status.map(|status| match status {
        StatusTest::Exactly(code) => format!("status {code}"),
        StatusTest::Hundred(first) => format!("status {first}xx"),
    });
    let mut place = places(at);
    if !is.is_empty() {
        // Writing to a String cannot fail.
        write!(place, " is {}", is.iter().map(word).collect::<Vec<_>>().join(", ")).unwrap_or_default();
    }
    match like {
        Some(regex) => write!(place, " like {regex}").unwrap_or_default(),
        None if is.is_empty() && !at.is_empty() => place.push_str(" is there"),
        None => {}
    }
    status.into_iter().chain((!at.is_empty()).then_some(place)).collect()
}

/// The first spelling; the others mean the same.
fn places(at: &[Place]) -> String {
    at.first().map(|place| format!("`{}`", place.text)).unwrap_or_default()
}

fn word(test: &CodeTest) -> String {
    match test {
        CodeTest::Exactly(code) | CodeTest::Like(code) => code.clone(),
        CodeTest::Between(low, high) => format!("{low}..{high}"),
    }
}
