//! Why a provider refuses, and what to do about it: one line that names the provider,
//! the vault entry, the command or the config key. It refuses the advice that helps
//! nobody ("check your credentials"), and it never holds a secret: versions are ordinals,
//! what a service said comes cleaned, vault entries are named by their path.

mod candidates;
mod evidence;
mod remedy;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::secret::Version;
use crate::sms::{AttemptKind, Cause, Certainty};

pub use candidates::{CandidateProbe, CauseCandidates, Implication, ProbeHistory};
pub use evidence::{Evidence, EvidenceSource, narrow_candidates};
pub use remedy::format_command;

/// What an attempt brought to light.
#[derive(Clone, Copy, Debug)]
pub struct FailedAttempt<'a> {
    /// What for.
    pub kind: AttemptKind,
    /// What it was classified as.
    pub cause: Cause,
    /// How sure that is.
    pub certainty: Certainty,
    /// Other causes the same reply can mean.
    pub alternatives: &'a [Cause],
    /// HTTP status; none: there was no reply.
    pub status: Option<u16>,
    /// The service's own code.
    pub code: Option<&'a str>,
    /// The service's own words, cleaned; or what our own part had to say (which field is missing, which limit).
    pub provider_message: Option<&'a str>,
    /// What else was learned about it.
    pub evidence: &'a [Evidence],
}

/// What is known around it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiagnosisContext<'a> {
    /// The provider's name in the config; empty: it concerns none.
    pub provider: &'a str,
    /// What it speaks.
    pub dialect: &'a str,
    /// Where its attempts go, without credentials or query.
    pub base_url: &'a str,
    /// Where its credential is.
    pub entry: Option<VaultEntryRef<'a>>,
    /// Which version was sent; 0: none was read.
    pub version: Version,
    /// How long that version has been known.
    pub credential_age: Option<Duration>,
    /// The last message it accepted: how long ago, with which version.
    pub last_accepted: Option<(Duration, Version)>,
    /// The sender that the config sets for it.
    pub sender: Option<&'a str>,
    /// One attempt's time limit.
    pub timeout: Option<Duration>,
    /// The config as the operator names it; empty: the default path.
    pub config_path: &'a str,
    /// The line on which the provider's table begins; 0: not known.
    pub config_line: usize,
    /// Where people put right what an account is refused for, as the dialect's description has it.
    pub console_pages: Option<&'a BTreeMap<Cause, String>>,
    /// The service's address of today, where `base_url` is one that it has left.
    pub replacement_url: Option<&'a str>,
    /// Whether attempts leave by a way of their own (`outbound`).
    pub uses_outbound: bool,
    /// Whether the config has no `listen.control`, so that no command reaches the sidecar that runs with it.
    pub lacks_control_socket: bool,
}

/// A vault entry.
#[derive(Clone, Copy, Debug)]
pub struct VaultEntryRef<'a> {
    /// Its vault's name.
    pub vault: &'a str,
    /// How that vault keeps it.
    pub storage: &'a VaultStorage,
    /// Its path; empty where the vault has only one.
    pub path: &'a str,
    /// The fields the service needs, by the vault's names for them; none: not known here.
    pub fields: &'a [String],
}

/// How a vault keeps its entries: decides how one is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultStorage {
    /// In our encrypted file.
    Embedded,
    /// As variables.
    Env,
    /// As files.
    Directory,
    /// On an OpenBao or HashiCorp Vault server.
    OpenBao {
        /// Where the engine is mounted.
        mount: Box<str>,
        /// The namespace, if there is one.
        namespace: Option<Box<str>>,
        /// Whether the mount keeps versions, so that one field can be changed alone.
        versioned: bool,
    },
    /// Wherever this program gets them from.
    Exec {
        /// The program.
        command: Box<str>,
    },
}

/// What it was and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Whose.
    pub provider: String,
    /// In one word.
    pub cause: Cause,
    /// How sure.
    pub certainty: Certainty,
    /// What else it can be.
    pub alternatives: Vec<Cause>,
    /// What speaks for it, in one line.
    pub evidence: String,
    /// What to do, in one line.
    pub remedy: String,
}

/// Puts evidence and surroundings together.
pub fn diagnose(evidence: &FailedAttempt<'_>, context: &DiagnosisContext<'_>) -> Diagnosis {
    let suspects = evidence.candidates();
    let named = malformed_fields(evidence, context);
    let entry = context.entry.map(|entry| VaultEntryRef {
        fields: if named.is_empty() {
            entry.fields
        } else {
            &named
        },
        ..entry
    });
    let context = &DiagnosisContext { entry, ..*context };
    let (told, remedy) = (
        render_evidence(evidence, context),
        remedy::render_remedy(&suspects, evidence, context),
    );
    let CauseCandidates {
        cause,
        certainty,
        alternatives,
    } = suspects;
    Diagnosis {
        provider: context.provider.to_owned(),
        cause,
        certainty,
        alternatives,
        evidence: one_line(&told),
        remedy: one_line(&remedy),
    }
}

impl Diagnosis {
    /// What else it can be: `ip-not-allowed or account-suspended`; empty where there is nothing.
    pub fn alternatives_text(&self) -> String {
        self.alternatives
            .iter()
            .map(|cause| cause.as_str())
            .collect::<Vec<_>>()
            .join(" or ")
    }
}

impl fmt::Display for Diagnosis {
    /// `NAME: credential-rejected (certain). <evidence>. → <remedy>`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.provider.is_empty() {
            "call"
        } else {
            &self.provider
        };
        write!(f, "{whose}: {} ({}", self.cause, self.certainty.as_str())?;
        if !self.alternatives.is_empty() {
            write!(f, ", or {}", self.alternatives_text())?;
        }
        write!(f, "). {}. → {}", self.evidence, self.remedy)
    }
}

impl FailedAttempt<'_> {
    /// What is left after all that was learned.
    pub fn candidates(&self) -> CauseCandidates {
        let first = CauseCandidates::new(self.cause, self.certainty, self.alternatives);
        self.evidence.iter().fold(first, |suspects, learned| {
            suspects.apply(&learned.implication)
        })
    }
}

/// How the version that was refused did before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CredentialHistory {
    /// Nothing is known.
    None,
    /// It was accepted once.
    Accepted(Duration),
    /// An older one was accepted, this one never.
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

/// Whether our own part found the vault's entry wrong: the service was never asked.
fn is_unsent(evidence: &FailedAttempt<'_>) -> bool {
    let about = matches!(
        evidence.cause,
        Cause::CredentialMissing | Cause::CredentialRejected
    );
    about
        && evidence.status.is_none()
        && evidence
            .provider_message
            .is_some_and(|says| !says.is_empty())
}

/// The fields of an entry that was not sent, as our own words name them.
fn malformed_fields(evidence: &FailedAttempt<'_>, context: &DiagnosisContext<'_>) -> Vec<String> {
    let says = evidence
        .provider_message
        .filter(|_| is_unsent(evidence))
        .unwrap_or_default();
    let fields = context.entry.map_or(&[][..], |entry| entry.fields);
    fields
        .iter()
        .filter(|field| says.contains(&format!("`{field}`")))
        .cloned()
        .collect()
}

/// Reply, credential, history.
fn render_evidence(evidence: &FailedAttempt<'_>, context: &DiagnosisContext<'_>) -> String {
    let reply = match (evidence.status, evidence.code) {
        (Some(status), Some(code)) => format!(
            "The {} was answered {status} with code {code}",
            evidence.kind
        ),
        (Some(status), None) => format!("The {} was answered {status}", evidence.kind),
        (None, _) => evidence.cause.meaning().trim_end_matches('.').to_owned(),
    };
    let says = evidence.provider_message.filter(|says| !says.is_empty());
    let unsent = says
        .filter(|_| is_unsent(evidence))
        .map(|says| format!("Nothing was sent: {says}"));
    let reply = unsent
        .clone()
        .unwrap_or_else(|| reply + &says.map_or_else(String::new, |says| format!(" (“{says}”)")));
    let age = context.credential_age.map_or_else(String::new, |age| {
        format!(", known for {}", format_duration(age))
    });
    let used = context.entry.filter(|_| context.version > Version(0));
    let verb = if unsent.is_some() {
        "it read"
    } else {
        "it used"
    };
    let used = used.map(|entry| {
        format!(
            "{verb} version {} of {}{age}",
            context.version.0,
            entry.display_name()
        )
    });
    let before = match credential_history(context) {
        CredentialHistory::None => None,
        CredentialHistory::Accepted(ago) => Some(format!(
            "the same version was accepted {} ago",
            format_duration(ago)
        )),
        CredentialHistory::OlderAccepted(version) => Some(format!(
            "version {} was accepted, version {} never",
            version.0, context.version.0
        )),
    };
    let learned = evidence.evidence.iter().map(ToString::to_string);
    let moved = context
        .replacement_url
        .filter(|_| remedy::concerns_address(evidence.candidates().cause));
    let moved = moved.map(|today| {
        format!(
            "{} is an address that {} has left for {today}",
            context.base_url, context.dialect
        )
    });
    [Some(reply), used, before, moved]
        .into_iter()
        .flatten()
        .chain(learned)
        .collect::<Vec<_>>()
        .join("; ")
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

/// The greatest unit that says enough: `40 s`, `12 min`, `5 h`, `3 days`.
pub fn format_duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

/// Foreign words may bring line ends and control characters; a diagnosis is one line.
fn one_line(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
