//! The settings of one account at one service, as the config gives them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::dialect::Dialect;
use crate::net::UpstreamSettings;
use crate::sms::{NumberingPlan, ProviderId};
use crate::vault::CredentialRef;

/// One account at one service.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name.
    pub id: ProviderId,
    /// The line of the config on which its table begins.
    pub line: usize,
    /// The service's API.
    pub dialect: Arc<Dialect>,
    /// Where its credential is; none only in observe mode.
    pub credential: Option<CredentialRef>,
    /// If set, every message through this provider is sent with this sender.
    pub sender: Option<String>,
    /// The country of numbers without a country code, in a route that sets none.
    pub country: Option<NumberingPlan>,
    /// Time limit of one attempt.
    pub timeout: Duration,
    /// Delay before the first recheck after it was quarantined; none: never.
    pub recheck: Option<Duration>,
    /// Whether it is skipped when no template matches the text.
    pub templates_only: bool,
    /// Operations that pass beside those of the dialect: `GET /…`.
    pub operations: Vec<String>,
    /// Where attempts go; the dialect's base URL unless set.
    pub base_url: String,
    /// The dialect's `[param]`s.
    pub params: BTreeMap<String, String>,
    /// How connections to it are made.
    pub upstream: UpstreamSettings,
}
