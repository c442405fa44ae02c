//! What a service's free answers say about the account, each under the check it concerns: the address,
//! the credential, the account, production or sandbox, the money, the list of addresses. Pure: the
//! questions were asked elsewhere. What no answer tells is said to be not known, never assumed.

use crate::cli::doctor::check::Check;
use crate::cli::doctor::patient::Patient;
use crate::cli::doctor::texts::Heard as Lists;
use crate::cli::doctor::way;
use crate::diagnosis::Learned;
use crate::dialect::{Approval, Asks, Finding};
use crate::net::upstream::Lost;
use crate::sms::{Cause, Concern, Kind};

/// One question and what was heard.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    /// None for a login, and for a bare look at the address.
    pub(super) asks: Option<Asks>,
    /// `GET /path`.
    pub(super) call: String,
    pub(super) heard: Heard,
    /// It could have said that this is a test account.
    pub(super) tells_sandbox: bool,
    /// Nobody has seen yet what its answers are worth.
    pub(super) guess: bool,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// No readable reply.
    Lost(Lost),
    /// In order, with the money that is left where it says so.
    Alive(Option<(f64, String)>),
    /// Refused, or an answer that says nothing.
    Refused(Box<Refusal>),
    /// It answers HTTP; nothing was asked.
    Answers(u16),
}

/// An answer that is no yes.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Narrowed by what was learned.
    pub(super) finding: Finding,
    pub(super) status: u16,
    /// What narrowed it: the date, an address it names, the token's own words.
    pub(super) learned: Vec<Learned>,
}

/// All that was asked of one service.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) asked: Vec<Asked>,
    /// Questions that were never seen to work and that nobody agreed to.
    pub(super) left_out: Vec<String>,
    /// How far our clock is ahead of the service's.
    pub(super) skew: Option<i64>,
    /// Why the account could not be asked at all.
    pub(super) not_asked: Option<&'static str>,
    /// Whether the service lists the configured sender.
    pub(super) sender: Lists<bool>,
    /// How the service has each of the configured texts.
    pub(super) texts: Lists<Vec<(String, Approval)>>,
    /// What is spent in a day, as the running sidecar has seen; none: not known.
    pub(super) spent: Option<f64>,
}

/// In the order in which they are shown.
const NAMES: [&str; 8] = ["clock", "endpoint", "service", "credential", "account", "production", "balance", "addresses"];

/// The check that a cause belongs to.
fn place(cause: Cause) -> &'static str {
    match cause {
        Cause::ClockSkew => "clock",
        Cause::EndpointWrong => "endpoint",
        Cause::CredentialMissing | Cause::CredentialRejected | Cause::CredentialExpired => "credential",
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
        | Cause::RefusedByPolicy
        | Cause::NotTranslatable
        | Cause::NoProvider
        | Cause::Unexplained => "service",
    }
}

/// One check for each name: the one refusal where it belongs, the rest by evidence.
pub(super) fn judge(patient: &Patient<'_>, answers: &Answers) -> Vec<Check> {
    let refused = answers.asked.iter().find_map(|asked| refusal(patient, asked));
    NAMES
        .iter()
        .map(|&name| match &refused {
            Some(check) if check.name == name => check.clone(),
            _ => unrefused(patient, name, answers, refused.as_ref()),
        })
        .collect()
}

/// What one answer refuses, under the check that it concerns.
fn refusal(patient: &Patient<'_>, asked: &Asked) -> Option<Check> {
    match &asked.heard {
        Heard::Alive(_) | Heard::Answers(_) => None,
        Heard::Refused(refusal) if is_no_answer(asked, refusal) => None,
        Heard::Lost(lost) => {
            let (Lost::Unsent { cause, .. } | Lost::Unknown { cause, .. }) = lost;
            Some(way::lost_at(patient, place(*cause), lost))
        }
        Heard::Refused(refusal) => {
            let cause = refusal.finding.outcome.cause().unwrap_or(Cause::ReplyUnreadable);
            Some(patient.refused(place(cause), asked.kind, refusal))
        }
    }
}

/// What nobody has seen work need not answer as its description says: that proves nothing wrong.
fn is_no_answer(asked: &Asked, refusal: &Refusal) -> bool {
    asked.guess && refusal.finding.outcome.cause().is_none_or(|cause| cause == Cause::ReplyUnreadable)
}

fn unrefused(patient: &Patient<'_>, name: &'static str, answers: &Answers, refused: Option<&Check>) -> Check {
    let alive = |asks: Option<Asks>| {
        answers.asked.iter().find(|asked| matches!(asked.heard, Heard::Alive(_)) && (asks.is_none() || asked.asks == asks))
    };
    let unknown = || Check::skipped(name, not_known(patient, name, answers, refused));
    if let Some(call) = guessed(answers).filter(|_| refused.is_none() && matches!(name, "credential" | "addresses")) {
        return Check::skipped(
            name,
            format!("{call} was answered with it; that this proves anything was never seen, a send does (`--send-to NUMBER`)"),
        );
    }
    match name {
        "clock" => way::clock(patient, answers.skew),
        "endpoint" if patient.has_left() => left(patient),
        "endpoint" => endpoint(patient, answers, refused).unwrap_or_else(unknown),
        "service" => service(answers).unwrap_or_else(unknown),
        "credential" => credential(answers, refused).unwrap_or_else(unknown),
        // A balance is told of a locked account too.
        "account" => alive(Some(Asks::Account))
            .map_or_else(unknown, |asked| Check::ok(name, format!("{} was answered as for an account in order", asked.call))),
        "production" => answers
            .asked
            .iter()
            .find(|asked| asked.tells_sandbox && matches!(asked.heard, Heard::Alive(_)))
            .map_or_else(unknown, |asked| Check::ok(name, format!("{} says that this is no test account", asked.call))),
        "balance" => balance(patient, answers).unwrap_or_else(unknown),
        _ => alive(None).map_or_else(unknown, |asked| {
            Check::ok(name, format!("{} from this machine was answered; a list for sends alone would show only in a send", asked.call))
        }),
    }
}

/// The call that was answered, where no answer came but to questions that nobody has seen prove anything.
fn guessed(answers: &Answers) -> Option<&str> {
    let mut alive = answers.asked.iter().filter(|asked| matches!(asked.heard, Heard::Alive(_))).peekable();
    let call = alive.peek().map(|asked| asked.call.as_str());
    call.filter(|_| alive.all(|asked| asked.guess))
}

/// Why a check has no answer; what holds for all of them is said once, where one looks first.
fn not_known(patient: &Patient<'_>, name: &str, answers: &Answers, refused: Option<&Check>) -> String {
    if let Some(check) = refused {
        return format!("not known while `{}` is not in order", check.name);
    }
    let dialect = &patient.provider.dialect.name;
    let answered = answers.asked.iter().any(|asked| matches!(asked.heard, Heard::Alive(_)));
    if let Some(call) = unread(answers).filter(|_| name == "credential") {
        return format!("{call} was answered in a way that tells nothing; only a send does (`--send-to NUMBER`)");
    }
    match (answers.not_asked, answers.left_out.as_slice()) {
        _ if answered => format!("no free call of {dialect} tells {}; only a send does (`--send-to NUMBER`)", open_question(name)),
        _ if name != "credential" => "not known, as `credential` says".to_owned(),
        (Some(why), _) => why.to_owned(),
        (None, []) => format!("no free call of {dialect} tells whether it is right; only a send does (`--send-to NUMBER`)"),
        (None, calls) => format!("left out: {} was never seen to work there, so it is asked with --yes only", calls.join(", ")),
    }
}

/// The call whose answer nobody can read, and was never promised to.
fn unread(answers: &Answers) -> Option<&str> {
    let is = |asked: &&Asked| matches!(&asked.heard, Heard::Refused(refusal) if is_no_answer(asked, refusal));
    answers.asked.iter().find(is).map(|asked| asked.call.as_str())
}

/// What is left open where no free call tells.
fn open_question(name: &str) -> &'static str {
    match name {
        "account" => "whether the account is locked or suspended",
        "production" => "whether this is a test account",
        "balance" => "whether money is left",
        "addresses" => "whether sends from this address are allowed",
        _ => "that",
    }
}

/// It may answer there still, and need not tomorrow.
fn left(patient: &Patient<'_>) -> Check {
    let (provider, today) = (patient.provider, patient.provider.dialect.base_url());
    let evidence = format!("{} is an address that {} has left for {today}", provider.base_url, provider.dialect.name);
    Check::warning(
        "endpoint",
        evidence,
        format!("set providers.{}.base_url to {today}, unless this account was given another", provider.id),
    )
}

/// The address answers as the description says it does.
fn endpoint(patient: &Patient<'_>, answers: &Answers, refused: Option<&Check>) -> Option<Check> {
    let provider = patient.provider;
    let own = if provider.base_url.trim_end_matches('/') == provider.dialect.base_url() {
        format!("{} is where {} is today", provider.base_url, provider.dialect.name)
    } else {
        format!("{} in place of {}", provider.base_url, provider.dialect.base_url())
    };
    // Whoever refuses by its own rules is the service; a lost reply says nothing.
    let by_rules = refused.is_some_and(|check| check.name != "service");
    let spoke = answers.asked.iter().any(|asked| match &asked.heard {
        Heard::Alive(_) => true,
        Heard::Refused(..) => by_rules,
        Heard::Lost(_) | Heard::Answers(_) => false,
    });
    spoke.then(|| Check::ok("endpoint", format!("{own}; it answers as its description says")))
}

fn service(answers: &Answers) -> Option<Check> {
    answers.asked.iter().find_map(|asked| match &asked.heard {
        Heard::Alive(_) | Heard::Refused(..) => Some(Check::ok("service", format!("{} was answered", asked.call))),
        Heard::Answers(status) => Some(Check::ok("service", format!("it answers HTTP (a bare request was answered {status})"))),
        Heard::Lost(_) => None,
    })
}

/// Whoever is answered about money or a lock was known by this credential.
fn credential(answers: &Answers, refused: Option<&Check>) -> Option<Check> {
    let alive = answers.asked.iter().find(|asked| matches!(asked.heard, Heard::Alive(_)));
    if let Some(asked) = alive {
        return Some(Check::ok("credential", format!("{} was answered with it", asked.call)));
    }
    let known = |check: &&Check| {
        let knows = |cause: Cause| matches!(cause.concern(), Concern::Account) && !matches!(place(cause), "endpoint" | "clock" | "service");
        check.cause.is_some_and(knows) && check.cause != Some(Cause::IpNotAllowed) && check.alternatives.is_empty()
    };
    let check = refused.filter(known)?;
    Some(Check::ok("credential", format!("the service knew it: it spoke of {}", check.cause.map_or("the account", Cause::as_str))))
}

fn balance(patient: &Patient<'_>, answers: &Answers) -> Option<Check> {
    /// Less than a week is worth a word: money needs days to arrive.
    const FEW: f64 = 7.0;
    let (left, unit) = answers.asked.iter().find_map(|asked| match &asked.heard {
        Heard::Alive(balance) => balance.as_ref(),
        Heard::Lost(_) | Heard::Refused(..) | Heard::Answers(_) => None,
    })?;
    let money = format!("{left} {unit}").trim_end().to_owned();
    let Some(spent) = answers.spent.filter(|spent| *spent > 0.0) else {
        return Some(Check::ok(
            "balance",
            format!("{money} left; how many days it lasts is not known: no running sidecar has seen it fall"),
        ));
    };
    let days = left / spent;
    let evidence = format!("{money} left, about {days:.1} days at today's pace of {spent:.2} a day");
    if days < FEW {
        return Some(Check::warning("balance", evidence, format!("top up the {} account soon", patient.provider.dialect.name)));
    }
    Some(Check::ok("balance", evidence))
}

#[cfg(test)]
mod tests;
