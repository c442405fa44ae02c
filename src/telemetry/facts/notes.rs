//! What is remembered of one account, route, vault entry, door or call.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::clock::Moment;
use crate::diagnosis::Diagnosis;
use crate::secret::Version;
use crate::sms::{AttemptKind, Cause, Certainty, Entrypoint, Operation, ProviderId, RequestResult};
use crate::telemetry::facts::RollingCounts;
use crate::telemetry::{AttemptRecord, RequestFinished};

/// One provider.
#[derive(Clone, Debug)]
pub(crate) struct AccountNote {
    pub(crate) health: Option<HealthNote>,
    /// When the last message failed and why; none: it was accepted, or the provider came back since.
    pub(crate) last_failure: Option<(SystemTime, Diagnosis)>,
    pub(crate) credential: Option<(Version, SystemTime)>,
    pub(crate) token_expires_at: Option<SystemTime>,
    pub(crate) balance: Option<BalanceNote>,
    /// Sends by outcome.
    pub(crate) hour: RollingCounts,
    /// The same over a day: how fast money goes.
    pub(crate) day: RollingCounts,
}

impl Default for AccountNote {
    fn default() -> Self {
        let (hour, day) = (RollingCounts::last_hour(), RollingCounts::last_day());
        Self {
            health: None,
            last_failure: None,
            credential: None,
            token_expires_at: None,
            balance: None,
            hour,
            day,
        }
    }
}

/// What a service said of the money.
#[derive(Clone, Debug)]
pub(crate) struct BalanceNote {
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) at: SystemTime,
    pub(crate) daily_spend: Option<f64>,
}

/// How a provider stands, and why.
#[derive(Clone, Debug)]
pub(crate) struct HealthNote {
    pub(crate) state: &'static str,
    pub(crate) cause: Option<Cause>,
    pub(crate) since: SystemTime,
    pub(crate) next_trial_at: Option<Moment>,
    pub(crate) diagnosis: Option<Diagnosis>,
}

/// One route.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteNote {
    /// Since when its messages go by another than its first provider.
    pub(crate) backup_since: Option<SystemTime>,
    /// By whom the last message went, and when.
    pub(crate) last_accepted: Option<(ProviderId, SystemTime)>,
}

/// One vault entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct VaultEntryNote {
    /// The last read and what it brought.
    pub(crate) last_read: Option<(SystemTime, &'static str)>,
    pub(crate) last_success_at: Option<SystemTime>,
    pub(crate) failing_since: Option<SystemTime>,
    pub(crate) problem: Option<String>,
}

/// The last reload.
#[derive(Clone, Debug)]
pub(crate) struct ReloadNote {
    pub(crate) at: SystemTime,
    pub(crate) succeeded: bool,
    pub(crate) problem: Option<String>,
}

/// What came in at one door.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntrypointStats {
    pub(crate) requests: u64,
    pub(crate) tunnelled: u64,
    pub(crate) denied: u64,
    pub(crate) last_at: Option<SystemTime>,
    /// Those turned away that were for hosts of ours.
    pub(crate) tls_rejections: Option<TlsRejections>,
}

/// Requests for hosts of ours whose TLS could not be ended.
#[derive(Clone, Debug)]
pub(crate) struct TlsRejections {
    pub(crate) count: u64,
    /// The last of them, and why.
    pub(crate) last_at: SystemTime,
    pub(crate) reason: String,
}

impl EntrypointStats {
    pub(crate) fn record(&mut self, verdict: RequestResult, at: SystemTime) {
        let count = match verdict {
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

/// One call.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestNote {
    pub(crate) at: Option<SystemTime>,
    pub(crate) id: String,
    /// Empty: it is not known who called.
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

/// One of its attempts.
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
    /// Becomes the note of this call, in the strings it has.
    pub(crate) fn overwrite(&mut self, event: &RequestFinished<'_>, at: SystemTime) {
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
        (self.at, self.entrypoint, self.operation) =
            (Some(at), Some(event.entrypoint), Some(event.operation));
        (self.result, self.cause, self.certainty, self.duration) = (
            Some(event.result),
            event.cause,
            event.certainty,
            event.duration,
        );
        self.duplicate = event.duplicate_age.is_some();
        self.attempts.clear();
        self.attempts
            .extend(event.attempts.iter().map(AttemptNote::from_record));
    }
}

impl AttemptNote {
    fn from_record(line: &AttemptRecord<'_>) -> Self {
        Self {
            provider: line.provider.clone(),
            kind: line.kind,
            outcome: line.outcome.as_str(),
            cause: line.outcome.cause(),
            status: line.status,
            provider_message: line.provider_message.map(str::to_owned),
            duration: line.duration,
        }
    }
}
