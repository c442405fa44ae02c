//! Connections that are opened in advance, to healthy providers only: to another one the next message goes late, if
//! at all.

use std::sync::Arc;

use crate::policy::HealthState;
use crate::provider::ProviderRuntime;
use crate::proxy::Proxy;

impl Proxy {
    /// What opens the connections that are due, one for each provider; to be called every
    /// [`WARM_INTERVAL`](crate::policy::WARM_INTERVAL).
    pub fn due_warm_ups(&self) -> Vec<impl Future<Output = ()> + Send + 'static> {
        let snapshot = self.snapshot.load();
        let now = self.now();
        let is_healthy = |runtime: &Arc<ProviderRuntime>| {
            self.health.health_state(runtime, now) == HealthState::Healthy
        };
        let runtimes = snapshot.providers.values();
        runtimes
            .filter(|runtime| is_healthy(runtime) && runtime.begin_warm_up())
            .map(|runtime| {
                let runtime = Arc::clone(runtime);
                async move { runtime.warm_up().await }
            })
            .collect()
    }
}
