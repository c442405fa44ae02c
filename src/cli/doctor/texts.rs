//! Sender and approved texts, as far as the config tells: whether the service may know them is only
//! seen in a send.

use crate::cli::doctor::check::Check;
use crate::cli::doctor::patient::Patient;
use crate::policy::TextTemplate;
use crate::sms::{Cause, Certainty, Msisdn};

/// A sender of a test mode sends nothing, and one that the service does not list is refused. A list may be behind
/// what was approved, so that is never certain.
pub(super) fn sender(patient: &Patient<'_>, listed: Option<&(bool, String)>) -> Check {
    let provider = patient.provider;
    let Some(sender) = &provider.sender else {
        return Check::skipped("sender", "what the backend writes is used, so there is nothing to check here");
    };
    if provider.dialect.test_senders().contains(sender) {
        return patient.ours("sender", Cause::SandboxMismatch, "the sender is a number of the service's test mode: it sends nothing");
    }
    let shown = Msisdn::parse(sender).map_or_else(|_| format!("“{sender}”"), |number| number.to_string());
    match listed {
        Some((true, call)) => return Check::ok("sender", format!("{shown} is among those that {call} lists for the account")),
        Some((false, call)) => {
            let check =
                patient.ours("sender", Cause::SenderNotAllowed, &format!("{shown} is not among those that {call} lists for the account"));
            return Check { certainty: Some(Certainty::Likely), ..check };
        }
        None => {}
    }
    Check::skipped(
        "sender",
        format!("{shown} is set; whether it is registered, {} tells only in a send (`--send-to NUMBER`)", provider.dialect.name),
    )
}

/// Which of the backend's texts this provider can carry.
pub(super) fn template(patient: &Patient<'_>, templates: &[TextTemplate]) -> Check {
    let provider = patient.provider;
    let names = [provider.id.as_str(), provider.dialect.name.as_str()];
    let has = |template: &&TextTemplate| names.iter().any(|name| template.texts.contains_key(*name) || template.ids.contains_key(*name));
    let (with, without): (Vec<&TextTemplate>, Vec<&TextTemplate>) = templates.iter().partition(has);
    let listed = |templates: &[&TextTemplate]| templates.iter().map(|template| template.name.as_str()).collect::<Vec<_>>().join(", ");
    match (provider.templates_only, with.as_slice(), without.as_slice()) {
        (false, [], _) => {
            Check::skipped("template", "texts go as the backend writes them; the config names no approved form for this provider")
        }
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
