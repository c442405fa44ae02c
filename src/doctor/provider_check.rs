//! The checks of one provider name the same vault entry, the same line of the config and the same remedy as
//! the pipeline: both use the context of `provider::diagnose`.

use crate::diagnosis::Evidence;
use crate::dialect::Classification;
use crate::doctor::Setup;
use crate::doctor::check::Check;
use crate::provider::Provider;
use crate::provider::diagnose::{AccountHistory, RemedyContext, diagnosis_input, local_input};
use crate::secret::Version;
use crate::sms::{AttemptKind, Cause};

/// One provider whose checks run.
#[derive(Debug)]
pub(crate) struct ProviderCheck<'a> {
    pub(crate) provider: &'a Provider,
    context: RemedyContext<'a>,
    /// 0: no credential was read.
    pub(crate) version: Version,
}

/// A reply that is not healthy.
#[derive(Clone, Debug)]
pub(crate) struct ProbeRejection {
    /// Narrowed by the evidence.
    pub(crate) classification: Classification,
    pub(crate) status: u16,
    /// What narrowed it: the date, an address it names, the claims of the token.
    pub(crate) evidence: Vec<Evidence>,
}

impl<'a> ProviderCheck<'a> {
    pub(crate) fn new(provider: &'a Provider, setup: &Setup<'a>) -> Self {
        Self {
            provider,
            context: RemedyContext::new(provider, setup.vault, setup.file, setup.has_control()),
            version: Version(0),
        }
    }

    /// A failure that the sidecar found without a reply.
    pub(crate) fn local_failure(&self, name: &'static str, cause: Cause, detail: &str) -> Check {
        let failed = local_input(AttemptKind::Probe, cause, Some(detail));
        Check::diagnosed(name, self.context.diagnose(&failed, self.history()))
    }

    /// A rejection by the service.
    pub(crate) fn rejected(
        &self,
        name: &'static str,
        kind: AttemptKind,
        rejection: &ProbeRejection,
    ) -> Check {
        let failed = diagnosis_input(
            kind,
            &rejection.classification,
            Some(rejection.status),
            &rejection.evidence,
        )
        .unwrap_or_else(|| local_input(kind, Cause::ReplyUnreadable, None));
        Check::diagnosed(name, self.context.diagnose(&failed, self.history()))
    }

    fn history(&self) -> AccountHistory {
        AccountHistory {
            version: self.version,
            ..AccountHistory::default()
        }
    }
}
