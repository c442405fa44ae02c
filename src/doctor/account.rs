//! What a service's free answers say about the account, each under the check it concerns: the address,
//! the credential, the account, production or sandbox, the money, the list of addresses. Pure: the
//! questions were asked elsewhere. What no answer tells is said to be not known, never assumed.

use crate::diagnosis::Evidence;
use crate::dialect::{Approval, Classification, ProbeSubject};
use crate::doctor::check::Check;
use crate::doctor::connectivity;
use crate::doctor::provider_check::ProviderCheck;
use crate::doctor::texts::ListingOutcome as Lists;
use crate::net::upstream::ExchangeError;
use crate::sms::{AttemptKind, Cause, Concern};

/// One question and what was heard.
#[derive(Clone, Debug)]
pub(crate) struct ProbeRun {
    pub(crate) kind: AttemptKind,
    /// None for a login, and for a bare look at the address.
    pub(crate) subject: Option<ProbeSubject>,
    /// `GET /path`.
    pub(crate) endpoint: String,
    pub(crate) outcome: ProbeOutcome,
    /// It could have said that this is a test account.
    pub(crate) detects_sandbox: bool,
    /// Nobody has seen yet what its answers are worth.
    pub(crate) inferred: bool,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) enum ProbeOutcome {
    /// No readable reply.
    Lost(ExchangeError),
    /// In order, with the money that is left where it says so.
    Healthy(Option<(f64, String)>),
    /// Refused, or an answer that says nothing.
    Rejected(Box<ProbeRejection>),
    /// It answers HTTP; nothing was asked.
    Reachable(u16),
}

/// An answer that is no yes.
#[derive(Clone, Debug)]
pub(crate) struct ProbeRejection {
    /// Narrowed by what was learned.
    pub(crate) classification: Classification,
    pub(crate) status: u16,
    /// What narrowed it: the date, an address it names, the token's own words.
    pub(crate) evidence: Vec<Evidence>,
}

/// All that was asked of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccountProbes {
    pub(crate) runs: Vec<ProbeRun>,
    /// Questions that were never seen to work and that nobody agreed to.
    pub(crate) skipped: Vec<String>,
    /// How far our clock is ahead of the service's.
    pub(crate) clock_skew: Option<i64>,
    /// Why the account could not be asked at all.
    pub(crate) not_queried: Option<&'static str>,
    /// Whether the service lists the configured sender.
    pub(crate) sender: Lists<bool>,
    /// How the service has each of the configured texts.
    pub(crate) texts: Lists<Vec<(String, Approval)>>,
    /// What is spent in a day, as the running sidecar has seen; none: not known.
    pub(crate) daily_spend: Option<f64>,
}

/// In the order in which they are shown.
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

/// One check for each name: the one refusal where it belongs, the rest by evidence.
pub(crate) fn check_account(patient: &ProviderCheck<'_>, answers: &AccountProbes) -> Vec<Check> {
    let refused = answers
        .runs
        .iter()
        .find_map(|asked| rejection_check(patient, asked));
    CHECK_NAMES
        .iter()
        .map(|&name| match &refused {
            Some(check) if check.name == name => check.clone(),
            _ => unrejected_check(patient, name, answers, refused.as_ref()),
        })
        .collect()
}

/// What one answer refuses, under the check that it concerns.
fn rejection_check(patient: &ProviderCheck<'_>, asked: &ProbeRun) -> Option<Check> {
    match &asked.outcome {
        ProbeOutcome::Healthy(_) | ProbeOutcome::Reachable(_) => None,
        ProbeOutcome::Rejected(refusal) if is_inconclusive(asked, refusal) => None,
        ProbeOutcome::Lost(lost) => {
            let (ExchangeError::Unsent { cause, .. } | ExchangeError::Unknown { cause, .. }) = lost;
            Some(connectivity::exchange_failure(
                patient,
                check_name(*cause),
                lost,
            ))
        }
        ProbeOutcome::Rejected(refusal) => {
            let cause = refusal
                .classification
                .outcome
                .cause()
                .unwrap_or(Cause::ReplyUnreadable);
            Some(patient.rejected(check_name(cause), asked.kind, refusal))
        }
    }
}

/// What nobody has seen work need not answer as its description says: that proves nothing wrong.
fn is_inconclusive(asked: &ProbeRun, refusal: &ProbeRejection) -> bool {
    asked.inferred
        && refusal
            .classification
            .outcome
            .cause()
            .is_none_or(|cause| cause == Cause::ReplyUnreadable)
}

fn unrejected_check(
    patient: &ProviderCheck<'_>,
    name: &'static str,
    answers: &AccountProbes,
    refused: Option<&Check>,
) -> Check {
    let alive = |asks: Option<ProbeSubject>| {
        answers.runs.iter().find(|asked| {
            matches!(asked.outcome, ProbeOutcome::Healthy(_))
                && (asks.is_none() || asked.subject == asks)
        })
    };
    let unknown = || Check::skipped(name, unknown_reason(patient, name, answers, refused));
    if let Some(call) = inferred_endpoint(answers)
        .filter(|_| refused.is_none() && matches!(name, "credential" | "addresses"))
    {
        return Check::skipped(
            name,
            format!(
                "{call} was answered with it; that this proves anything was never seen, a send does (`--send-to NUMBER`)"
            ),
        );
    }
    match name {
        "clock" => connectivity::clock_check(patient, answers.clock_skew),
        "endpoint" if patient.has_retired_host() => retired_host_check(patient),
        "endpoint" => endpoint_check(patient, answers, refused).unwrap_or_else(unknown),
        "service" => service_check(answers).unwrap_or_else(unknown),
        "credential" => credential_check(answers, refused).unwrap_or_else(unknown),
        // A balance is told of a locked account too.
        "account" => alive(Some(ProbeSubject::Account))
            .map_or_else(unknown, |asked| Check::ok(name, format!("{} was answered as for an account in order", asked.endpoint))),
        "production" => answers
            .runs
            .iter()
            .find(|asked| asked.detects_sandbox && matches!(asked.outcome, ProbeOutcome::Healthy(_)))
            .map_or_else(unknown, |asked| Check::ok(name, format!("{} says that this is no test account", asked.endpoint))),
        "balance" => balance_check(patient, answers).unwrap_or_else(unknown),
        _ => alive(None).map_or_else(unknown, |asked| {
            Check::ok(name, format!("{} from this machine was answered; a list for sends alone would show only in a send", asked.endpoint))
        }),
    }
}

/// The call that was answered, where no answer came but to questions that nobody has seen prove anything.
fn inferred_endpoint(answers: &AccountProbes) -> Option<&str> {
    let mut alive = answers
        .runs
        .iter()
        .filter(|asked| matches!(asked.outcome, ProbeOutcome::Healthy(_)))
        .peekable();
    let call = alive.peek().map(|asked| asked.endpoint.as_str());
    call.filter(|_| alive.all(|asked| asked.inferred))
}

/// Why a check has no answer; what holds for all of them is said once, where one looks first.
fn unknown_reason(
    patient: &ProviderCheck<'_>,
    name: &str,
    answers: &AccountProbes,
    refused: Option<&Check>,
) -> String {
    if let Some(check) = refused {
        return format!("not known while `{}` is not in order", check.name);
    }
    let dialect = &patient.provider.dialect.name;
    let answered = answers
        .runs
        .iter()
        .any(|asked| matches!(asked.outcome, ProbeOutcome::Healthy(_)));
    if let Some(call) = inconclusive_endpoint(answers).filter(|_| name == "credential") {
        return format!(
            "{call} was answered in a way that tells nothing; only a send does (`--send-to NUMBER`)"
        );
    }
    match (answers.not_queried, answers.skipped.as_slice()) {
        _ if answered => format!(
            "no free call of {dialect} tells {}; only a send does (`--send-to NUMBER`)",
            unanswered_question(name)
        ),
        _ if name != "credential" => "not known, as `credential` says".to_owned(),
        (Some(why), _) => why.to_owned(),
        (None, []) => format!(
            "no free call of {dialect} tells whether it is right; only a send does (`--send-to NUMBER`)"
        ),
        (None, calls) => format!(
            "left out: {} was never seen to work there, so it is asked with --yes only",
            calls.join(", ")
        ),
    }
}

/// The call whose answer nobody can read, and was never promised to.
fn inconclusive_endpoint(answers: &AccountProbes) -> Option<&str> {
    let is = |asked: &&ProbeRun| matches!(&asked.outcome, ProbeOutcome::Rejected(refusal) if is_inconclusive(asked, refusal));
    answers
        .runs
        .iter()
        .find(is)
        .map(|asked| asked.endpoint.as_str())
}

/// What is left open where no free call tells.
fn unanswered_question(name: &str) -> &'static str {
    match name {
        "account" => "whether the account is locked or suspended",
        "production" => "whether this is a test account",
        "balance" => "whether money is left",
        "addresses" => "whether sends from this address are allowed",
        _ => "that",
    }
}

/// It may answer there still, and need not tomorrow.
fn retired_host_check(patient: &ProviderCheck<'_>) -> Check {
    let (provider, today) = (patient.provider, patient.provider.dialect.base_url());
    let evidence = format!(
        "{} is an address that {} has left for {today}",
        provider.base_url, provider.dialect.name
    );
    Check::warning(
        "endpoint",
        evidence,
        format!(
            "set providers.{}.base_url to {today}, unless this account was given another",
            provider.id
        ),
    )
}

/// The address answers as the description says it does.
fn endpoint_check(
    patient: &ProviderCheck<'_>,
    answers: &AccountProbes,
    refused: Option<&Check>,
) -> Option<Check> {
    let provider = patient.provider;
    let own = if provider.base_url.trim_end_matches('/') == provider.dialect.base_url() {
        format!(
            "{} is where {} is today",
            provider.base_url, provider.dialect.name
        )
    } else {
        format!(
            "{} in place of {}",
            provider.base_url,
            provider.dialect.base_url()
        )
    };
    // Whoever refuses by its own rules is the service; a lost reply says nothing.
    let by_rules = refused.is_some_and(|check| check.name != "service");
    let spoke = answers.runs.iter().any(|asked| match &asked.outcome {
        ProbeOutcome::Healthy(_) => true,
        ProbeOutcome::Rejected(..) => by_rules,
        ProbeOutcome::Lost(_) | ProbeOutcome::Reachable(_) => false,
    });
    spoke.then(|| {
        Check::ok(
            "endpoint",
            format!("{own}; it answers as its description says"),
        )
    })
}

fn service_check(answers: &AccountProbes) -> Option<Check> {
    answers.runs.iter().find_map(|asked| match &asked.outcome {
        ProbeOutcome::Healthy(_) | ProbeOutcome::Rejected(..) => Some(Check::ok(
            "service",
            format!("{} was answered", asked.endpoint),
        )),
        ProbeOutcome::Reachable(status) => Some(Check::ok(
            "service",
            format!("it answers HTTP (a bare request was answered {status})"),
        )),
        ProbeOutcome::Lost(_) => None,
    })
}

/// Whoever is answered about money or a lock was known by this credential.
fn credential_check(answers: &AccountProbes, refused: Option<&Check>) -> Option<Check> {
    let alive = answers
        .runs
        .iter()
        .find(|asked| matches!(asked.outcome, ProbeOutcome::Healthy(_)));
    if let Some(asked) = alive {
        return Some(Check::ok(
            "credential",
            format!("{} was answered with it", asked.endpoint),
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
    let check = refused.filter(known)?;
    Some(Check::ok(
        "credential",
        format!(
            "the service knew it: it spoke of {}",
            check.cause.map_or("the account", Cause::as_str)
        ),
    ))
}

fn balance_check(patient: &ProviderCheck<'_>, answers: &AccountProbes) -> Option<Check> {
    /// Less than a week is worth a word: money needs days to arrive.
    const MIN_DAYS_LEFT: f64 = 7.0;
    let (left, unit) = answers.runs.iter().find_map(|asked| match &asked.outcome {
        ProbeOutcome::Healthy(balance) => balance.as_ref(),
        ProbeOutcome::Lost(_) | ProbeOutcome::Rejected(..) | ProbeOutcome::Reachable(_) => None,
    })?;
    let money = format!("{left} {unit}").trim_end().to_owned();
    let Some(spent) = answers.daily_spend.filter(|spent| *spent > 0.0) else {
        return Some(Check::ok(
            "balance",
            format!(
                "{money} left; how many days it lasts is not known: no running sidecar has seen it fall"
            ),
        ));
    };
    let days = left / spent;
    let evidence =
        format!("{money} left, about {days:.1} days at today's pace of {spent:.2} a day");
    if days < MIN_DAYS_LEFT {
        return Some(Check::warning(
            "balance",
            evidence,
            format!("top up the {} account soon", patient.provider.dialect.name),
        ));
    }
    Some(Check::ok("balance", evidence))
}

#[cfg(test)]
mod tests;
