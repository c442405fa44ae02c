//! From a failed attempt to its diagnosis: what narrows an ambiguous rejection at once, and the one
//! place that builds the context in which `diagnosis` names remedies. The pipeline, `doctor` and
//! `diagnose` use it alike, so that all three name the same vault entry and the same line of the config.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;
use jiff::Timestamp;

use crate::clock::Moment;
use crate::diagnosis::{
    CauseCandidates, Diagnosis, DiagnosisContext, Evidence, FailedAttempt, PresentedSecret,
    VaultEntryRef, diagnose, fields_to_change, narrow_candidates,
};
use crate::dialect::{Classification, Dialect, LoginToken, Reply};
use crate::provider::auth::suspicion_text;
use crate::provider::auth_context::AuthContext;
use crate::provider::{Provider, ProviderRuntime};
use crate::secret::Version;
use crate::sms::{AttemptKind, Cause, Certainty, Outcome};
use crate::vault::{self, SourceSettings, entry_help};

/// An account as remedies name it.
#[derive(Clone, Debug)]
pub(crate) struct RemedyContext<'a> {
    provider: &'a Provider,
    /// The vault of its credential; none: it has none, or the config has no such vault.
    source: Option<&'a SourceSettings>,
    /// The fields of the credential, by the dialect's names.
    fields: Vec<String>,
    /// As the operator names the config.
    config_path: &'a str,
    has_control: bool,
    /// Whether the backend's own credential was sent.
    is_observed: bool,
}

/// What only a running sidecar knows of an account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AccountHistory {
    /// The version that was sent; 0: none.
    pub(crate) version: Version,
    /// How long that version has been known.
    pub(crate) credential_age: Option<Duration>,
    /// How long ago a message was accepted last, and with which version.
    pub(crate) last_accepted: Option<(Duration, Version)>,
}

impl<'a> RemedyContext<'a> {
    pub(crate) fn new(
        provider: &'a Provider,
        vaults: &'a vault::Settings,
        config_path: &'a str,
        has_control: bool,
    ) -> Self {
        let source = credential_source(provider, vaults);
        Self::with_source(provider, source, config_path, has_control)
    }

    fn with_source(
        provider: &'a Provider,
        source: Option<&'a SourceSettings>,
        config_path: &'a str,
        has_control: bool,
    ) -> Self {
        let fields = provider.dialect.credential_fields();
        Self {
            provider,
            source,
            fields: fields.iter().map(|field| field.name.clone()).collect(),
            config_path,
            has_control,
            is_observed: false,
        }
    }

    /// Why the attempt failed and what to do.
    pub(crate) fn diagnose(
        &self,
        failed: &FailedAttempt<'_>,
        history: AccountHistory,
    ) -> Diagnosis {
        let provider = self.provider;
        let fields = fields_to_change(failed, &self.fields);
        let credential = provider.credential.as_ref().filter(|_| !self.is_observed);
        let variable_names = usual_variable_names(&provider.dialect);
        let help = credential
            .map(|reference| entry_help(self.source, reference, &fields, self.config_path));
        let entry = credential.zip(help.as_ref());
        let entry = entry.map(|(reference, help)| VaultEntryRef {
            vault: &reference.vault,
            path: &reference.path,
            fields: &fields,
            write_instructions: &help.write_instructions,
            is_reread: help.is_reread,
        });
        let context = DiagnosisContext {
            provider: provider.id.as_str(),
            base_url: &provider.base_url,
            entry,
            version: history.version,
            credential_age: history.credential_age,
            last_accepted: history.last_accepted,
            sender: provider.sender.as_deref(),
            timeout: Some(provider.timeout).filter(|timeout| !timeout.is_zero()),
            config_path: self.config_path,
            config_line: provider.line,
            replacement_url: provider
                .has_retired_host()
                .then(|| provider.dialect.base_url()),
            uses_outbound: provider.uses_outbound(),
            observed_variables: self.is_observed.then_some(variable_names.as_slice()),
            lacks_control_socket: !self.has_control,
            ..dialect_context(&provider.dialect)
        };
        diagnose(failed, &context)
    }
}

impl Provider {
    /// Whether its requests leave through a proxy or from an address of their own.
    fn uses_outbound(&self) -> bool {
        self.upstream.proxy.is_some() || self.upstream.source_address.is_some()
    }

    /// Whether its base URL is at a host that the service has left.
    pub(crate) fn has_retired_host(&self) -> bool {
        self.dialect.is_retired_base_url(&self.base_url)
    }
}

/// A diagnosis for a reply of which only the dialect is known.
pub(crate) fn diagnose_for_dialect(dialect: &Dialect, failed: &FailedAttempt<'_>) -> Diagnosis {
    diagnose(failed, &dialect_context(dialect))
}

/// A diagnosis of a failure that is about no provider; `dialect` is empty if the request was in none.
pub(crate) fn diagnose_without_provider(
    failed: &FailedAttempt<'_>,
    dialect: &str,
    config_path: &str,
    has_control: bool,
) -> Diagnosis {
    let context = DiagnosisContext {
        dialect,
        config_path,
        lacks_control_socket: !has_control,
        ..DiagnosisContext::default()
    };
    diagnose(failed, &context)
}

fn dialect_context(dialect: &Dialect) -> DiagnosisContext<'_> {
    DiagnosisContext {
        dialect: &dialect.name,
        base_url: dialect.base_url(),
        console_pages: Some(dialect.console_urls()),
        presents: if dialect.requires_login() {
            PresentedSecret::LoginToken
        } else {
            PresentedSecret::Credential
        },
        ..DiagnosisContext::default()
    }
}

/// The most usual variable of each field.
fn usual_variable_names(dialect: &Dialect) -> Vec<String> {
    let fields = dialect.credential_fields().iter();
    fields
        .filter_map(|field| field.env.first().cloned())
        .collect()
}

/// The vault of a provider's credential; none: it has none, or the config has no such vault.
pub(crate) fn credential_source<'a>(
    provider: &Provider,
    vaults: &'a vault::Settings,
) -> Option<&'a SourceSettings> {
    vaults.sources.get(&provider.credential.as_ref()?.vault)
}

/// A classification as `diagnosis` reads it; none: nothing failed.
pub(crate) fn diagnosis_input<'a>(
    kind: AttemptKind,
    classification: &'a Classification,
    status: Option<u16>,
    evidence: &'a [Evidence],
) -> Option<FailedAttempt<'a>> {
    Some(FailedAttempt {
        kind,
        cause: classification.outcome.cause()?,
        certainty: classification.certainty,
        alternatives: &classification.alternatives,
        status,
        code: classification.code.as_deref(),
        provider_message: classification.provider_message.as_deref(),
        evidence,
    })
}

/// A certain failure without a reply.
pub(crate) fn local_input(
    kind: AttemptKind,
    cause: Cause,
    detail: Option<&str>,
) -> FailedAttempt<'_> {
    FailedAttempt {
        kind,
        cause,
        certainty: Certainty::Certain,
        alternatives: &[],
        status: None,
        code: None,
        provider_message: detail,
        evidence: &[],
    }
}

/// What is known beside a reply. An absent fact is not used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplyFacts<'a> {
    /// The difference between our clock and the reply's `Date`.
    pub(crate) skew: Option<Duration>,
    /// The token that the request presented.
    pub(crate) token: Option<&'a LoginToken>,
    /// How long ago a login returned it, if it is not expired by its own account.
    pub(crate) token_age: Option<Duration>,
    /// How long that token is still valid.
    pub(crate) token_left: Option<Duration>,
    /// The version of the last accepted message.
    pub(crate) accepted: Option<Version>,
    /// The version that was rejected.
    pub(crate) version: Version,
}

/// Narrows an ambiguous rejection in place, by the token's age, the reply's date, an address it names, the claims of the token, the
/// token's lifetime and earlier messages, in this order. Returns the evidence that narrowed it.
pub(crate) fn narrow(
    classification: &mut Classification,
    reply: &Reply,
    facts: &ReplyFacts<'_>,
) -> Vec<Evidence> {
    let Outcome::Rejected(cause) = classification.outcome else {
        return Vec::new();
    };
    let mut candidates = CauseCandidates::new(
        cause,
        classification.certainty,
        &classification.alternatives,
    );
    let age = facts.token_age.and_then(Evidence::from_token_age);
    let age = age.filter(|age| age.is_relevant_to(&candidates));
    if age.is_some() {
        candidates = candidates.without_expiry();
    }
    let (left, narrowed) = narrow_candidates(candidates, facts.evidence(reply));
    set_candidates(classification, left);
    age.into_iter().chain(narrowed).collect()
}

/// Narrows a rejection by one more piece of evidence.
pub(crate) fn apply_evidence(classification: &mut Classification, evidence: &Evidence) {
    if let Outcome::Rejected(cause) = classification.outcome {
        let candidates = CauseCandidates::new(
            cause,
            classification.certainty,
            &classification.alternatives,
        );
        set_candidates(classification, candidates.apply(&evidence.implication));
    }
}

fn set_candidates(classification: &mut Classification, candidates: CauseCandidates) {
    classification.outcome = Outcome::Rejected(candidates.cause);
    classification.certainty = candidates.certainty;
    classification.alternatives = candidates.alternatives;
}

impl ReplyFacts<'_> {
    fn evidence(&self, reply: &Reply) -> impl Iterator<Item = Evidence> {
        let date = self.skew.map(Evidence::from_reply_date);
        let address = Evidence::from_reported_address(&String::from_utf8_lossy(&reply.body));
        let claims = self
            .token
            .into_iter()
            .flat_map(LoginToken::claims)
            .map(|claim| Evidence::from_token_claim(claim.cause, claim.holds));
        let lifetime = self.token_left.map(Evidence::from_token_lifetime);
        let history = self
            .accepted
            .and_then(|accepted| Evidence::from_last_accepted(accepted, self.version));
        date.into_iter()
            .chain(address)
            .chain(claims)
            .chain(lifetime)
            .chain(history)
    }
}

impl ProviderRuntime {
    /// Narrows an ambiguous rejection by everything the running account knows, and adds what looks wrong in a
    /// credential that may be the cause.
    pub(crate) fn narrow(
        &self,
        classification: &mut Classification,
        reply: &Reply,
        auth: &AuthContext,
    ) -> Vec<Evidence> {
        let mut evidence = self.narrow_ambiguous(classification, reply, auth);
        if let Outcome::Rejected(cause) = classification.outcome {
            let others = &classification.alternatives;
            let candidates = CauseCandidates::new(cause, classification.certainty, others);
            let suspicions = self.provider.dialect.check_credential(&auth.credential);
            if candidates.includes_credential() && !suspicions.is_empty() {
                evidence.push(Evidence::from_vault_values(suspicion_text(&suspicions)));
            }
        }
        evidence
    }

    /// By the reply, the token, earlier messages and earlier probes.
    fn narrow_ambiguous(
        &self,
        classification: &mut Classification,
        reply: &Reply,
        auth: &AuthContext,
    ) -> Vec<Evidence> {
        let is_expired = matches!(
            classification.outcome,
            Outcome::Rejected(Cause::CredentialExpired)
        );
        if classification.alternatives.is_empty() && !is_expired {
            return Vec::new();
        }
        let version = auth.credential.version;
        let mut evidence = narrow(classification, reply, &self.reply_facts(reply, auth));
        let Outcome::Rejected(cause) = classification.outcome else {
            return evidence;
        };
        let candidates = CauseCandidates::new(
            cause,
            classification.certainty,
            &classification.alternatives,
        );
        let earlier = self.earlier_evidence(version, &candidates);
        let left = earlier.iter().fold(candidates, |candidates, evidence| {
            candidates.apply(&evidence.implication)
        });
        set_candidates(classification, left);
        evidence.extend(earlier);
        evidence
    }

    /// What the running account knows beside a reply.
    fn reply_facts<'a>(&self, reply: &Reply, auth: &'a AuthContext) -> ReplyFacts<'a> {
        let wall_clock = self.deps.clock.wall_clock();
        let now = self.deps.clock.timestamp();
        let token = auth.token.as_deref();
        let token_end = token.and_then(|token| token.expires_at);
        ReplyFacts {
            skew: clock_skew(&reply.headers, wall_clock, wall_clock)
                .map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
            token,
            token_age: token_age(token, now),
            token_left: token_end.and_then(|end| Duration::try_from(end.duration_since(now)).ok()),
            accepted: self.last_accepted().map(|accepted| accepted.version),
            version: auth.credential.version,
        }
    }

    /// Why an attempt with this version failed and what to do.
    pub(crate) fn diagnose_failure(
        &self,
        version: Version,
        failed: &FailedAttempt<'_>,
        now: Moment,
    ) -> Diagnosis {
        let seen = self
            .provider
            .credential
            .as_ref()
            .and_then(|reference| self.deps.credential_cache.seen_at(reference))
            .filter(|seen| seen.version == version);
        let history = AccountHistory {
            version,
            credential_age: seen.map(|seen| now.since(seen.since)),
            last_accepted: self
                .last_accepted()
                .map(|accepted| (now.since(accepted.at), accepted.version)),
        };
        RemedyContext::with_source(
            &self.provider,
            self.source.as_ref(),
            &self.deps.config_path,
            self.deps.has_control,
        )
        .diagnose(failed, history)
    }
}

impl ProviderRuntime {
    /// The same for a request that was passed unchanged, with the backend's own credential.
    pub(crate) fn diagnose_observed(&self, failed: &FailedAttempt<'_>) -> Diagnosis {
        let context = RemedyContext::with_source(
            &self.provider,
            None,
            &self.deps.config_path,
            self.deps.has_control,
        );
        let context = RemedyContext {
            is_observed: true,
            ..context
        };
        context.diagnose(failed, AccountHistory::default())
    }
}

/// How long ago a login returned the token; none: it has expired by its own account, or the clock was set back.
pub(crate) fn token_age(token: Option<&LoginToken>, now: Timestamp) -> Option<Duration> {
    let token = token.filter(|token| token.expires_at.is_none_or(|end| now < end))?;
    Duration::try_from(now.duration_since(token.issued_at)).ok()
}

/// How far our clock is ahead of a reply's `Date`, in seconds. The exchange lasted from `started` to `ended`; its
/// duration counts for neither side.
pub(crate) fn clock_skew(
    headers: &HeaderMap,
    started: SystemTime,
    ended: SystemTime,
) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let theirs = jiff::fmt::rfc2822::parse(date)
        .ok()?
        .timestamp()
        .as_second();
    let seconds = |at: SystemTime| {
        at.duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since: Duration| since.as_secs().cast_signed())
    };
    let started = seconds(started);
    let ended = seconds(ended);
    Some(if theirs < started {
        started - theirs
    } else {
        ended.min(theirs) - theirs
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skew_leaves_out_the_duration_of_the_exchange() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let dated = |text: &str| HeaderMap::from_iter([(DATE, text.parse().unwrap())]);
        let noon = "Fri, 02 Jan 2026 03:04:05 GMT"; // 1767323045
        assert_eq!(
            clock_skew(&dated(noon), at(1_767_323_045), at(1_767_323_046)),
            Some(0)
        );
        assert_eq!(
            clock_skew(&dated(noon), at(1_767_323_040), at(1_767_323_050)),
            Some(0),
            "the date lies within a slow exchange"
        );
        assert_eq!(
            clock_skew(&dated(noon), at(1_767_323_645), at(1_767_323_646)),
            Some(600),
            "ours is ahead"
        );
        assert_eq!(
            clock_skew(&dated(noon), at(1_767_322_000), at(1_767_322_045)),
            Some(-1_000),
            "ours is behind"
        );
        assert_eq!(clock_skew(&dated("yesterday"), at(0), at(1)), None);
        assert_eq!(clock_skew(&HeaderMap::new(), at(0), at(1)), None);
    }
}
