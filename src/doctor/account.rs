//! What the probes say about the account, each under the check that it concerns: the endpoint, the
//! credential, the account, production or sandbox, the balance, the list of addresses. Pure: `runner` runs
//! the probes. What no probe shows is reported as not known, never assumed.

use crate::diagnosis::Evidence;
use crate::dialect::{Approval, Probe, ProbeSubject};
use crate::doctor::check::Check;
use crate::doctor::connectivity;
use crate::doctor::provider_check::{ProbeRejection, ProviderCheck};
use crate::doctor::texts::ListingOutcome as Lists;
use crate::net::upstream::ExchangeError;
use crate::provider::diagnose::apply_evidence;
use crate::sms::{AttemptKind, Cause, Concern};

/// One probe and its outcome.
#[derive(Clone, Debug)]
pub(crate) struct ProbeRun {
    pub(crate) kind: AttemptKind,
    /// None for a login, and for a request without a credential.
    pub(crate) subject: Option<ProbeSubject>,
    /// `GET /path`.
    pub(crate) endpoint: String,
    pub(crate) outcome: ProbeOutcome,
    /// Whether its reply can show that this is a test account.
    pub(crate) detects_sandbox: bool,
    /// Whether it was never run against the service, so that its replies prove nothing.
    pub(crate) inferred: bool,
}

/// The result of a probe.
#[derive(Clone, Debug)]
pub(crate) enum ProbeOutcome {
    /// No readable reply.
    Lost(ExchangeError),
    /// In order; with the balance if the reply has one.
    Healthy(Option<(f64, String)>),
    /// Rejected, or a reply that shows nothing.
    Rejected(Box<ProbeRejection>),
    /// It answers HTTP with this status; the request had no credential.
    Reachable(u16),
}

/// All probes of one account.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountProbes {
    pub(crate) runs: Vec<ProbeRun>,
    /// The inferred probes that the operator did not confirm.
    pub(crate) skipped: Vec<String>,
    /// How far our clock is ahead of the service's, in seconds.
    pub(crate) clock_skew: Option<i64>,
    /// Why no probe ran.
    pub(crate) not_queried: Option<&'static str>,
    /// Whether the service lists the configured sender.
    pub(crate) sender: Lists<bool>,
    /// For each configured template, whether the service has approved its text.
    pub(crate) texts: Lists<Vec<(String, Approval)>>,
    /// What is spent in a day, as the running sidecar has measured it; none: not known.
    pub(crate) daily_spend: Option<f64>,
}

impl AccountProbes {
    /// Whether a probe was not healthy.
    pub(crate) fn has_failed(&self) -> bool {
        self.runs
            .iter()
            .any(|run| !matches!(run.outcome, ProbeOutcome::Healthy(_)))
    }

    /// Whether this probe is to run: all were healthy so far, or it reads the balance of an account that was rejected
    /// for one of several causes.
    pub(crate) fn wants(&self, probe: &Probe) -> bool {
        let is_ambiguous = |run: &ProbeRun| matches!(&run.outcome, ProbeOutcome::Rejected(rejection) if !rejection.classification.alternatives.is_empty());
        !self.has_failed() || probe.has_balance() && self.runs.iter().any(is_ambiguous)
    }

    /// Adds a run. What it says about an earlier rejection narrows that one.
    pub(crate) fn add(&mut self, run: ProbeRun, evidence: Option<Evidence>) {
        let earlier = self.runs.iter_mut().find_map(|run| match &mut run.outcome {
            ProbeOutcome::Rejected(rejection) => Some(rejection),
            ProbeOutcome::Lost(_) | ProbeOutcome::Healthy(_) | ProbeOutcome::Reachable(_) => None,
        });
        if let Some((rejection, evidence)) = earlier.zip(evidence) {
            apply_evidence(&mut rejection.classification, &evidence);
            rejection.evidence.push(evidence);
        }
        self.runs.push(run);
    }
}

/// In the order in which the report shows them.
const CHECK_NAMES: [&str; 8] = [
    "clock",
    "endpoint",
    "service",
    "credential",
    "account",
    "production",
    "balance",
    "addresses",
];

/// The check that a cause belongs to.
fn check_name(cause: Cause) -> &'static str {
    match cause {
        Cause::ClockSkew => "clock",
        Cause::EndpointWrong => "endpoint",
        Cause::CredentialMissing | Cause::CredentialRejected | Cause::CredentialExpired => {
            "credential"
        }
        Cause::PermissionDenied | Cause::AccountSuspended => "account",
        Cause::SandboxMismatch => "production",
        Cause::BalanceEmpty => "balance",
        Cause::IpNotAllowed => "addresses",
        Cause::TlsUntrusted
        | Cause::SenderNotAllowed
        | Cause::TemplateNotApproved
        | Cause::RecipientInvalid
        | Cause::MessageInvalid
        | Cause::RecipientBlocked
        | Cause::Duplicate
        | Cause::Throttled
        | Cause::ProviderFault
        | Cause::Unreachable
        | Cause::Timeout
        | Cause::ReplyUnreadable
        | Cause::VaultUnavailable
        | Cause::DeniedByPolicy
        | Cause::NotTranslatable
        | Cause::NoProvider
        | Cause::Unexplained => "service",
    }
}

/// One check for each name: the first rejection under its own, the others by what the probes showed.
pub(crate) fn check_account(subject: &ProviderCheck<'_>, probes: &AccountProbes) -> Vec<Check> {
    let rejected = probes
        .runs
        .iter()
        .find_map(|run| rejection_check(subject, run));
    CHECK_NAMES
        .iter()
        .map(|&name| match &rejected {
            Some(check) if check.name == name => check.clone(),
            _ => unrejected_check(subject, name, probes, rejected.as_ref()),
        })
        .collect()
}

/// The check of a rejection; none: the probe was not rejected.
fn rejection_check(subject: &ProviderCheck<'_>, run: &ProbeRun) -> Option<Check> {
    match &run.outcome {
        ProbeOutcome::Healthy(_) | ProbeOutcome::Reachable(_) => None,
        ProbeOutcome::Rejected(rejection) if is_inconclusive(run, rejection) => None,
        ProbeOutcome::Lost(lost) => Some(connectivity::exchange_failure(
            subject,
            check_name(lost.cause()),
            lost,
        )),
        ProbeOutcome::Rejected(rejection) => {
            let cause = rejection
                .classification
                .outcome
                .cause()
                .unwrap_or(Cause::ReplyUnreadable);
            Some(subject.rejected(check_name(cause), run.kind, rejection))
        }
    }
}

/// Whether the reply proves nothing: an inferred probe need not be answered as its description says.
fn is_inconclusive(run: &ProbeRun, rejection: &ProbeRejection) -> bool {
    run.inferred
        && rejection
            .classification
            .outcome
            .cause()
            .is_none_or(|cause| cause == Cause::ReplyUnreadable)
}

fn unrejected_check(
    subject: &ProviderCheck<'_>,
    name: &'static str,
    probes: &AccountProbes,
    rejected: Option<&Check>,
) -> Check {
    let healthy = |about: Option<ProbeSubject>| {
        probes.runs.iter().find(|run| {
            matches!(run.outcome, ProbeOutcome::Healthy(_))
                && (about.is_none() || run.subject == about)
        })
    };
    let unknown = || Check::skipped(name, unknown_reason(subject, name, probes, rejected));
    if let Some(call) = inferred_endpoint(probes)
        .filter(|_| rejected.is_none() && matches!(name, "credential" | "addresses"))
    {
        return Check::skipped(
            name,
            format!(
                "the service answered {call}, but it is not documented that this proves the credential; a send does (`--send-to NUMBER`)"
            ),
        );
    }
    match name {
        "clock" => connectivity::clock_check(subject, probes.clock_skew),
        "endpoint" if subject.provider.has_retired_host() => retired_host_check(subject),
        "endpoint" => endpoint_check(subject, probes, rejected).unwrap_or_else(unknown),
        "service" => service_check(probes).unwrap_or_else(unknown),
        "credential" => credential_check(probes, rejected).unwrap_or_else(unknown),
        // A locked account has a balance too.
        "account" => healthy(Some(ProbeSubject::Account)).map_or_else(unknown, |run| {
            Check::ok(
                name,
                format!("{} shows that the account is in order", run.endpoint),
            )
        }),
        "production" => probes
            .runs
            .iter()
            .find(|run| run.detects_sandbox && matches!(run.outcome, ProbeOutcome::Healthy(_)))
            .map_or_else(unknown, |run| {
                Check::ok(
                    name,
                    format!("{} shows that this is not a test account", run.endpoint),
                )
            }),
        "balance" => balance_check(subject, probes).unwrap_or_else(unknown),
        _ => healthy(None).map_or_else(unknown, |run| {
            Check::ok(
                name,
                format!(
                    "the service answered {} from this machine; only a send shows an allowlist for sends",
                    run.endpoint
                ),
            )
        }),
    }
}

/// The endpoint of the first healthy probe, if all healthy probes are inferred.
fn inferred_endpoint(probes: &AccountProbes) -> Option<&str> {
    let mut healthy = probes
        .runs
        .iter()
        .filter(|run| matches!(run.outcome, ProbeOutcome::Healthy(_)))
        .peekable();
    let call = healthy.peek().map(|run| run.endpoint.as_str());
    call.filter(|_| healthy.all(|run| run.inferred))
}

/// Why a check is not known. A reason that holds for all checks is given once, under `credential`.
fn unknown_reason(
    subject: &ProviderCheck<'_>,
    name: &str,
    probes: &AccountProbes,
    rejected: Option<&Check>,
) -> String {
    if let Some(check) = rejected {
        return format!("not known while `{}` fails", check.name);
    }
    let dialect = &subject.provider.dialect.name;
    let answered = probes
        .runs
        .iter()
        .any(|run| matches!(run.outcome, ProbeOutcome::Healthy(_)));
    if let Some(call) = inconclusive_endpoint(probes).filter(|_| name == "credential") {
        return format!(
            "the reply to {call} proves nothing; only a send does (`--send-to NUMBER`)"
        );
    }
    match (probes.not_queried, probes.skipped.as_slice()) {
        _ if answered => format!(
            "no probe of {dialect} shows {}; only a send does (`--send-to NUMBER`)",
            unanswered_question(name)
        ),
        _ if name != "credential" => "not known; see `credential`".to_owned(),
        (Some(why), _) => why.to_owned(),
        (None, []) => format!(
            "no probe of {dialect} shows whether it is correct; only a send does (`--send-to NUMBER`)"
        ),
        (None, calls) => format!(
            "skipped: {} was never tried against this service; --yes sends it",
            calls.join(", ")
        ),
    }
}

/// The endpoint of the first probe whose reply proves nothing.
fn inconclusive_endpoint(probes: &AccountProbes) -> Option<&str> {
    let is = |run: &&ProbeRun| matches!(&run.outcome, ProbeOutcome::Rejected(rejection) if is_inconclusive(run, rejection));
    probes.runs.iter().find(is).map(|run| run.endpoint.as_str())
}

/// What stays unknown if no probe shows it.
fn unanswered_question(name: &str) -> &'static str {
    match name {
        "account" => "whether the account is locked or suspended",
        "production" => "whether this is a test account",
        "balance" => "the balance",
        "addresses" => "whether sends from this address are allowed",
        _ => "that",
    }
}

/// The service may still answer there, but has announced another address.
fn retired_host_check(subject: &ProviderCheck<'_>) -> Check {
    let (provider, today) = (subject.provider, subject.provider.dialect.base_url());
    let evidence = format!(
        "{} is an old address; {} is now at {today}",
        provider.base_url, provider.dialect.name
    );
    Check::warning(
        "endpoint",
        evidence,
        format!(
            "set providers.{}.base_url to {today}, unless the service gave this account another URL",
            provider.id
        ),
    )
}

/// Whether the service answers at this address as its dialect describes.
fn endpoint_check(
    subject: &ProviderCheck<'_>,
    probes: &AccountProbes,
    rejected: Option<&Check>,
) -> Option<Check> {
    let provider = subject.provider;
    let own = if provider.base_url.trim_end_matches('/') == provider.dialect.base_url() {
        format!(
            "{} is the address of {}",
            provider.base_url, provider.dialect.name
        )
    } else {
        format!(
            "{} in place of {}",
            provider.base_url,
            provider.dialect.base_url()
        )
    };
    // Only the service itself rejects by its own rules; a lost reply shows nothing.
    let by_rules = rejected.is_some_and(|check| check.name != "service");
    let spoke = probes.runs.iter().any(|run| match &run.outcome {
        ProbeOutcome::Healthy(_) => true,
        ProbeOutcome::Rejected(..) => by_rules,
        ProbeOutcome::Lost(_) | ProbeOutcome::Reachable(_) => false,
    });
    spoke.then(|| {
        Check::ok(
            "endpoint",
            format!("{own}; it answers as its dialect describes"),
        )
    })
}

fn service_check(probes: &AccountProbes) -> Option<Check> {
    probes.runs.iter().find_map(|run| match &run.outcome {
        ProbeOutcome::Healthy(_) | ProbeOutcome::Rejected(..) => Some(Check::ok(
            "service",
            format!("{} was answered", run.endpoint),
        )),
        ProbeOutcome::Reachable(status) => Some(Check::ok(
            "service",
            format!("it answers HTTP requests (status {status} without a credential)"),
        )),
        ProbeOutcome::Lost(_) => None,
    })
}

/// A service that answers about the balance or a lock knows the credential.
fn credential_check(probes: &AccountProbes, rejected: Option<&Check>) -> Option<Check> {
    let healthy = probes
        .runs
        .iter()
        .find(|run| matches!(run.outcome, ProbeOutcome::Healthy(_)));
    if let Some(run) = healthy {
        return Some(Check::ok(
            "credential",
            format!("{} was answered with it", run.endpoint),
        ));
    }
    let known = |check: &&Check| {
        let knows = |cause: Cause| {
            matches!(cause.concern(), Concern::Account)
                && !matches!(check_name(cause), "endpoint" | "clock" | "service")
        };
        check.cause.is_some_and(knows)
            && check.cause != Some(Cause::IpNotAllowed)
            && check.alternatives.is_empty()
    };
    let check = rejected.filter(known)?;
    Some(Check::ok(
        "credential",
        format!(
            "the service accepts it: it reported {}",
            check.cause.map_or("the account", Cause::as_str)
        ),
    ))
}

fn balance_check(subject: &ProviderCheck<'_>, probes: &AccountProbes) -> Option<Check> {
    /// Less is a warning: a payment needs days to arrive.
    const MIN_DAYS_LEFT: f64 = 7.0;
    let (left, unit) = probes.runs.iter().find_map(|run| match &run.outcome {
        ProbeOutcome::Healthy(balance) => balance.as_ref(),
        ProbeOutcome::Lost(_) | ProbeOutcome::Rejected(..) | ProbeOutcome::Reachable(_) => None,
    })?;
    let money = format!("{left} {unit}").trim_end().to_owned();
    let Some(spent) = probes.daily_spend.filter(|spent| *spent > 0.0) else {
        return Some(Check::ok(
            "balance",
            format!(
                "{money} left; how long it lasts is not known: no running sidecar has measured the spending"
            ),
        ));
    };
    let days = left / spent;
    let evidence = format!("{money} left, about {days:.1} days at {spent:.2} a day");
    if days < MIN_DAYS_LEFT {
        return Some(Check::warning(
            "balance",
            evidence,
            format!("top up the {} account soon", subject.provider.dialect.name),
        ));
    }
    Some(Check::ok("balance", evidence))
}

#[cfg(test)]
mod tests;
