//! The causes of a description as a table: which reply means which cause, how certain that is, and
//! what else it can mean. Built from the rules, codes and probes that classify replies, so that the
//! table and the classification cannot differ. Also finds the row of a given reply.

use std::fmt::Write as _;

use crate::dialect::expr::path::JsonPath;
use crate::dialect::model::codes::CodeTest;
use crate::dialect::model::{Classifier, Probe, ReplyRule, ReplyTest, RuleAction, StatusTest};
use crate::dialect::reply::access_denied::may_be_cause;
use crate::dialect::reply::classify::certainty_of;
use crate::dialect::reply::parsed_reply::ParsedReply;
use crate::dialect::{Dialect, Reply};
use crate::sms::{AttemptKind, Cause, Certainty};

/// One reply, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseTableRow {
    /// The kind of request.
    pub kind: AttemptKind,
    /// The condition on the reply.
    pub condition: String,
    /// What it means.
    pub cause: Cause,
    /// How certain that is.
    pub certainty: Certainty,
    /// Other causes that it can mean.
    pub alternatives: Vec<Cause>,
    origin: CauseOrigin,
}

/// The part of the description that a row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CauseOrigin {
    /// A rule of the send or the login.
    Rule(AttemptKind, usize),
    /// The codes of this cause.
    Codes(Cause),
    /// An entry of a probe's `cause_when`.
    ProbeAnswer(usize, usize),
    /// A probe's balance is 0 or less.
    EmptyBalance(usize),
}

impl Dialect {
    /// Every reply that means a cause: logins, sends, probes, each in the order of evaluation.
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
            for row in &mut all {
                row.certainty = row.certainty.max(Certainty::Likely);
            }
        }
        all
    }

    /// The rows of [`cause_table`](Self::cause_table) that this reply matches; none: no rule matches it.
    pub fn matching_rows(&self, kind: AttemptKind, reply: &Reply) -> Vec<CauseTableRow> {
        let parsed = ParsedReply::parse(reply);
        let origins: Vec<CauseOrigin> = match kind {
            AttemptKind::Login => self
                .token
                .iter()
                .filter_map(|token| token.classifier.cause_origin(&parsed, kind))
                .collect(),
            AttemptKind::Send => self
                .send
                .classifier
                .cause_origin(&parsed, kind)
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
            .filter(|row| origins.contains(&row.origin))
            .collect()
    }

    fn probe_origin(&self, at: usize, probe: &Probe, reply: &Reply) -> Option<CauseOrigin> {
        let parsed = ParsedReply::parse(reply);
        let condition = probe
            .cause_when
            .iter()
            .position(|condition| condition.test.is_match(&parsed))
            .map(|nth| CauseOrigin::ProbeAnswer(at, nth));
        let empty = || {
            self.read_probe(probe, reply)
                .balance
                .is_some_and(|(amount, _)| amount <= 0.0)
                .then_some(CauseOrigin::EmptyBalance(at))
        };
        condition.or_else(empty)
    }
}

impl Classifier {
    fn cause_origin(&self, parsed: &ParsedReply<'_>, kind: AttemptKind) -> Option<CauseOrigin> {
        let (at, found) = self.rules.iter().enumerate().find_map(|(at, rule)| {
            let found = self.apply_rule(rule, parsed, Some("reference"))?;
            let cause = found.outcome.cause();
            cause
                .is_none_or(|cause| may_be_cause(parsed.status, cause))
                .then_some((at, found))
        })?;
        match self.rules.get(at)?.action {
            RuleAction::LookUpCode => found.outcome.cause().map(CauseOrigin::Codes),
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
            let alternatives = row_alternatives(rule, cause);
            Some(CauseTableRow {
                kind,
                condition: rule.describe(),
                cause,
                certainty: certainty_of(rule.inferred, &alternatives),
                alternatives,
                origin: CauseOrigin::Rule(kind, at),
            })
        })
}

/// The alternatives of a rule, and those of a bare denial if the rule reads nothing but its status.
fn row_alternatives(rule: &ReplyRule, cause: Cause) -> Vec<Cause> {
    let status = match rule.status {
        Some(StatusTest::Exact(status)) => status,
        Some(StatusTest::Class(_)) | None => 0,
    };
    let mut all = rule.alternatives.clone();
    for &open in rule.undocumented_causes(status) {
        if open != cause && !all.contains(&open) {
            all.push(open);
        }
    }
    all
}

/// One row per cause: its codes, and their path.
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
        let row = CauseTableRow {
            kind: AttemptKind::Send,
            condition: format!("{place} is {}", found.join(", ")),
            cause,
            certainty: Certainty::Certain,
            alternatives: Vec::new(),
            origin: CauseOrigin::Codes(cause),
        };
        (!found.is_empty()).then_some(row)
    })
}

fn probe_rows(probe: &Probe, at: usize) -> Vec<CauseTableRow> {
    let subject = probe.about.as_str();
    let conditions = probe.cause_when.iter().enumerate();
    let mut rows: Vec<CauseTableRow> = conditions
        .map(|(nth, condition)| CauseTableRow {
            kind: AttemptKind::Probe,
            condition: format!("{subject}: {}", condition.test.describe()),
            cause: condition.cause,
            certainty: certainty_of(
                condition.inferred || probe.inferred,
                &condition.alternatives,
            ),
            alternatives: condition.alternatives.clone(),
            origin: CauseOrigin::ProbeAnswer(at, nth),
        })
        .collect();
    rows.extend(probe.balance_path.as_ref().map(|path| CauseTableRow {
        kind: AttemptKind::Probe,
        condition: format!("{subject}: `{}` is 0 or less", path.text),
        cause: Cause::BalanceEmpty,
        certainty: certainty_of(probe.inferred, &[]),
        alternatives: Vec::new(),
        origin: CauseOrigin::EmptyBalance(at),
    }));
    rows
}

impl ReplyRule {
    fn describe(&self) -> String {
        let mut all = describe_conditions(
            self.status,
            &self.paths,
            &self.equals,
            self.pattern.as_ref(),
        );
        all.extend(
            self.required_path
                .as_ref()
                .map(|place| format!("`{}` exists", place.text)),
        );
        all.extend(
            self.body
                .as_ref()
                .map(|body| format!("the body is “{body}”")),
        );
        all.extend(
            self.body_pattern
                .as_ref()
                .map(|regex| format!("the body matches {regex}")),
        );
        if all.is_empty() {
            "any other reply".to_owned()
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
            &self.equals,
            self.pattern.as_ref(),
        )
        .join(", ")
    }
}

fn describe_conditions(
    status: Option<StatusTest>,
    paths: &[JsonPath],
    equals: &[CodeTest],
    pattern: Option<&regex::Regex>,
) -> Vec<String> {
    let status = status.map(|status| match status {
        StatusTest::Exact(code) => format!("status {code}"),
        StatusTest::Class(first) => format!("status {first}xx"),
    });
    let mut path = describe_paths(paths);
    if !equals.is_empty() {
        let codes: Vec<String> = equals.iter().map(describe_code).collect();
        // Writing to a String cannot fail.
        write!(path, " is {}", codes.join(", ")).unwrap_or_default();
    }
    match pattern {
        Some(regex) => write!(path, " matches {regex}").unwrap_or_default(),
        None if equals.is_empty() && !paths.is_empty() => path.push_str(" exists"),
        None => {}
    }
    status
        .into_iter()
        .chain((!paths.is_empty()).then_some(path))
        .collect()
}

/// The first path; the others are alternatives to it.
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
