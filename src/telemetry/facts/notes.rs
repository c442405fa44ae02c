//! The facts about one account, route, vault entry, entrypoint or request.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::diagnosis::Diagnosis;
use crate::policy::HealthState;
use crate::secret::Version;
use crate::sms::{AttemptKind, Cause, Certainty, Entrypoint, Operation, ProviderId, RequestResult};
use crate::telemetry::facts::recent_durations::RecentDurations;
use crate::telemetry::facts::recent_results::RecentResults;
use crate::telemetry::facts::rolling_counts::RollingCounts;
use crate::telemetry::{AttemptRecord, CommandKind, RequestFinished};

/// One provider.
#[derive(Clone, Debug)]
pub(crate) struct AccountNote {
    pub(crate) health: Option<HealthNote>,
    /// When the last message failed and why; none if it was accepted, or if the provider has recovered since.
    pub(crate) last_failure: Option<(SystemTime, Diagnosis)>,
    /// The latest sends that show whether it works.
    pub(crate) recent: RecentResults,
    /// When it last accepted a message.
    pub(crate) last_accepted: Option<SystemTime>,
    /// How long the latest sends took of which something was written.
    pub(crate) durations: RecentDurations,
    pub(crate) credential: Option<(Version, SystemTime)>,
    /// An older version of the credential serves in place of the newest.
    pub(crate) previous_credential: Option<PreviousCredentialNote>,
    pub(crate) token_expires_at: Option<SystemTime>,
    /// The last `pause` or `resume`.
    pub(crate) last_command: Option<CommandNote>,
    pub(crate) balance: Option<BalanceNote>,
    /// Sends by outcome.
    pub(crate) hour: RollingCounts,
    /// The same over a day, for the spending rate.
    pub(crate) day: RollingCounts,
}

impl Default for AccountNote {
    fn default() -> Self {
        Self {
            health: None,
            last_failure: None,
            recent: RecentResults::default(),
            last_accepted: None,
            durations: RecentDurations::default(),
            credential: None,
            previous_credential: None,
            token_expires_at: None,
            last_command: None,
            balance: None,
            hour: RollingCounts::last_hour(),
            day: RollingCounts::last_day(),
        }
    }
}

/// An older version of a credential serves, because the newest was rejected or cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct PreviousCredentialNote {
    pub(crate) at: SystemTime,
    pub(crate) in_use: Version,
    /// Why the newest does not serve.
    pub(crate) diagnosis: Option<Diagnosis>,
}

/// The balance that a service last reported.
#[derive(Clone, Debug)]
pub(crate) struct BalanceNote {
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) at: SystemTime,
    pub(crate) daily_spend: Option<f64>,
}

/// The state of a provider, and why.
#[derive(Clone, Debug)]
pub(crate) struct HealthNote {
    pub(crate) state: HealthState,
    pub(crate) since: SystemTime,
    pub(crate) diagnosis: Option<Diagnosis>,
}

/// One route.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteNote {
    /// Since when its messages have gone through a provider other than its first one.
    pub(crate) backup_since: Option<SystemTime>,
    /// The provider that accepted the last message, and when.
    pub(crate) last_accepted: Option<(ProviderId, SystemTime)>,
    /// Its latest messages.
    pub(crate) recent: RecentResults,
}

/// One vault entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct VaultEntryNote {
    /// The last read and its result.
    pub(crate) last_read: Option<(SystemTime, &'static str)>,
    pub(crate) last_success_at: Option<SystemTime>,
    pub(crate) failing_since: Option<SystemTime>,
    pub(crate) problem: Option<String>,
}

/// A command of an operator.
#[derive(Clone, Debug)]
pub(crate) struct CommandNote {
    pub(crate) command: CommandKind,
    pub(crate) by: String,
    pub(crate) at: SystemTime,
}

/// The last reload.
#[derive(Clone, Debug)]
pub(crate) struct ReloadNote {
    pub(crate) at: SystemTime,
    pub(crate) succeeded: bool,
    /// Who ran the command; none for a signal.
    pub(crate) by: Option<String>,
    pub(crate) problem: Option<String>,
}

/// The requests that came in at one entrypoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntrypointStats {
    pub(crate) requests: u64,
    pub(crate) tunnelled: u64,
    pub(crate) denied: u64,
    pub(crate) last_at: Option<SystemTime>,
}

/// The connections of backends. The open ones are counted for each snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionStats {
    pub(crate) open: u64,
    pub(crate) limit: u64,
    /// Those that were denied because too many were open.
    pub(crate) denied: u64,
    pub(crate) last_denied_at: Option<SystemTime>,
}

impl HealthNote {
    /// Whether state and cause are the same for an operator; a later trial or start changes neither.
    pub(super) fn has_state_and_cause_of(&self, state: HealthState) -> bool {
        self.state.as_str() == state.as_str() && self.state.cause() == state.cause()
    }
}

impl EntrypointStats {
    pub(super) fn record(&mut self, result: RequestResult, at: SystemTime) {
        let count = match result {
            RequestResult::Tunnelled => &mut self.tunnelled,
            RequestResult::Denied => &mut self.denied,
            RequestResult::Accepted
            | RequestResult::NotSent
            | RequestResult::InDoubt
            | RequestResult::MessageRejected
            | RequestResult::PassedThrough
            | RequestResult::AnsweredLocally => &mut self.requests,
        };
        *count = count.saturating_add(1);
        self.last_at = Some(at);
    }
}

/// One request.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestNote {
    pub(crate) at: Option<SystemTime>,
    pub(crate) id: String,
    /// Empty if the caller is not known.
    pub(crate) caller: String,
    pub(crate) entrypoint: Option<Entrypoint>,
    pub(crate) dialect: String,
    pub(crate) operation: Option<Operation>,
    pub(crate) route: String,
    /// Masked.
    pub(crate) recipient: String,
    pub(crate) result: Option<RequestResult>,
    pub(crate) cause: Option<Cause>,
    pub(crate) certainty: Option<Certainty>,
    pub(crate) duplicate: bool,
    pub(crate) duration: Duration,
    pub(crate) attempts: Vec<AttemptNote>,
}

/// One attempt of a request.
#[derive(Clone, Debug)]
pub(crate) struct AttemptNote {
    pub(crate) provider: ProviderId,
    pub(crate) kind: AttemptKind,
    pub(crate) outcome: &'static str,
    pub(crate) cause: Option<Cause>,
    pub(crate) status: Option<u16>,
    pub(crate) provider_message: Option<String>,
    pub(crate) duration: Duration,
}

impl RequestNote {
    /// Replaces the values with those of this request, and reuses the strings.
    pub(super) fn overwrite(&mut self, event: &RequestFinished<'_>, at: SystemTime) {
        for (kept, word) in [
            (&mut self.id, Some(event.id)),
            (&mut self.caller, event.caller),
            (&mut self.dialect, event.dialect),
            (&mut self.route, event.route),
        ] {
            kept.clear();
            kept.push_str(word.unwrap_or_default());
        }
        self.recipient.clear();
        if let Some(recipient) = event.recipient {
            // Writing to a String cannot fail.
            write!(self.recipient, "{recipient}").unwrap_or_default();
        }
        self.at = Some(at);
        self.entrypoint = Some(event.entrypoint);
        self.operation = Some(event.operation);
        self.result = Some(event.result);
        self.cause = event.cause;
        self.certainty = event.certainty;
        self.duration = event.duration;
        self.duplicate = event.duplicate_age.is_some();
        self.attempts.clear();
        self.attempts
            .extend(event.attempts.iter().map(AttemptNote::from_record));
    }
}

impl AttemptNote {
    fn from_record(attempt: &AttemptRecord<'_>) -> Self {
        Self {
            provider: attempt.provider.clone(),
            kind: attempt.kind,
            outcome: attempt.outcome.as_str(),
            cause: attempt.outcome.cause(),
            status: attempt.status,
            provider_message: attempt.provider_message.map(str::to_owned),
            duration: attempt.duration,
        }
    }
}
