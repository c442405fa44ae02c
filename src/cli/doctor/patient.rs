//! Who is examined: one provider and what is known around it, so that every check names the same
//! vault entry, the same config line and the same remedy as the pipeline would.

use std::time::Duration;

use crate::cli::doctor::account::Refusal;
use crate::cli::doctor::check::Check;
use crate::config::Loaded;
use crate::diagnosis::{Context, Diagnosis, Entry, Evidence, Kept, diagnose};
use crate::proxy::{Provider, kept};
use crate::secret::Version;
use crate::sms::{Cause, Certainty, Kind};

/// One provider under examination.
#[derive(Debug)]
pub(super) struct Patient<'a> {
    pub(super) provider: &'a Provider,
    /// The config as the operator names it.
    config: &'a str,
    uncontrolled: bool,
    kept: Kept,
    fields: Vec<String>,
    /// 0: no credential was read.
    pub(super) version: Version,
}

impl<'a> Patient<'a> {
    pub(super) fn new(provider: &'a Provider, loaded: &Loaded, config: &'a str) -> Self {
        let source = provider.credential.as_ref().and_then(|reference| loaded.vault.sources.get(&reference.vault));
        let fields = provider.dialect.credential_fields().iter().map(|field| field.name.clone()).collect();
        Self { provider, config, uncontrolled: loaded.listen.control.is_none(), kept: kept(source), fields, version: Version(0) }
    }

    /// Whether its address is one that the service has left.
    pub(super) fn has_left(&self) -> bool {
        self.provider.dialect.has_left(&self.provider.base_url)
    }

    /// What our own part found: no reply stands behind it.
    pub(super) fn ours(&self, name: &'static str, cause: Cause, says: &str) -> Check {
        let (kind, certainty) = (Kind::Probe, Certainty::Certain);
        let evidence = Evidence { kind, cause, certainty, alternatives: &[], status: None, code: None, says: Some(says), learned: &[] };
        Check::diagnosed(name, self.diagnosis(&evidence))
    }

    /// What a reply said, and what was learned beside it.
    pub(super) fn refused(&self, name: &'static str, kind: Kind, refusal: &Refusal) -> Check {
        let finding = &refusal.finding;
        let evidence = Evidence {
            kind,
            cause: finding.outcome.cause().unwrap_or(Cause::ReplyUnreadable),
            certainty: finding.certainty,
            alternatives: &finding.alternatives,
            status: Some(refusal.status),
            code: finding.code.as_deref(),
            says: finding.says.as_deref(),
            learned: &refusal.learned,
        };
        Check::diagnosed(name, self.diagnosis(&evidence))
    }

    fn diagnosis(&self, evidence: &Evidence<'_>) -> Diagnosis {
        let provider = self.provider;
        let entry = provider.credential.as_ref().map(|reference| Entry {
            vault: &reference.vault,
            kept: &self.kept,
            path: &reference.path,
            fields: &self.fields,
        });
        let context = Context {
            provider: provider.id.as_str(),
            dialect: &provider.dialect.name,
            base_url: &provider.base_url,
            entry,
            version: self.version,
            sender: provider.sender.as_deref(),
            timeout: Some(provider.timeout).filter(|timeout| *timeout > Duration::ZERO),
            config: self.config,
            line: provider.line,
            pages: Some(provider.dialect.pages()),
            moved: self.has_left().then(|| provider.dialect.base_url()),
            outbound: provider.upstream.proxy.is_some() || provider.upstream.source_address.is_some(),
            uncontrolled: self.uncontrolled,
            ..Context::default()
        };
        diagnose(evidence, &context)
    }
}
