//! Why a provider rejects, and what to do about it: one line that names the provider, the vault
//! entry, the command or the config key. General advice ("check your credentials") is not allowed
//! here. A diagnosis never holds a secret: versions are ordinals, a provider's message is cleaned
//! before, vault entries are named by their path.

mod candidates;
mod denial;
mod evidence;
mod probe_history;
mod remedy;
mod steps;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::secret::Version;
use crate::sms::{AttemptKind, Cause, Certainty, Concern};

pub use candidates::{CandidateProbe, CauseCandidates, Implication};
pub use denial::{ClientKind, Denial, DenialReason, DenialScope, DeniedClient};
pub use evidence::{Evidence, EvidenceSource, narrow_candidates};
pub use probe_history::ProbeHistory;
pub use remedy::{DEFAULT_CONFIG_PATH, complete_commands, config_option, format_command};
pub use steps::{RemedyStep, remedy_steps};

/// A failed attempt as it was classified.
#[derive(Clone, Copy, Debug)]
pub struct FailedAttempt<'a> {
    /// What the attempt was for.
    pub kind: AttemptKind,
    /// The classified cause.
    pub cause: Cause,
    /// How certain it is.
    pub certainty: Certainty,
    /// Other causes that the reply can have.
    pub alternatives: &'a [Cause],
    /// The HTTP status; none without a reply.
    pub status: Option<u16>,
    /// The service's own code.
    pub code: Option<&'a str>,
    /// The provider's message, cleaned; or ours, if nothing was sent (which field is missing, which limit).
    pub provider_message: Option<&'a str>,
    /// Evidence beside the reply.
    pub evidence: &'a [Evidence],
}

/// The account and configuration around a failed attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiagnosisContext<'a> {
    /// The provider's name in the config; empty if none is concerned.
    pub provider: &'a str,
    /// The provider's dialect.
    pub dialect: &'a str,
    /// The provider's base URL, without credentials or query.
    pub base_url: &'a str,
    /// The vault entry of its credential.
    pub entry: Option<VaultEntryRef<'a>>,
    /// The credential version that was sent; 0 if none was read.
    pub version: Version,
    /// The age of that version.
    pub credential_age: Option<Duration>,
    /// The last accepted message: its age and its credential version.
    pub last_accepted: Option<(Duration, Version)>,
    /// The sender that the config sets.
    pub sender: Option<&'a str>,
    /// The time limit of an attempt.
    pub timeout: Option<Duration>,
    /// The config's path as the operator wrote it; empty for the default path.
    pub config_path: &'a str,
    /// The line on which the provider's table begins; 0 if it is not known.
    pub config_line: usize,
    /// The service's console page for each cause, from the dialect's description.
    pub console_pages: Option<&'a BTreeMap<Cause, String>>,
    /// The service's current URL, if `base_url` is a retired one.
    pub replacement_url: Option<&'a str>,
    /// Whether the provider has `outbound` settings.
    pub uses_outbound: bool,
    /// What an attempt presents.
    pub presents: PresentedSecret,
    /// In observe mode, where the backend's own credential was sent: the names under which backends usually have
    /// it in their environment.
    pub observed_variables: Option<&'a [String]>,
    /// Whether the config has no `listen.control`, so that no command can reach the running sidecar.
    pub lacks_control_socket: bool,
}

/// What an attempt presents to the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PresentedSecret {
    /// The credential itself.
    #[default]
    Credential,
    /// The token of a login with the credential.
    LoginToken,
}

/// A vault entry, as remedies name it.
#[derive(Clone, Copy, Debug)]
pub struct VaultEntryRef<'a> {
    /// The vault's name.
    pub vault: &'a str,
    /// Its path; empty if the vault has only one entry.
    pub path: &'a str,
    /// The fields that the dialect needs, by the vault's names; empty if they are not known.
    pub fields: &'a [String],
    /// How an operator changes the fields in this kind of vault.
    pub write_instructions: &'a str,
    /// Whether the sidecar notices the change without a restart.
    pub is_reread: bool,
}

/// The cause of a failure, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The provider's name.
    pub provider: String,
    /// The cause.
    pub cause: Cause,
    /// How certain it is.
    pub certainty: Certainty,
    /// Other possible causes.
    pub alternatives: Vec<Cause>,
    /// The evidence, in one line.
    pub evidence: String,
    /// The remedy, in one line; [`remedy_steps`] makes steps of it.
    pub remedy: String,
}

/// Diagnoses a failed attempt.
pub fn diagnose(attempt: &FailedAttempt<'_>, context: &DiagnosisContext<'_>) -> Diagnosis {
    let candidates = attempt.candidates();
    Diagnosis {
        provider: context.provider.to_owned(),
        cause: candidates.cause,
        certainty: candidates.certainty,
        evidence: one_line(&render_evidence(attempt, context)),
        remedy: one_line(&remedy::render_remedy(&candidates, attempt, context)),
        alternatives: candidates.alternatives,
    }
}

/// Whether somebody has to act on a failure with this cause, or it passes by itself.
pub const fn needs_operator(cause: Cause) -> bool {
    !matches!(cause, Cause::Throttled | Cause::ProviderFault)
}

impl Diagnosis {
    /// Whether the credential may be the cause.
    pub fn suspects_credential(&self) -> bool {
        let mut causes = std::iter::once(&self.cause).chain(&self.alternatives);
        causes.any(|cause| cause.concern() == Concern::Credential)
    }

    /// The other possible causes: `ip-not-allowed or account-suspended`; empty if there are none.
    pub fn alternatives_text(&self) -> String {
        evidence::join_causes(&self.alternatives)
    }
}

impl fmt::Display for Diagnosis {
    /// `NAME: credential-rejected (certain). <evidence>. → <remedy>`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.provider.is_empty() {
            "request"
        } else {
            &self.provider
        };
        write!(f, "{subject}: {} ({}", self.cause, self.certainty.as_str())?;
        if !self.alternatives.is_empty() {
            write!(f, ", or {}", self.alternatives_text())?;
        }
        write!(f, "). {}. → {}", self.evidence, self.remedy)
    }
}

impl FailedAttempt<'_> {
    /// The causes that the evidence leaves.
    pub fn candidates(&self) -> CauseCandidates {
        let first = CauseCandidates::new(self.cause, self.certainty, self.alternatives);
        self.evidence.iter().fold(first, |candidates, evidence| {
            candidates.apply(&evidence.implication)
        })
    }
}

/// Whether the rejected version, or an older one, was accepted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CredentialHistory {
    /// Nothing is known.
    None,
    /// It was accepted, this long ago.
    Accepted(Duration),
    /// This older version was accepted, and the rejected one never.
    OlderAccepted(Version),
}

fn credential_history(context: &DiagnosisContext<'_>) -> CredentialHistory {
    let Some((ago, version)) = context.last_accepted else {
        return CredentialHistory::None;
    };
    match version.cmp(&context.version) {
        Ordering::Equal => CredentialHistory::Accepted(ago),
        Ordering::Less => CredentialHistory::OlderAccepted(version),
        Ordering::Greater => CredentialHistory::None,
    }
}

/// Whether the sidecar itself found the vault's entry wrong, and sent nothing.
fn is_unsent(attempt: &FailedAttempt<'_>) -> bool {
    attempt.cause == Cause::CredentialMissing
        && attempt.status.is_none()
        && attempt
            .provider_message
            .is_some_and(|message| !message.is_empty())
}

/// Which of a credential's `fields` a remedy names: the malformed ones, if the sidecar's own message
/// names any because the entry could not be sent; otherwise all.
pub fn fields_to_change(attempt: &FailedAttempt<'_>, fields: &[String]) -> Vec<String> {
    let message = attempt
        .provider_message
        .filter(|_| is_unsent(attempt))
        .unwrap_or_default();
    let is_named = |field: &&String| message.contains(&format!("`{field}`"));
    let malformed: Vec<String> = fields.iter().filter(is_named).cloned().collect();
    if malformed.is_empty() {
        fields.to_vec()
    } else {
        malformed
    }
}

/// The clauses about reply, credential, history and address, then the evidence.
fn render_evidence(attempt: &FailedAttempt<'_>, context: &DiagnosisContext<'_>) -> String {
    let clauses = [
        Some(reply_clause(attempt)),
        credential_clause(attempt, context),
        history_clause(context),
        address_clause(attempt, context),
    ];
    clauses
        .into_iter()
        .flatten()
        .chain(attempt.evidence.iter().map(ToString::to_string))
        .collect::<Vec<_>>()
        .join("; ")
}

fn reply_clause(attempt: &FailedAttempt<'_>) -> String {
    let message = attempt
        .provider_message
        .filter(|message| !message.is_empty());
    if let Some(message) = message.filter(|_| is_unsent(attempt)) {
        return format!("Nothing was sent: {message}");
    }
    let reply = match (attempt.status, attempt.code) {
        (Some(status), Some(code)) => {
            format!(
                "The {} was answered {status} with code {code}",
                attempt.kind
            )
        }
        (Some(status), None) => format!("The {} was answered {status}", attempt.kind),
        (None, _) => attempt.cause.meaning().trim_end_matches('.').to_owned(),
    };
    reply + &message.map_or_else(String::new, |message| format!(" (“{message}”)"))
}

fn credential_clause(
    attempt: &FailedAttempt<'_>,
    context: &DiagnosisContext<'_>,
) -> Option<String> {
    let entry = context.entry.filter(|_| context.version > Version(0))?;
    let age = context.credential_age.map_or_else(String::new, |age| {
        format!(", known for {}", format_duration(age))
    });
    let verb = if is_unsent(attempt) { "read" } else { "used" };
    let version = context.version.0;
    let name = entry.display_name();
    Some(format!("it {verb} version {version} of {name}{age}"))
}

fn history_clause(context: &DiagnosisContext<'_>) -> Option<String> {
    match credential_history(context) {
        CredentialHistory::None => None,
        CredentialHistory::Accepted(ago) => Some(format!(
            "the same version was accepted {} ago",
            format_duration(ago)
        )),
        CredentialHistory::OlderAccepted(version) => Some(format!(
            "version {} was accepted, version {} never",
            version.0, context.version.0
        )),
    }
}

fn address_clause(attempt: &FailedAttempt<'_>, context: &DiagnosisContext<'_>) -> Option<String> {
    let replacement = context
        .replacement_url
        .filter(|_| remedy::concerns_address(attempt.candidates().cause))?;
    let base_url = context.base_url;
    let dialect = context.dialect;
    Some(format!(
        "{dialect} has retired {base_url}; its current address is {replacement}"
    ))
}

impl VaultEntryRef<'_> {
    /// `local:sms/name`.
    fn display_name(&self) -> String {
        if self.path.is_empty() {
            format!("vault {}", self.vault)
        } else {
            format!("{}:{}", self.vault, self.path)
        }
    }
}

/// A duration in its largest telling unit: `40 s`, `12 min`, `5 h`, `3 days`.
pub fn format_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

/// Replaces the line breaks and control characters of a provider's message: a diagnosis is one line.
fn one_line(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
