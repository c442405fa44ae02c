//! The diagnosis of a request's failure: of one attempt, or of a request that made none.

use crate::diagnosis::Diagnosis;
use crate::provider::attempt::AttemptResult;
use crate::provider::diagnose::{diagnose_without_provider, diagnosis_input, local_input};
use crate::proxy::Proxy;
use crate::proxy::delivery::Delivery;
use crate::sms::{AttemptKind, Cause};

impl Proxy {
    /// Why an attempt failed and what to do; none: it did not fail.
    pub(super) fn diagnose(&self, result: &AttemptResult) -> Option<Diagnosis> {
        let failed = diagnosis_input(
            result.kind,
            &result.classification,
            result.status,
            &result.evidence,
        )?;
        let version = result.attempt.credential.version;
        Some(
            result
                .runtime
                .diagnose_failure(version, &failed, self.now()),
        )
    }

    /// The same for a message that no provider was tried for: all were skipped or unavailable.
    pub(super) fn diagnose_without_attempt(
        &self,
        delivery: &Delivery<'_>,
        cause: Cause,
    ) -> Diagnosis {
        let failed = local_input(AttemptKind::Send, cause, None);
        if let Some(runtime) = delivery.provider_for_cause(cause) {
            let version = runtime.newest_revision().version;
            return runtime.diagnose_failure(version, &failed, self.now());
        }
        match delivery.context.snapshot.providers.values().next() {
            Some(runtime) => diagnose_without_provider(
                &failed,
                "",
                &runtime.deps.config_path,
                runtime.deps.has_control,
            ),
            None => diagnose_without_provider(&failed, "", "", true),
        }
    }
}
