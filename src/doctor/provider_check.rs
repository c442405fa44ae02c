//! Who is examined: one provider and what is known around it, so that every check names the same
//! vault entry, the same config line and the same remedy as the pipeline would.

use std::time::Duration;

use crate::diagnosis::{
    Diagnosis, DiagnosisContext, FailedAttempt, VaultEntryRef, VaultStorage, diagnose,
};
use crate::doctor::Setup;
use crate::doctor::account::ProbeRejection;
use crate::doctor::check::Check;
use crate::proxy::{Provider, vault_kind};
use crate::secret::Version;
use crate::sms::{AttemptKind, Cause, Certainty};

/// One provider under examination.
#[derive(Debug)]
pub(crate) struct ProviderCheck<'a> {
    pub(crate) provider: &'a Provider,
    /// The config as the operator names it.
    config: &'a str,
    lacks_control_socket: bool,
    storage: VaultStorage,
    fields: Vec<String>,
    /// 0: no credential was read.
    pub(crate) version: Version,
}

impl<'a> ProviderCheck<'a> {
    pub(crate) fn new(provider: &'a Provider, setup: &Setup<'a>) -> Self {
        let source = provider
            .credential
            .as_ref()
            .and_then(|reference| setup.vault.sources.get(&reference.vault));
        let fields = provider
            .dialect
            .credential_fields()
            .iter()
            .map(|field| field.name.clone())
            .collect();
        Self {
            provider,
            config: setup.file,
            lacks_control_socket: !setup.has_control(),
            storage: vault_kind(source),
            fields,
            version: Version(0),
        }
    }

    /// Whether its address is one that the service has left.
    pub(crate) fn has_retired_host(&self) -> bool {
        self.provider
            .dialect
            .is_retired_base_url(&self.provider.base_url)
    }

    /// What our own part found: no reply stands behind it.
    pub(crate) fn local_failure(&self, name: &'static str, cause: Cause, says: &str) -> Check {
        let (kind, certainty) = (AttemptKind::Probe, Certainty::Certain);
        let evidence = FailedAttempt {
            kind,
            cause,
            certainty,
            alternatives: &[],
            status: None,
            code: None,
            provider_message: Some(says),
            evidence: &[],
        };
        Check::diagnosed(name, self.diagnosis(&evidence))
    }

    /// What a reply said, and what was learned beside it.
    pub(crate) fn rejected(
        &self,
        name: &'static str,
        kind: AttemptKind,
        refusal: &ProbeRejection,
    ) -> Check {
        let finding = &refusal.classification;
        let evidence = FailedAttempt {
            kind,
            cause: finding.outcome.cause().unwrap_or(Cause::ReplyUnreadable),
            certainty: finding.certainty,
            alternatives: &finding.alternatives,
            status: Some(refusal.status),
            code: finding.code.as_deref(),
            provider_message: finding.provider_message.as_deref(),
            evidence: &refusal.evidence,
        };
        Check::diagnosed(name, self.diagnosis(&evidence))
    }

    fn diagnosis(&self, evidence: &FailedAttempt<'_>) -> Diagnosis {
        let provider = self.provider;
        let entry = provider.credential.as_ref().map(|reference| VaultEntryRef {
            vault: &reference.vault,
            storage: &self.storage,
            path: &reference.path,
            fields: &self.fields,
        });
        let context = DiagnosisContext {
            provider: provider.id.as_str(),
            dialect: &provider.dialect.name,
            base_url: &provider.base_url,
            entry,
            version: self.version,
            sender: provider.sender.as_deref(),
            timeout: Some(provider.timeout).filter(|timeout| *timeout > Duration::ZERO),
            config_path: self.config,
            config_line: provider.line,
            console_pages: Some(provider.dialect.console_urls()),
            replacement_url: self.has_retired_host().then(|| provider.dialect.base_url()),
            uses_outbound: provider.upstream.proxy.is_some()
                || provider.upstream.source_address.is_some(),
            lacks_control_socket: self.lacks_control_socket,
            ..DiagnosisContext::default()
        };
        diagnose(evidence, &context)
    }
}
