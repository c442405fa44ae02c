//! The remedy for each cause. A table of sentences with placeholders, so that they can be read side
//! by side, and a test finds a cause without one.

use core::net::IpAddr;
use std::borrow::Cow;
use std::time::Duration;

use crate::diagnosis::evidence::join_causes;
use crate::diagnosis::steps::{NO_OTHER_PROVIDER, RECOVERS_ITSELF, TRIED_AT_ONCE};
use crate::diagnosis::{
    CauseCandidates, CredentialHistory, DiagnosisContext, Evidence, EvidenceSource, FailedAttempt,
    PresentedSecret, credential_history, format_duration, is_unsent,
};
use crate::sms::{AttemptKind, Cause, Msisdn};

/// The config's default path.
pub const DEFAULT_CONFIG_PATH: &str = "/etc/sms-sidecar/config.toml";
/// Stands for an unknown provider.
const PROVIDER_PLACEHOLDER: &str = "PROVIDER";

const REMEDIES: &[(Cause, &str)] = &[
    (Cause::CredentialMissing, "put {fields} into {entry}{soon}"),
    (
        Cause::CredentialRejected,
        "get {fields} from {console} and put {them} into {entry}{soon}",
    ),
    (
        Cause::CredentialExpired,
        "issue a new credential at {console} and put it into {entry}{soon}",
    ),
    (
        Cause::PermissionDenied,
        "enable SMS by API for {account} at {console}{back}",
    ),
    (
        Cause::AccountSuspended,
        "have {account} unlocked at {console}{back}",
    ),
    (Cause::BalanceEmpty, "top up {account} at {console}{back}"),
    (
        Cause::IpNotAllowed,
        "add {address} to the account's allow-list at {console}, or send from an address that is on it: set providers.{provider}.outbound.source_address (or .proxy) in {place}{now}{reload}{back}",
    ),
    (
        Cause::EndpointWrong,
        "set providers.{provider}.base_url in {place} to {current_url} (now {base_url}){reload}{back}",
    ),
    (
        Cause::ClockSkew,
        "set this machine's clock (`timedatectl set-ntp true`){back}",
    ),
    (
        Cause::SandboxMismatch,
        "get {fields} of a production account from {console} and put {them} into {entry}; or, if this account is for tests, verify the recipient there",
    ),
    (
        Cause::TlsUntrusted,
        "see whose certificate it is: `curl -v {base_url}`; if a CA of your own signed it, set providers.{provider}.ca_file in {place} to its PEM{reload}; if no change was announced, somebody may be intercepting the connection",
    ),
    (
        Cause::SenderNotAllowed,
        "set providers.{provider}.sender in {place} ({sender}) to one that {console} has approved for the account{reload}",
    ),
    (
        Cause::TemplateNotApproved,
        "get the text approved at {console}, and write it as approved under texts.{provider} of a [templates.NAME] in {config}{reload}",
    ),
    (
        Cause::RecipientInvalid,
        "nothing to repair at {provider}: check this number in the backend; if {dialect} does not serve its country, list another provider for its prefix in [[routes]] of {config}{reload}",
    ),
    (
        Cause::MessageInvalid,
        "shorten or change the text as {dialect} requires; {try} shows its reply to another text",
    ),
    (
        Cause::RecipientBlocked,
        "nothing to repair: the person opted out at {dialect} and has to opt in again there; {unshared}",
    ),
    (
        Cause::Duplicate,
        "give every message its own reference, and do not repeat one within {dialect}'s time limit",
    ),
    (
        Cause::Throttled,
        "{provider} recovers by itself; if it happens daily, raise the account's rate limit at {console}, or list another provider in [[routes]] of {config}{reload}",
    ),
    (
        Cause::ProviderFault,
        "nothing to repair here: {provider} recovers by itself; if it lasts, report the code and the time to {dialect}",
    ),
    (
        Cause::Unreachable,
        "make {base_url} reachable from this machine{move}; `curl -v {base_url}` shows where the connection fails; if requests must go through a proxy, set providers.{provider}.outbound.proxy in {place}{reload}",
    ),
    (
        Cause::Timeout,
        "if {dialect} is often this slow, raise providers.{provider}.timeout in {place}{timeout} and the route's deadline with it{reload}",
    ),
    (
        Cause::ReplyUnreadable,
        "see whether {dialect} itself answers there: `curl -v {base_url}`; if its API has changed, correct its description (`sms-sidecar dialects show {dialect}` prints it) in the folder that `dialects` names in {config}{reload}",
    ),
    (
        Cause::VaultUnavailable,
        "make {named} readable; {check} shows what fails",
    ),
    (
        Cause::DeniedByPolicy,
        "{paused}if the backend hung up before its request was written, give its HTTP client a longer timeout than the deadline of the route; to allow a request that was denied, name its method and path in providers.{provider}.operations in {place}{reload}",
    ),
    (
        Cause::NotTranslatable,
        "list in [[routes]] of {config} a provider that can take it: one of the backend's own dialect, or one that serves the recipient's country{reload}; or leave out of the request what only one service supports",
    ),
    (
        Cause::NoProvider,
        "list in [[routes]] of {config} a provider for this request (`recipients`, `callers` and `dialects` of a route decide which requests it takes){reload}",
    ),
    (
        Cause::Unexplained,
        "look up {code} in {dialect}'s documentation and add it under [send.codes] to a description of your own (`sms-sidecar dialects show {dialect}` prints the built-in one) in the folder that `dialects` names in {config}{reload}",
    ),
];

/// An older version worked, and this one never did.
const MISTYPED: &str = "compare {fields} in {named} with {console}: this version has never worked, so it is mistyped or not active yet; to change it, {put}";
/// The version worked, and nobody changed the vault.
const CHANGED_AT_PROVIDER: &str = "somebody changed or revoked {fields} at {dialect}: get the current values from {console} and put them into {entry}{soon}";

/// The token of a login has expired: the credential itself is as it was.
const LOGIN_EXPIRED: &str = "nothing to change: {provider} logs in again by itself with its next message; if that token is rejected as well, compare {fields} in {named} with {console}";
/// The same in observe mode, where the backend logs in.
const BACKEND_LOGIN_EXPIRED: &str =
    "let the backend log in at {dialect} again: the token that it sends has expired";
/// The service takes the credential at the login, and then rejects every token.
const TOKEN_REJECTED: &str = "{dialect} accepts {fields} at the login, so they are right: ask at {console} why it rejects the tokens of {account}{back}";

/// The backend's own request has no credential.
const UNSET_IN_BACKEND: &str = "set the variable from which the backend reads its credential{variables}, and restart the backend: its process does not have it, or has it without a value";

/// The vault's value cannot be a credential, and was not sent.
const MALFORMED: &str = "put {fields} as {console} shows {them} into {entry}{soon}";

/// A command that can be pasted: with `--config` if the config is not at the default path.
pub fn format_command(arguments: &str, config: &str) -> String {
    let command = insert_option(&format!("sms-sidecar {arguments}"), config);
    format!("`{command}`")
}

/// The option that names the config, as a shell reads it.
pub fn config_option(config: &str) -> String {
    format!("--config {}", shell_word(config))
}

/// A path as a shell reads it as one word: in single quotes, if it has a character that is not plain.
fn shell_word(path: &str) -> Cow<'_, str> {
    let is_plain = |c: char| {
        c.is_alphanumeric()
            || matches!(c, '/' | '.' | '-' | '_' | '+' | ',' | ':' | '=' | '@' | '%')
    };
    if path.chars().all(is_plain) {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(format!("'{}'", path.replace('\'', r"'\''")))
    }
}

/// The subcommands that take `--config`.
const CONFIG_COMMANDS: [&str; 11] = [
    "ca", "check", "doctor", "pause", "reload", "resume", "run", "send", "status", "vault", "wrap",
];

/// The text with `--config` in each command that lacks it. Modules that do not know the config name commands without it;
/// those that show their texts complete them.
pub fn complete_commands(text: &str, config: &str) -> String {
    let parts: Vec<String> = text
        .split('`')
        .enumerate()
        .map(|(place, part)| {
            if place % 2 == 1 && lacks_config(part) {
                insert_option(part, config)
            } else {
                part.to_owned()
            }
        })
        .collect();
    parts.join("`")
}

fn lacks_config(command: &str) -> bool {
    let subcommand = command
        .strip_prefix("sms-sidecar ")
        .and_then(|rest| rest.split(' ').next());
    subcommand.is_some_and(|name| CONFIG_COMMANDS.contains(&name))
        && !command.contains(" --config")
        && !command.contains(" --control")
}

/// The command with the config, unless it reads this one anyway. `vault` reads none by itself. What follows `--`
/// belongs to another program.
fn insert_option(command: &str, config: &str) -> String {
    let has_default = !command.starts_with("sms-sidecar vault ");
    if config.is_empty() || (has_default && config == DEFAULT_CONFIG_PATH) {
        return command.to_owned();
    }
    let option = config_option(config);
    match command.split_once(" -- ") {
        Some((ours, theirs)) => format!("{ours} {option} -- {theirs}"),
        None => format!("{command} {option}"),
    }
}

/// The remedy for the most probable cause, with its placeholders filled.
pub(super) fn render_remedy(
    candidates: &CauseCandidates,
    attempt: &FailedAttempt<'_>,
    context: &DiagnosisContext<'_>,
) -> String {
    let sentence = login_remedy(candidates.cause, attempt, context);
    let sentence =
        sentence.unwrap_or_else(|| credential_remedy(candidates.cause, attempt, context));
    let filled = fill_placeholders(sentence, |hole| {
        contextual_value(hole, candidates.cause, attempt, context)
            .unwrap_or_else(|| placeholder_value(hole, attempt, context))
    });
    if candidates.is_unambiguous() {
        filled
    } else {
        let others = join_causes(&candidates.alternatives);
        format!("{filled}; if that is in order, the cause is {others}")
    }
}

/// The sentence where the service has a login, and its token was rejected.
fn login_remedy(
    cause: Cause,
    attempt: &FailedAttempt<'_>,
    context: &DiagnosisContext<'_>,
) -> Option<&'static str> {
    if context.presents == PresentedSecret::Credential || attempt.kind == AttemptKind::Login {
        return None;
    }
    let is_fresh = |evidence: &Evidence| {
        matches!(
            evidence.source,
            EvidenceSource::FreshToken | EvidenceSource::TokenAge(_)
        )
    };
    let is_observed = context.observed_variables.is_some();
    if cause == Cause::CredentialExpired && is_observed {
        Some(BACKEND_LOGIN_EXPIRED)
    } else if cause == Cause::CredentialExpired {
        Some(LOGIN_EXPIRED)
    } else if cause == Cause::CredentialRejected && attempt.evidence.iter().any(is_fresh) {
        Some(TOKEN_REJECTED)
    } else {
        None
    }
}

/// Whether the sidecar held the credential back for the value of a field.
fn names_a_field(attempt: &FailedAttempt<'_>, context: &DiagnosisContext<'_>) -> bool {
    let message = attempt.provider_message.unwrap_or_default();
    let fields = context.entry.map_or(&[][..], |entry| entry.fields);
    is_unsent(attempt)
        && fields
            .iter()
            .any(|field| message.contains(&format!("`{field}`")))
}

/// The sentence of the table, or a better one for what is known of the credential.
fn credential_remedy(
    cause: Cause,
    attempt: &FailedAttempt<'_>,
    context: &DiagnosisContext<'_>,
) -> &'static str {
    let listed = REMEDIES
        .iter()
        .find(|(listed, _)| *listed == cause)
        .map_or("", |(_, sentence)| *sentence);
    match (cause, credential_history(context)) {
        (Cause::CredentialMissing, _) if context.observed_variables.is_some() => UNSET_IN_BACKEND,
        (Cause::CredentialMissing, _) if names_a_field(attempt, context) => MALFORMED,
        (Cause::CredentialRejected, CredentialHistory::OlderAccepted(_)) => MISTYPED,
        (Cause::CredentialRejected, CredentialHistory::Accepted(_)) => CHANGED_AT_PROVIDER,
        _ => listed,
    }
}

/// Fills each `{placeholder}` once; its value is not filled again.
pub(super) fn fill_placeholders(sentence: &str, value: impl Fn(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = sentence;
    while let Some((before, (hole, after))) = rest
        .split_once('{')
        .and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        filled.push_str(before);
        filled.push_str(&value(hole));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// Whether a wrong base URL can be the reason.
pub(super) fn concerns_address(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::EndpointWrong
            | Cause::Unreachable
            | Cause::Timeout
            | Cause::TlsUntrusted
            | Cause::ReplyUnreadable
    )
}

/// The value of a placeholder that depends on the cause, the evidence or the setup.
fn contextual_value(
    hole: &str,
    cause: Cause,
    attempt: &FailedAttempt<'_>,
    context: &DiagnosisContext<'_>,
) -> Option<String> {
    let service = service_name(context);
    Some(match hole {
        "console" => console_name(cause, context),
        "address" => reported_address(attempt).map_or_else(
            || "this server's public address".to_owned(),
            |address| format!("{address} (the address that the service sees)"),
        ),
        "now" if context.uses_outbound => {
            " (the address of the present outbound setting is not on it either)".to_owned()
        }
        "current_url" => context.replacement_url.map_or_else(
            || format!("the address {service} gives for this account"),
            str::to_owned,
        ),
        "move" => context.replacement_url.map_or_else(String::new, |replacement| {
            format!(
                ", or set providers.{}.base_url in {} to {service}'s current address, {replacement}",
                context.provider,
                config_location(context)
            )
        }),
        "place" => config_location(context),
        "variables" => usual_variables(context),
        "back" | "reload" | "try" | "check" | "paused" => control_command(hole, context),
        "soon" if is_reloaded_automatically(context) => format!("; {TRIED_AT_ONCE}"),
        "unshared" => NO_OTHER_PROVIDER.to_owned(),
        "now" | "soon" => String::new(),
        "timeout" => context
            .timeout
            .map_or_else(String::new, |now| format!(" (now {})", format_timeout(now))),
        _ => return None,
    })
}

/// ` (backends usually call it PLAYMOBILE_LOGIN, PLAYMOBILE_PASSWORD)`.
fn usual_variables(context: &DiagnosisContext<'_>) -> String {
    match context.observed_variables {
        None | Some([]) => String::new(),
        Some(names) => format!(" (backends usually call it {})", names.join(", ")),
    }
}

fn service_name<'a>(context: &DiagnosisContext<'a>) -> &'a str {
    if context.dialect.is_empty() {
        "the service"
    } else {
        context.dialect
    }
}

/// The console of the service, with its page for this cause.
fn console_name(cause: Cause, context: &DiagnosisContext<'_>) -> String {
    let service = service_name(context);
    match context.console_pages.and_then(|pages| pages.get(&cause)) {
        Some(page) => format!("the {service} console ({page})"),
        None if context.dialect.is_empty() => service.to_owned(),
        // The description names no page: the service may have none.
        None if context.console_pages.is_some() => format!("the {service} service"),
        None => format!("the {service} console"),
    }
}

fn reported_address(attempt: &FailedAttempt<'_>) -> Option<IpAddr> {
    attempt.evidence.iter().find_map(|evidence| {
        if let EvidenceSource::ReportedAddress(address) = evidence.source {
            Some(address)
        } else {
            None
        }
    })
}

/// A command to the running sidecar, or its replacement if the config has no control socket.
fn control_command(hole: &str, context: &DiagnosisContext<'_>) -> String {
    let provider = if context.provider.is_empty() {
        PROVIDER_PLACEHOLDER
    } else {
        context.provider
    };
    let command = |arguments: &str| format_command(arguments, context.config_path);
    match (hole, context.lacks_control_socket) {
        ("back", false) => format!(", then {}", command(&format!("resume {provider}"))),
        ("back", true) => format!("; {RECOVERS_ITSELF}"),
        ("reload", false) => format!(", then {}", command("reload")),
        ("reload", true) => ", then reload the sidecar (`kill -HUP PID`)".to_owned(),
        ("try", false) => command(&format!(
            "send --provider {provider} --to NUMBER --text TEXT"
        )),
        ("try", true) => command(&format!(
            "doctor --provider {provider} --send-to NUMBER --text TEXT"
        )),
        ("check", _) => command("check --vault"),
        ("paused", false) => format!(
            "if {provider} is paused, {}; ",
            command(&format!("resume {provider}"))
        ),
        _ => String::new(),
    }
}

/// Whether the sidecar notices a changed entry. It cannot see a changed process environment, nor a
/// credential that only the backend has.
fn is_reloaded_automatically(context: &DiagnosisContext<'_>) -> bool {
    context
        .entry
        .map_or(context.provider.is_empty(), |entry| entry.is_reread)
}

/// `/etc/sms-sidecar/config.toml:23`.
fn config_location(context: &DiagnosisContext<'_>) -> String {
    let file = if context.config_path.is_empty() {
        DEFAULT_CONFIG_PATH
    } else {
        context.config_path
    };
    if context.config_line == 0 {
        file.to_owned()
    } else {
        format!("{file}:{}", context.config_line)
    }
}

fn placeholder_value(
    hole: &str,
    attempt: &FailedAttempt<'_>,
    context: &DiagnosisContext<'_>,
) -> String {
    let fields = context.entry.map_or(&[][..], |entry| entry.fields);
    match hole {
        "provider" => non_empty(context.provider, PROVIDER_PLACEHOLDER),
        "dialect" => service_name(context).to_owned(),
        "base_url" => non_empty(context.base_url, "the service's address"),
        "config" => non_empty(context.config_path, DEFAULT_CONFIG_PATH),
        "sender" => context.sender.map_or_else(
            || "none is set, so the backend's own is used".to_owned(),
            |sender| format!("now it is {}", mask_sender(sender)),
        ),
        "code" => attempt
            .code
            .map_or_else(|| "the reply".to_owned(), |code| format!("code {code}")),
        "fields" if fields.is_empty() => "the credential".to_owned(),
        "fields" => fields.join(" and "),
        "them" if fields.len() > 1 => "them".to_owned(),
        "them" => "it".to_owned(),
        _ => entry_value(hole, context),
    }
}

/// The value of a placeholder for the vault entry.
fn entry_value(hole: &str, context: &DiagnosisContext<'_>) -> String {
    let Some(entry) = context.entry else {
        return match hole {
            "account" => "the account".to_owned(),
            "named" | "entry" => describe_unknown_entry(context),
            "put" => format!("write to {}", describe_unknown_entry(context)),
            _ => String::new(),
        };
    };
    let name = entry.display_name();
    match hole {
        "account" => format!("the account behind {name}"),
        "named" => name,
        "put" => entry.write_instructions.to_owned(),
        "entry" => format!("{name}: {}", entry.write_instructions),
        _ => String::new(),
    }
}

fn non_empty(text: &str, default: &str) -> String {
    let text = if text.is_empty() { default } else { text };
    text.to_owned()
}

/// Describes where a credential is that is not in a known vault.
fn describe_unknown_entry(context: &DiagnosisContext<'_>) -> String {
    if context.provider.is_empty() {
        format!(
            "the vault entry that providers.{PROVIDER_PLACEHOLDER}.credential names in {}",
            config_location(context)
        )
    } else if context.observed_variables.is_some() {
        "the backend's own settings (observe mode sends the backend's own credential)".to_owned()
    } else {
        format!(
            "the backend's own settings ({} has no `credential`, so the backend's own is sent)",
            context.provider
        )
    }
}

/// Masks a sender that is a phone number.
fn mask_sender(sender: &str) -> String {
    Msisdn::parse(sender).map_or_else(|_| format!("“{sender}”"), |number| number.to_string())
}

fn format_timeout(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format_duration(time)
    } else {
        format!("{} ms", time.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_remedy_once_and_in_order() {
        let listed: Vec<_> = REMEDIES.iter().map(|(cause, _)| *cause).collect();
        assert_eq!(listed, Cause::ALL);
    }

    #[test]
    fn every_placeholder_is_known() {
        let evidence = FailedAttempt {
            kind: crate::sms::AttemptKind::Send,
            cause: Cause::Unexplained,
            certainty: crate::sms::Certainty::Likely,
            alternatives: &[],
            status: None,
            code: None,
            provider_message: None,
            evidence: &[],
        };
        for sentence in REMEDIES.iter().map(|(_, sentence)| *sentence).chain([
            MISTYPED,
            CHANGED_AT_PROVIDER,
            MALFORMED,
            UNSET_IN_BACKEND,
            LOGIN_EXPIRED,
            BACKEND_LOGIN_EXPIRED,
            TOKEN_REJECTED,
        ]) {
            fill_placeholders(sentence, |hole| {
                let known = contextual_value(
                    hole,
                    Cause::Unexplained,
                    &evidence,
                    &DiagnosisContext::default(),
                );
                assert!(
                    known.is_some()
                        || !placeholder_value(hole, &evidence, &DiagnosisContext::default())
                            .is_empty(),
                    "{hole} in {sentence}"
                );
                String::new()
            });
        }
    }

    #[test]
    fn a_backend_that_left_has_a_remedy() {
        let found = REMEDIES
            .iter()
            .find(|(cause, _)| *cause == Cause::DeniedByPolicy);
        assert!(found.is_some_and(|(_, remedy)| {
            remedy.contains("if the backend hung up") && remedy.contains("longer timeout")
        }));
    }

    #[test]
    fn a_placeholder_is_filled_once() {
        assert_eq!(
            fill_placeholders("a {x} b {y} c {", |hole| format!("<{hole}{{y}}>")),
            "a <x{y}> b <y{y}> c {"
        );
    }
}
