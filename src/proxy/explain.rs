//! Evidence gathered for `diagnosis`: what an attempt brought to light and what is known
//! around it, as plain values.

use std::time::Duration;

use crate::clock::Moment;
use crate::diagnosis::{
    CauseCandidates, Diagnosis, DiagnosisContext, Evidence, FailedAttempt, VaultEntryRef,
    VaultStorage, diagnose, narrow_candidates,
};
use crate::dialect::{Classification, Reply};
use crate::provider::ProviderRuntime;
use crate::provider::attempt::AttemptResult;
use crate::provider::auth::AuthContext;
use crate::proxy::Proxy;
use crate::proxy::delivery::Delivery;
use crate::secret::Version;
use crate::sms::{AttemptKind, Cause, Certainty, Outcome};
use crate::vault::{KvVersion, SourceSettings};

impl Proxy {
    /// Why an attempt failed and what to do; none: it did not fail.
    pub(super) fn diagnose(&self, tried: &AttemptResult) -> Option<Diagnosis> {
        let evidence = diagnosis_input(
            tried.kind,
            &tried.classification,
            tried.status,
            &tried.evidence,
        )?;
        Some(diagnose_failure(
            &tried.runtime,
            tried.attempt.credential.version,
            &evidence,
            self.now(),
        ))
    }

    /// The same where no attempt was made: everybody was skipped or stood aside.
    pub(super) fn diagnose_without_attempt(
        &self,
        sending: &Delivery<'_>,
        cause: Cause,
    ) -> Diagnosis {
        let evidence = FailedAttempt {
            kind: AttemptKind::Send,
            cause,
            certainty: Certainty::Certain,
            alternatives: &[],
            status: None,
            code: None,
            provider_message: None,
            evidence: &[],
        };
        let around = sending
            .context
            .snapshot
            .providers
            .values()
            .next()
            .map(|link| &link.deps);
        if let Some(link) = sending.provider_for_cause(cause) {
            return diagnose_failure(link, link.newest_revision().version, &evidence, self.now());
        }
        let (config, uncontrolled) = around.map_or(("", false), |around| {
            (&*around.config_path, !around.has_control)
        });
        diagnose(
            &evidence,
            &DiagnosisContext {
                config_path: config,
                lacks_control_socket: uncontrolled,
                ..DiagnosisContext::default()
            },
        )
    }
}

/// A finding as evidence; none: nothing failed.
pub(super) fn diagnosis_input<'a>(
    kind: AttemptKind,
    finding: &'a Classification,
    status: Option<u16>,
    learned: &'a [Evidence],
) -> Option<FailedAttempt<'a>> {
    Some(FailedAttempt {
        kind,
        cause: finding.outcome.cause()?,
        certainty: finding.certainty,
        alternatives: &finding.alternatives,
        status,
        code: finding.code.as_deref(),
        provider_message: finding.provider_message.as_deref(),
        evidence: learned,
    })
}

/// With what is known around it.
pub(super) fn diagnose_failure(
    link: &ProviderRuntime,
    version: Version,
    evidence: &FailedAttempt<'_>,
    now: Moment,
) -> Diagnosis {
    let provider = &link.provider;
    let reference = provider.credential.as_ref();
    let seen = reference
        .and_then(|reference| link.deps.keeper.seen_at(reference))
        .filter(|seen| seen.version == version);
    let fields: Vec<String> = provider
        .dialect
        .credential_fields()
        .iter()
        .map(|field| field.name.clone())
        .collect();
    let entry = reference.map(|reference| VaultEntryRef {
        vault: &reference.vault,
        storage: &link.vault_kind,
        path: &reference.path,
        fields: &fields,
    });
    let context = DiagnosisContext {
        provider: provider.id.as_str(),
        dialect: &provider.dialect.name,
        base_url: &provider.base_url,
        entry,
        version,
        credential_age: seen.map(|seen| now.since(seen.since)),
        last_accepted: link
            .last_accepted()
            .map(|(at, version)| (now.since(at), version)),
        sender: provider.sender.as_deref(),
        timeout: Some(provider.timeout).filter(|timeout| *timeout > Duration::ZERO),
        config_path: &link.deps.config_path,
        config_line: provider.line,
        console_pages: Some(provider.dialect.console_urls()),
        replacement_url: provider
            .dialect
            .is_retired_base_url(&provider.base_url)
            .then(|| provider.dialect.base_url()),
        uses_outbound: provider.upstream.proxy.is_some()
            || provider.upstream.source_address.is_some(),
        lacks_control_socket: !link.deps.has_control,
    };
    diagnose(evidence, &context)
}

impl ProviderRuntime {
    /// What is known at once beside an ambiguous refusal, and narrows it: the reply's date, an address it names, the
    /// token's own words, what was accepted before, and what was asked after the same doubt earlier.
    pub(crate) fn narrow(
        &self,
        finding: &mut Classification,
        reply: &Reply,
        pass: &AuthContext,
    ) -> Vec<Evidence> {
        let Outcome::Rejected(cause) = finding.outcome else {
            return Vec::new();
        };
        if finding.alternatives.is_empty() {
            return Vec::new();
        }
        let version = pass.credential.version;
        let claims = pass
            .token
            .iter()
            .flat_map(|token| token.claims())
            .map(|claim| Evidence::from_token_claim(claim.cause, claim.holds));
        let history = self
            .last_accepted()
            .and_then(|(_, accepted)| Evidence::from_last_accepted(accepted, version));
        let address = Evidence::from_reported_address(&String::from_utf8_lossy(&reply.body));
        let at_once = self
            .clock_skew(reply)
            .map(Evidence::from_reply_date)
            .into_iter()
            .chain(address)
            .chain(claims)
            .chain(self.token_expiry_evidence(pass))
            .chain(history);
        let (suspects, mut learned) = narrow_candidates(
            CauseCandidates::new(cause, finding.certainty, &finding.alternatives),
            at_once,
        );
        let earlier = self.earlier_evidence(version, &suspects);
        let suspects = earlier.iter().fold(suspects, |suspects, learned| {
            suspects.apply(&learned.implication)
        });
        learned.extend(earlier);
        finding.outcome = Outcome::Rejected(suspects.cause);
        (finding.certainty, finding.alternatives) = (suspects.certainty, suspects.alternatives);
        learned
    }

    /// How long the token still lasts, by its own words or by the service's.
    fn token_expiry_evidence(&self, pass: &AuthContext) -> Option<Evidence> {
        let left = pass
            .token
            .as_ref()?
            .expires_at?
            .duration_since(self.deps.wall());
        Duration::try_from(left)
            .ok()
            .map(Evidence::from_token_lifetime)
    }

    /// How far the service's clock is from ours.
    fn clock_skew(&self, reply: &Reply) -> Option<Duration> {
        let date = reply.headers.get(http::header::DATE)?.to_str().ok()?;
        let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
        Some(self.deps.wall().duration_since(theirs).unsigned_abs())
    }
}

/// How a vault keeps its entries.
pub fn vault_kind(source: Option<&SourceSettings>) -> VaultStorage {
    match source {
        Some(SourceSettings::Env { .. }) => VaultStorage::Env,
        Some(SourceSettings::Directory { .. }) => VaultStorage::Directory,
        Some(SourceSettings::OpenBao(server)) => VaultStorage::OpenBao {
            mount: server.mount.as_str().into(),
            namespace: server.namespace.as_deref().map(Into::into),
            versioned: server.kv != Some(KvVersion::V1),
        },
        Some(SourceSettings::Exec(exec)) => VaultStorage::Exec {
            command: exec
                .command
                .first()
                .map(String::as_str)
                .unwrap_or_default()
                .into(),
        },
        Some(SourceSettings::Embedded { .. }) | None => VaultStorage::Embedded,
    }
}
