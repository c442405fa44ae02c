//! What a description knows of causes, as a table: which reply shows which, how certain, and what
//! else it can mean. Read off the very rules, codes and probes that judge replies, so that what is
//! shown and what is done cannot differ; and which line of it a given reply is.

use std::fmt::Write as _;

use crate::dialect::expr::path::JsonPath;
use crate::dialect::model::codes::CodeTest;
use crate::dialect::model::{Classifier, Probe, ReplyRule, ReplyTest, RuleAction, StatusTest};
use crate::dialect::reply::classify::ParsedReply;
use crate::dialect::{Dialect, Reply};
use crate::sms::{AttemptKind, Cause, Certainty};

/// One reply, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseTableRow {
    /// What was asked.
    pub kind: AttemptKind,
    /// What the reply is like.
    pub condition: String,
    /// What it means.
    pub cause: Cause,
    /// How sure that is.
    pub certainty: Certainty,
    /// What else it can mean.
    pub alternatives: Vec<Cause>,
    origin: CauseOrigin,
}

/// Which part of the description says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CauseOrigin {
    /// A rule of the send's, or the login's.
    Rule(AttemptKind, usize),
    /// The send's codes of this cause.
    Codes(Cause),
    /// An answer of a probe.
    ProbeAnswer(usize, usize),
    /// A probe's figure is nothing or less.
    EmptyBalance(usize),
}

impl Dialect {
    /// Every reply that names a cause: logins, sends, account calls, each in the order of asking.
    pub fn cause_table(&self) -> Vec<CauseTableRow> {
        let login = self
            .token
            .iter()
            .flat_map(|token| rule_rows(&token.classifier, AttemptKind::Login));
        let probes = self
            .probes
            .iter()
            .enumerate()
            .flat_map(|(at, probe)| probe_rows(probe, at));
        let mut all: Vec<CauseTableRow> = login
            .chain(rule_rows(&self.send.classifier, AttemptKind::Send))
            .chain(code_rows(&self.send.classifier))
            .chain(probes)
            .collect();
        if self.requires_experimental() {
            for shown in &mut all {
                shown.certainty = shown.certainty.max(Certainty::Likely);
            }
        }
        all
    }

    /// Which lines of [`causes`](Self::causes) this reply is; none: no rule of the description knows it.
    pub fn matching_rows(&self, kind: AttemptKind, reply: &Reply) -> Vec<CauseTableRow> {
        let heard = ParsedReply::parse(reply);
        let origins: Vec<CauseOrigin> = match kind {
            AttemptKind::Login => self
                .token
                .iter()
                .filter_map(|token| token.classifier.cause_origin(&heard, kind))
                .collect(),
            AttemptKind::Send => self
                .send
                .classifier
                .cause_origin(&heard, kind)
                .into_iter()
                .collect(),
            AttemptKind::Probe | AttemptKind::Passthrough => self
                .probes
                .iter()
                .enumerate()
                .filter_map(|(at, probe)| self.probe_origin(at, probe, reply))
                .collect(),
        };
        self.cause_table()
            .into_iter()
            .filter(|shown| origins.contains(&shown.origin))
            .collect()
    }

    fn probe_origin(&self, at: usize, probe: &Probe, reply: &Reply) -> Option<CauseOrigin> {
        let heard = ParsedReply::parse(reply);
        let dead = probe
            .cause_when
            .iter()
            .position(|dead| dead.test.is_match(&heard))
            .map(|dead| CauseOrigin::ProbeAnswer(at, dead));
        let empty = || {
            self.read_probe(probe, reply)
                .balance
                .is_some_and(|(left, _)| left <= 0.0)
                .then_some(CauseOrigin::EmptyBalance(at))
        };
        dead.or_else(empty)
    }
}

impl Classifier {
    fn cause_origin(&self, heard: &ParsedReply<'_>, kind: AttemptKind) -> Option<CauseOrigin> {
        let (at, finding) = self.classify_with_rule(heard, Some("reference"))?;
        match self.rules.get(at)?.action {
            RuleAction::LookUpCode => finding.outcome.cause().map(CauseOrigin::Codes),
            RuleAction::Reject(_) | RuleAction::MarkUnknown(_) => Some(CauseOrigin::Rule(kind, at)),
            RuleAction::AcceptIdAt(_) | RuleAction::AcceptIdFrom(_) => None,
        }
    }
}

fn rule_rows(judge: &Classifier, kind: AttemptKind) -> impl Iterator<Item = CauseTableRow> {
    judge
        .rules
        .iter()
        .enumerate()
        .filter_map(move |(at, rule)| {
            let (RuleAction::Reject(cause) | RuleAction::MarkUnknown(cause)) = rule.action else {
                return None;
            };
            let (reply, origin) = (rule.describe(), CauseOrigin::Rule(kind, at));
            Some(CauseTableRow {
                kind,
                condition: reply,
                cause,
                certainty: certainty_of(rule.inferred, &rule.alternatives),
                alternatives: rule.alternatives.clone(),
                origin,
            })
        })
}

/// One line a cause: its codes, and where they stand.
fn code_rows(judge: &Classifier) -> impl Iterator<Item = CauseTableRow> {
    let rules = judge
        .rules
        .iter()
        .filter(|rule| matches!(rule.action, RuleAction::LookUpCode) && !rule.paths.is_empty());
    let place = rules
        .map(|rule| describe_paths(&rule.paths))
        .collect::<Vec<_>>()
        .join(" or ");
    Cause::ALL.iter().filter_map(move |&cause| {
        let found: Vec<String> = judge
            .codes
            .0
            .iter()
            .filter(|entry| entry.cause == cause)
            .map(|entry| describe_code(&entry.test))
            .collect();
        let (reply, origin) = (
            format!("{place} is {}", found.join(", ")),
            CauseOrigin::Codes(cause),
        );
        let shown = CauseTableRow {
            kind: AttemptKind::Send,
            condition: reply,
            cause,
            certainty: Certainty::Certain,
            alternatives: Vec::new(),
            origin,
        };
        (!found.is_empty()).then_some(shown)
    })
}

fn probe_rows(probe: &Probe, at: usize) -> Vec<CauseTableRow> {
    let asks = probe.about.as_str();
    let told =
        |reply: String, cause, (guess, alternatives): (bool, &[Cause]), origin| CauseTableRow {
            kind: AttemptKind::Probe,
            condition: format!("{asks}: {reply}"),
            cause,
            certainty: certainty_of(guess || probe.inferred, alternatives),
            alternatives: alternatives.to_vec(),
            origin,
        };
    let dead = probe.cause_when.iter().enumerate();
    let mut all: Vec<CauseTableRow> = dead
        .map(|(nth, dead)| {
            told(
                dead.test.describe(),
                dead.cause,
                (dead.inferred, &dead.alternatives),
                CauseOrigin::ProbeAnswer(at, nth),
            )
        })
        .collect();
    if let Some(place) = &probe.balance_path {
        all.push(told(
            format!("`{}` is 0 or less", place.text),
            Cause::BalanceEmpty,
            (false, &[]),
            CauseOrigin::EmptyBalance(at),
        ));
    }
    all
}

fn certainty_of(guess: bool, or: &[Cause]) -> Certainty {
    match (or.is_empty(), guess) {
        (false, _) => Certainty::Ambiguous,
        (true, true) => Certainty::Likely,
        (true, false) => Certainty::Certain,
    }
}

impl ReplyRule {
    fn describe(&self) -> String {
        let mut all = describe_conditions(
            self.status,
            &self.paths,
            (&self.equals, self.pattern.as_ref()),
        );
        all.extend(
            self.required_path
                .as_ref()
                .map(|place| format!("`{}` is there", place.text)),
        );
        all.extend(
            self.body
                .as_ref()
                .map(|body| format!("the body is “{body}”")),
        );
        all.extend(
            self.body_pattern
                .as_ref()
                .map(|regex| format!("the body is like {regex}")),
        );
        if all.is_empty() {
            "whatever else".to_owned()
        } else {
            all.join(", ")
        }
    }
}

impl ReplyTest {
    fn describe(&self) -> String {
        describe_conditions(
            self.status,
            &self.paths,
            (&self.equals, self.pattern.as_ref()),
        )
        .join(", ")
    }
}

fn describe_conditions(
    status: Option<StatusTest>,
    at: &[JsonPath],
    (is, like): (&[CodeTest], Option<&regex::Regex>),
) -> Vec<String> {
    let status = status.map(|status| match status {
        StatusTest::Exact(code) => format!("status {code}"),
        StatusTest::Class(first) => format!("status {first}xx"),
    });
    let mut place = describe_paths(at);
    if !is.is_empty() {
        // Writing to a String cannot fail.
        write!(
            place,
            " is {}",
            is.iter().map(describe_code).collect::<Vec<_>>().join(", ")
        )
        .unwrap_or_default();
    }
    match like {
        Some(regex) => write!(place, " like {regex}").unwrap_or_default(),
        None if is.is_empty() && !at.is_empty() => place.push_str(" is there"),
        None => {}
    }
    status
        .into_iter()
        .chain((!at.is_empty()).then_some(place))
        .collect()
}

/// The first spelling; the others mean the same.
fn describe_paths(at: &[JsonPath]) -> String {
    at.first()
        .map(|place| format!("`{}`", place.text))
        .unwrap_or_default()
}

fn describe_code(test: &CodeTest) -> String {
    match test {
        CodeTest::Exact(code) | CodeTest::Glob(code) => code.clone(),
        CodeTest::Range(low, high) => format!("{low}..{high}"),
    }
}
