//! Sender and approved texts: what the config sets, beside what the service lists for the account. A service
//! that lists nothing is said to; then only a send shows whether it takes them.

use crate::dialect::Approval;
use crate::doctor::check::Check;
use crate::doctor::provider_check::ProviderCheck;
use crate::policy::TextTemplate;
use crate::sms::{Cause, Certainty, Msisdn};

/// The result of requesting a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListingOutcome<T> {
    /// Not requested: there is nothing to compare, or an earlier check of the account failed.
    #[default]
    NotQueried,
    /// The service has no such list, or not of this kind.
    Unsupported,
    /// The reply lists nothing.
    Unreadable(String),
    /// The listed items, and the request.
    Listed(T, String),
}

/// A sender of a test mode sends nothing, and one that the service does not list is rejected. A list may be behind
/// what was approved, so that is never certain.
pub(crate) fn sender_check(subject: &ProviderCheck<'_>, listed: &ListingOutcome<bool>) -> Check {
    let (provider, dialect) = (subject.provider, &subject.provider.dialect.name);
    let Some(sender) = &provider.sender else {
        return Check::skipped(
            "sender",
            "the backend's own sender is used, so there is nothing to check here",
        );
    };
    if provider.dialect.test_senders().contains(sender) {
        let check = subject.local_failure(
            "sender",
            Cause::SandboxMismatch,
            "the sender is a number of the service's test mode, which delivers nothing",
        );
        // It is the sender that is meant for tests, whatever the credential is.
        return Check {
            remedy: subject
                .local_failure("sender", Cause::SenderNotAllowed, "")
                .remedy,
            ..check
        };
    }
    let shown =
        Msisdn::parse(sender).map_or_else(|_| format!("“{sender}”"), |number| number.to_string());
    let skipped = |why: String| Check::skipped("sender", format!("{shown} is set; {why}"));
    match listed {
        ListingOutcome::Listed(true, call) => Check::ok(
            "sender",
            format!("{shown} is among those that {call} lists for the account"),
        ),
        ListingOutcome::Listed(false, call) => {
            let says = format!("{shown} is not among those that {call} lists for the account");
            Check {
                certainty: Some(Certainty::Likely),
                ..subject.local_failure("sender", Cause::SenderNotAllowed, &says)
            }
        }
        ListingOutcome::Unreadable(call) => skipped(format!(
            "{call} does not show whether it is registered; a send does (`--send-to NUMBER`)"
        )),
        ListingOutcome::Unsupported if provider.dialect.sender_probe().is_some() => {
            skipped(format!(
                "{dialect} lists only numbers, so only a send shows whether it is registered (`--send-to NUMBER`)"
            ))
        }
        ListingOutcome::Unsupported => skipped(format!(
            "{dialect} does not report whether it is registered; only a send shows it (`--send-to NUMBER`)"
        )),
        ListingOutcome::NotQueried => {
            skipped("its registration was not checked, because of the failures above".to_owned())
        }
    }
}

/// The words in which each of the backend's texts goes to this provider; none for one that it is not sent, or
/// that a number stands for.
pub(crate) fn provider_texts<'a>(
    subject: &ProviderCheck<'_>,
    templates: &'a [TextTemplate],
) -> Vec<(&'a str, &'a str)> {
    let provider = subject.provider;
    let names = owner_names(subject);
    let wording = |template: &'a TextTemplate| {
        let own = names.iter().find_map(|name| template.texts.get(*name));
        let as_written =
            !provider.templates_only && !names.iter().any(|name| template.ids.contains_key(*name));
        own.or_else(|| as_written.then_some(&template.text))
            .map(|text| (template.name.as_str(), text.as_str()))
    };
    templates.iter().filter_map(wording).collect()
}

fn owner_names<'a>(subject: &ProviderCheck<'a>) -> [&'a str; 2] {
    [
        subject.provider.id.as_str(),
        subject.provider.dialect.name.as_str(),
    ]
}

/// Which of the backend's texts this provider can send, and which of them the service has approved.
pub(crate) fn template_check(
    subject: &ProviderCheck<'_>,
    templates: &[TextTemplate],
    listed: &ListingOutcome<Vec<(String, Approval)>>,
) -> Check {
    let check = template_config_check(subject, templates);
    if check.remedy.is_some() && check.cause.is_some() {
        return check;
    }
    let dialect = &subject.provider.dialect.name;
    let with = |evidence: String| Check {
        evidence: format!("{}; {evidence}", check.evidence),
        ..check.clone()
    };
    match listed {
        ListingOutcome::Listed(states, call) => {
            approval_check(subject, templates, Listing { states, call }, &check)
        }
        ListingOutcome::Unreadable(call) => {
            with(format!("{call} does not show whether they are approved"))
        }
        ListingOutcome::Unsupported if check == no_template_check() => with(format!(
            "{dialect} does not report which texts it would reject"
        )),
        ListingOutcome::Unsupported => with(format!(
            "{dialect} does not report whether they are approved; only a send shows it (`--send-to NUMBER`)"
        )),
        ListingOutcome::NotQueried => check,
    }
}

/// The approval of each text, by its name, and the request that listed them.
#[derive(Clone, Copy)]
struct Listing<'a> {
    states: &'a [(String, Approval)],
    call: &'a str,
}

impl Listing<'_> {
    /// `NAME is approved` for each text whose approval is one of `wanted`.
    fn describe(self, wanted: impl Fn(Approval) -> bool) -> Vec<String> {
        let texts = self.states.iter().filter(|(_, state)| wanted(*state));
        texts
            .map(|(name, state)| format!("{name} {}", approval_phrase(*state)))
            .collect()
    }
}

const fn approval_phrase(state: Approval) -> &'static str {
    match state {
        Approval::Approved => "is approved",
        Approval::Pending => "waits for approval",
        Approval::Rejected => "was rejected",
        Approval::Similar => {
            "is similar to an approved text with fixed words in place of its variables: other words there may be rejected"
        }
        Approval::UnknownStatus => "has a status that the description does not list",
        Approval::Unlisted => "is not among the listed texts",
    }
}

/// The state of each in the service's list.
fn approval_check(
    subject: &ProviderCheck<'_>,
    templates: &[TextTemplate],
    listing: Listing<'_>,
    otherwise: &Check,
) -> Check {
    let Listing { states, call } = listing;
    let wrong = listing.describe(|state| {
        matches!(
            state,
            Approval::Pending | Approval::Rejected | Approval::Unlisted
        )
    });
    let odd =
        listing.describe(|state| matches!(state, Approval::Similar | Approval::UnknownStatus));
    if !wrong.is_empty() {
        let is_partial = wrong.len() < states.len() || has_text_sent_by_id(subject, templates);
        let check = subject.local_failure(
            "template",
            Cause::TemplateNotApproved,
            &format!("by {call}, {}", wrong.join("; ")),
        );
        // Somebody's no is a no; a text that is missing may be spelled in a way that was not seen yet.
        let sure = states
            .iter()
            .any(|(_, state)| matches!(state, Approval::Pending | Approval::Rejected));
        return Check {
            certainty: if sure {
                check.certainty
            } else {
                Some(Certainty::Likely)
            },
            is_partial,
            ..check
        };
    }
    let all: Vec<&str> = states.iter().map(|(name, _)| name.as_str()).collect();
    let evidence = match (otherwise.remedy.is_some(), odd.as_slice()) {
        (true, []) => format!(
            "{}; the texts that are sent are approved, by {call}",
            otherwise.evidence
        ),
        (true, odd) => format!("{}; by {call}, {}", otherwise.evidence, odd.join("; ")),
        (false, []) => format!("by {call}, approved: {}", all.join(", ")),
        (false, odd) => format!("by {call}, {}", odd.join("; ")),
    };
    match (otherwise.remedy.is_some(), odd.is_empty()) {
        (true, _) => Check {
            evidence,
            ..otherwise.clone()
        },
        (false, true) => Check::ok("template", evidence),
        (false, false) => Check::skipped("template", evidence),
    }
}

/// Whether some text is sent as a number, which lists of texts do not cover.
fn has_text_sent_by_id(subject: &ProviderCheck<'_>, templates: &[TextTemplate]) -> bool {
    let worded = provider_texts(subject, templates);
    let unlisted =
        |template: &&TextTemplate| worded.iter().all(|(name, _)| *name != &*template.name);
    templates.iter().filter(unlisted).any(|template| {
        owner_names(subject)
            .iter()
            .any(|name| template.ids.contains_key(*name))
    })
}

fn no_template_check() -> Check {
    Check::skipped(
        "template",
        "texts are sent as the backend writes them; the config has no approved text for this provider",
    )
}

/// As far as the config tells.
fn template_config_check(subject: &ProviderCheck<'_>, templates: &[TextTemplate]) -> Check {
    let provider = subject.provider;
    let names = owner_names(subject);
    let has = |template: &&TextTemplate| {
        names
            .iter()
            .any(|name| template.texts.contains_key(*name) || template.ids.contains_key(*name))
    };
    let (with, without): (Vec<&TextTemplate>, Vec<&TextTemplate>) = templates.iter().partition(has);
    let listed = |templates: &[&TextTemplate]| {
        templates
            .iter()
            .map(|template| template.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (provider.templates_only, with.as_slice(), without.as_slice()) {
        (false, [], _) => no_template_check(),
        (true, [], _) => subject.local_failure(
            "template",
            Cause::TemplateNotApproved,
            "it accepts only approved texts, and the config has none for it",
        ),
        (_, with, []) => Check::ok(
            "template",
            format!("{}: the config has an approved text for each", listed(with)),
        ),
        (false, with, without) => Check::ok(
            "template",
            format!(
                "{} are sent as approved texts, {} as the backend writes them",
                listed(with),
                listed(without)
            ),
        ),
        (true, _, without) => Check::warning(
            "template",
            format!(
                "{} have no approved text here: the sidecar skips this provider for such a message",
                listed(without)
            ),
            format!(
                "write each text as {} has approved it, under texts.{} of its [templates.NAME]",
                provider.dialect.name, provider.id
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
