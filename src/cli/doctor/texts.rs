//! Sender and approved texts: what the config sets, beside what the service lists for the account. A service
//! that lists nothing is said to; then only a send shows whether it takes them.

use crate::cli::doctor::check::Check;
use crate::cli::doctor::patient::Patient;
use crate::dialect::Approval;
use crate::policy::TextTemplate;
use crate::sms::{Cause, Certainty, Msisdn};

/// What was heard about a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Heard<T> {
    /// Nothing was asked: there is nothing to compare, or the account was not in order before.
    #[default]
    Unasked,
    /// The service has no such list, or not of this kind.
    Untold,
    /// The call was made, and its answer lists nothing.
    Silent(String),
    /// What it lists, and the call.
    Told(T, String),
}

/// A sender of a test mode sends nothing, and one that the service does not list is refused. A list may be behind
/// what was approved, so that is never certain.
pub(super) fn sender(patient: &Patient<'_>, listed: &Heard<bool>) -> Check {
    let (provider, dialect) = (patient.provider, &patient.provider.dialect.name);
    let Some(sender) = &provider.sender else {
        return Check::skipped("sender", "what the backend writes is used, so there is nothing to check here");
    };
    if provider.dialect.test_senders().contains(sender) {
        let check = patient.ours("sender", Cause::SandboxMismatch, "the sender is a number of the service's test mode: it sends nothing");
        // It is the sender that is meant for tests, whatever the credential is.
        return Check { remedy: patient.ours("sender", Cause::SenderNotAllowed, "").remedy, ..check };
    }
    let shown = Msisdn::parse(sender).map_or_else(|_| format!("“{sender}”"), |number| number.to_string());
    let skipped = |why: String| Check::skipped("sender", format!("{shown} is set; {why}"));
    match listed {
        Heard::Told(true, call) => Check::ok("sender", format!("{shown} is among those that {call} lists for the account")),
        Heard::Told(false, call) => {
            let says = format!("{shown} is not among those that {call} lists for the account");
            Check { certainty: Some(Certainty::Likely), ..patient.ours("sender", Cause::SenderNotAllowed, &says) }
        }
        Heard::Silent(call) => skipped(format!("{call} did not tell whether it is registered; a send does (`--send-to NUMBER`)")),
        Heard::Untold if provider.dialect.sender_probe().is_some() => {
            skipped(format!("{dialect} lists numbers alone, so whether it is registered shows only in a send (`--send-to NUMBER`)"))
        }
        Heard::Untold => skipped(format!("{dialect} does not tell whether it is registered; only a send does (`--send-to NUMBER`)")),
        Heard::Unasked => skipped("whether it is registered was not asked, because of what stands above".to_owned()),
    }
}

/// The words in which each of the backend's texts goes to this provider; none for one that it is not sent, or
/// that a number stands for.
pub(super) fn worded<'a>(patient: &Patient<'_>, templates: &'a [TextTemplate]) -> Vec<(&'a str, &'a str)> {
    let provider = patient.provider;
    let names = names(patient);
    let wording = |template: &'a TextTemplate| {
        let own = names.iter().find_map(|name| template.texts.get(*name));
        let as_written = !provider.templates_only && !names.iter().any(|name| template.ids.contains_key(*name));
        own.or_else(|| as_written.then_some(&template.text)).map(|text| (template.name.as_str(), text.as_str()))
    };
    templates.iter().filter_map(wording).collect()
}

fn names<'a>(patient: &Patient<'a>) -> [&'a str; 2] {
    [patient.provider.id.as_str(), patient.provider.dialect.name.as_str()]
}

/// Which of the backend's texts this provider can carry, and which of them the service has approved.
pub(super) fn template(patient: &Patient<'_>, templates: &[TextTemplate], listed: &Heard<Vec<(String, Approval)>>) -> Check {
    let check = configured(patient, templates);
    if check.remedy.is_some() && check.cause.is_some() {
        return check;
    }
    let dialect = &patient.provider.dialect.name;
    let with = |said: String| Check { evidence: format!("{}; {said}", check.evidence), ..check.clone() };
    match listed {
        Heard::Told(states, call) => approved(patient, templates, (states, call), &check),
        Heard::Silent(call) => with(format!("{call} did not tell whether they are approved")),
        Heard::Untold if check == unworded() => with(format!("{dialect} does not tell which texts it would refuse")),
        Heard::Untold => with(format!("{dialect} does not tell whether they are approved; only a send does (`--send-to NUMBER`)")),
        Heard::Unasked => check,
    }
}

/// How each of the texts stands, by its name.
type States = [(String, Approval)];

/// What the service's list says of each.
fn approved(patient: &Patient<'_>, templates: &[TextTemplate], (states, call): (&States, &str), otherwise: &Check) -> Check {
    let words = |state: Approval| match state {
        Approval::Approved => "is approved",
        Approval::Pending => "waits for approval",
        Approval::Rejected => "was rejected",
        Approval::Alike => "is like one that is approved, with fixed words where it has holes: another word there may be refused",
        Approval::Odd => "stands in a state that the description does not know",
        Approval::Unlisted => "is not among the texts there",
    };
    let told = |wanted: &dyn Fn(Approval) -> bool| -> Vec<String> {
        states.iter().filter(|(_, state)| wanted(*state)).map(|(name, state)| format!("{name} {}", words(*state))).collect()
    };
    let wrong = told(&|state| matches!(state, Approval::Pending | Approval::Rejected | Approval::Unlisted));
    let odd = told(&|state| matches!(state, Approval::Alike | Approval::Odd));
    if !wrong.is_empty() {
        let is_partial = wrong.len() < states.len() || goes_by_number(patient, templates);
        let check = patient.ours("template", Cause::TemplateNotApproved, &format!("by {call}, {}", wrong.join("; ")));
        // Somebody's no is a no; a text that is missing may be spelled in a way that was not seen yet.
        let sure = states.iter().any(|(_, state)| matches!(state, Approval::Pending | Approval::Rejected));
        return Check { certainty: if sure { check.certainty } else { Some(Certainty::Likely) }, is_partial, ..check };
    }
    let all: Vec<&str> = states.iter().map(|(name, _)| name.as_str()).collect();
    let evidence = match (otherwise.remedy.is_some(), odd.as_slice()) {
        (true, []) => format!("{}; those that go are approved, by {call}", otherwise.evidence),
        (true, odd) => format!("{}; by {call}, {}", otherwise.evidence, odd.join("; ")),
        (false, []) => format!("by {call}, approved: {}", all.join(", ")),
        (false, odd) => format!("by {call}, {}", odd.join("; ")),
    };
    match (otherwise.remedy.is_some(), odd.is_empty()) {
        (true, _) => Check { evidence, ..otherwise.clone() },
        (false, true) => Check::ok("template", evidence),
        (false, false) => Check::skipped("template", evidence),
    }
}

/// Whether some text goes as a number, which no list of texts speaks of.
fn goes_by_number(patient: &Patient<'_>, templates: &[TextTemplate]) -> bool {
    let worded = worded(patient, templates);
    let unlisted = |template: &&TextTemplate| worded.iter().all(|(name, _)| *name != &*template.name);
    templates.iter().filter(unlisted).any(|template| names(patient).iter().any(|name| template.ids.contains_key(*name)))
}

fn unworded() -> Check {
    Check::skipped("template", "texts go as the backend writes them; the config names no approved form for this provider")
}

/// As far as the config tells.
fn configured(patient: &Patient<'_>, templates: &[TextTemplate]) -> Check {
    let provider = patient.provider;
    let names = names(patient);
    let has = |template: &&TextTemplate| names.iter().any(|name| template.texts.contains_key(*name) || template.ids.contains_key(*name));
    let (with, without): (Vec<&TextTemplate>, Vec<&TextTemplate>) = templates.iter().partition(has);
    let listed = |templates: &[&TextTemplate]| templates.iter().map(|template| template.name.as_str()).collect::<Vec<_>>().join(", ");
    match (provider.templates_only, with.as_slice(), without.as_slice()) {
        (false, [], _) => unworded(),
        (true, [], _) => {
            patient.ours("template", Cause::TemplateNotApproved, "it takes approved texts only, and the config has none for it")
        }
        (_, with, []) => Check::ok("template", format!("{}: the config has the approved form of each", listed(with))),
        (false, with, without) => {
            Check::ok("template", format!("{} go as approved, {} as the backend writes them", listed(with), listed(without)))
        }
        (true, _, without) => Check::warning(
            "template",
            format!("{} have no approved form here: such a message passes this provider over", listed(without)),
            format!("write each as {} has approved it, under texts.{} of its [templates.NAME]", provider.dialect.name, provider.id),
        ),
    }
}

#[cfg(test)]
mod tests;
