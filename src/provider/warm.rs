//! A connection that is opened before a message needs it. Nothing here touches the health of the provider: a
//! connection that cannot be opened has cost no message.

use crate::net::authority::{Authority, Scheme};
use crate::policy::{IdleSummary, WarmUpSchedule};
use crate::provider::{ProviderRuntime, lock};
use crate::telemetry::WarmUpFinished;

impl ProviderRuntime {
    /// Whether a connection is to be opened in advance now; if so, [`warm_up`](Self::warm_up) follows.
    pub(crate) fn begin_warm_up(&self) -> bool {
        let Some(origin) = self.warm_origin() else {
            return false;
        };
        let last_accepted = self.last_accepted().map(|accepted| accepted.at);
        let idle = self.client.idle_summary(origin);
        lock(&self.warm_up_schedule).begin(last_accepted, idle, self.deps.now())
    }

    /// Opens it.
    pub(crate) async fn warm_up(&self) {
        let Some(origin) = self.warm_origin() else {
            return;
        };
        let IdleSummary { taken, .. } = self.client.idle_summary(origin);
        let opened = self.client.warm_up(origin, self.provider.timeout).await;
        let now = self.deps.now();
        let finished = |schedule: &mut WarmUpSchedule| match &opened {
            Ok(()) => {
                schedule.opened(taken, now);
                None
            }
            Err(error) => Some((error.cause(), error.detail(), schedule.failed(now))),
        };
        let failure = finished(&mut lock(&self.warm_up_schedule));
        WarmUpFinished {
            provider: &self.provider.id,
            failure,
        }
        .emit(&self.deps.telemetry);
    }

    /// Where it goes. Without TLS it would spare one round trip.
    fn warm_origin(&self) -> Option<&Authority> {
        let origin = self.base_url.authority()?;
        let is_wanted = self.provider.upstream.warm_connection && origin.scheme == Scheme::Https;
        is_wanted.then_some(origin)
    }
}
