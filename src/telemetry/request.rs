//! The one log line of a request: the caller, the operation, every attempt, the result and the
//! remedy. The recipient's type prints it masked; the text is not a field.

use std::fmt::Write as _;
use std::time::Duration;

use crate::sms::{
    AttemptKind, Cause, Certainty, Concern, Entrypoint, Msisdn, Operation, Outcome, ProviderId,
    RequestResult,
};
use crate::telemetry::labels::{NONE, label_or_other};
use crate::telemetry::{Telemetry, TraceParent};

/// One attempt, as the line of its request shows it.
#[derive(Clone, Copy, Debug)]
pub struct AttemptRecord<'a> {
    /// The provider.
    pub provider: &'a ProviderId,
    /// The kind of attempt.
    pub kind: AttemptKind,
    /// Its outcome, with the cause.
    pub outcome: &'a Outcome,
    /// How certain the cause is.
    pub certainty: Option<Certainty>,
    /// The literal HTTP status, if a reply came.
    pub status: Option<u16>,
    /// The service's own code and message, cleaned and truncated by the dialect.
    pub provider_message: Option<&'a str>,
    /// The method of its request, if one was made.
    pub method: Option<&'a str>,
    /// The destination host and port.
    pub server: Option<(&'a str, u16)>,
    /// How long after the backend's request it began.
    pub started_after: Duration,
    /// How long it took.
    pub duration: Duration,
}

/// A request was answered.
#[derive(Clone, Copy, Debug)]
pub struct RequestFinished<'a> {
    /// The sidecar's own id of the request, for the log.
    pub id: &'a str,
    /// The caller's name in the config.
    pub caller: Option<&'a str>,
    /// The entrypoint.
    pub entrypoint: Entrypoint,
    /// The backend's dialect.
    pub dialect: Option<&'a str>,
    /// The operation.
    pub operation: Operation,
    /// The route that matched.
    pub route: Option<&'a str>,
    /// The recipient, which prints masked.
    pub recipient: Option<&'a Msisdn>,
    /// The attempts, in order.
    pub attempts: &'a [AttemptRecord<'a>],
    /// The result that the backend got.
    pub result: RequestResult,
    /// The method of the backend's request.
    pub method: &'a str,
    /// The HTTP status of the response.
    pub status: u16,
    /// Why it failed, or why a failover was needed.
    pub cause: Option<Cause>,
    /// How certain the cause is.
    pub certainty: Option<Certainty>,
    /// What to do about it; none if there is nothing to do.
    pub remedy: Option<&'a str>,
    /// For a duplicate, which is not sent again: how long ago the same message was answered.
    pub duplicate_age: Option<Duration>,
    /// The time from accepting the request to the response.
    pub duration: Duration,
    /// The backend's span in which it made the request, if it named one.
    pub parent: Option<&'a TraceParent>,
}

/// Writes a line at a level that is only known at run time.
macro_rules! log_at_level {
    ($level:expr, $($fields:tt)+) => {
        match $level {
            tracing::Level::ERROR => tracing::error!($($fields)+),
            tracing::Level::WARN => tracing::warn!($($fields)+),
            tracing::Level::INFO => tracing::info!($($fields)+),
            _ => tracing::debug!($($fields)+),
        }
    };
}
pub(super) use log_at_level;

impl RequestFinished<'_> {
    /// Writes the line, and counts the request and its duration.
    pub fn emit(&self, telemetry: &Telemetry) {
        self.record_metrics(telemetry);
        telemetry.store.record_request(self);
        let trace = telemetry.tracer.record_request(self, telemetry);
        log_at_level!(
            self.log_level(),
            id = self.id,
            caller = self.caller,
            entrypoint = self.entrypoint.as_str(),
            dialect = self.dialect,
            operation = self.operation.as_str(),
            route = self.route,
            recipient = self.recipient.map(display),
            result = self.result.as_str(),
            cause = self.cause.map(Cause::as_str),
            certainty = self.certainty.map(Certainty::as_str),
            remedy = self.remedy,
            healed = self.is_healed().then_some(true),
            duplicate = self.duplicate_age.map(|_| true),
            attempts = format_attempts(self.attempts),
            took_ms = millis(self.duration),
            trace_id = trace.map(display),
            "request {}",
            self.result,
        );
    }

    pub(super) fn record_metrics(&self, telemetry: &Telemetry) {
        let known = telemetry.labels();
        let dialect = self
            .dialect
            .map_or(NONE, |dialect| label_or_other(dialect, &known.dialects));
        let result = self.result.as_str();
        let families = &telemetry.metrics;
        families
            .requests
            .with_label_values(&[
                self.entrypoint.as_str(),
                dialect,
                self.operation.as_str(),
                result,
            ])
            .inc();
        families
            .request_duration
            .with_label_values(&[dialect, result])
            .observe(self.duration.as_secs_f64());
    }

    /// Whether the provider of this attempt accepted the message in the end, with a newer credential or token.
    fn is_healed_attempt(&self, attempt: &AttemptRecord<'_>) -> bool {
        self.attempts.iter().any(|other| {
            matches!(other.outcome, Outcome::Accepted { .. }) && other.provider == attempt.provider
        })
    }

    /// Whether an account was rejected, and every rejection was healed.
    fn is_healed(&self) -> bool {
        let mut rejected = self
            .attempts
            .iter()
            .filter(|attempt| attempt.concerns_account())
            .peekable();
        rejected.peek().is_some() && rejected.all(|attempt| self.is_healed_attempt(attempt))
    }

    /// Error if nothing could be delivered; warning if it was, but an account needs an operator.
    fn log_level(&self) -> tracing::Level {
        let hands = |attempt: &AttemptRecord<'_>| {
            attempt.concerns_account() && !self.is_healed_attempt(attempt)
        };
        match self.result {
            RequestResult::NotSent | RequestResult::InDoubt
                if self
                    .cause
                    .is_some_and(|cause| cause.concern() == Concern::Message) =>
            {
                tracing::Level::INFO
            }
            RequestResult::NotSent | RequestResult::InDoubt => tracing::Level::ERROR,
            RequestResult::Denied => tracing::Level::WARN,
            RequestResult::Accepted
            | RequestResult::MessageRejected
            | RequestResult::PassedThrough
            | RequestResult::AnsweredLocally
                if self.attempts.iter().any(hands) =>
            {
                tracing::Level::WARN
            }
            RequestResult::Accepted
            | RequestResult::MessageRejected
            | RequestResult::PassedThrough
            | RequestResult::AnsweredLocally => tracing::Level::INFO,
            RequestResult::Tunnelled => tracing::Level::DEBUG,
        }
    }
}

/// `main/send rejected credential-rejected (certain) 401 82ms; backup/send accepted 200 143ms`.
fn format_attempts(lines: &[AttemptRecord<'_>]) -> String {
    let mut text = String::new();
    for line in lines {
        if !text.is_empty() {
            text.push_str("; ");
        }
        // Writing to a String cannot fail.
        line.write_to(&mut text).unwrap_or_default();
    }
    text
}

impl AttemptRecord<'_> {
    fn concerns_account(&self) -> bool {
        self.outcome.cause().is_some_and(Cause::blocks_account)
    }

    fn write_to(&self, text: &mut String) -> std::fmt::Result {
        write!(
            text,
            "{}/{} {}",
            self.provider,
            self.kind,
            self.outcome.as_str()
        )?;
        if let Some(cause) = self.outcome.cause() {
            write!(text, " {cause}")?;
        }
        if let Some(certainty) = self.certainty {
            write!(text, " ({})", certainty.as_str())?;
        }
        if let Some(status) = self.status {
            write!(text, " {status}")?;
        }
        write!(text, " {}ms", self.duration.as_millis())?;
        match self.provider_message {
            Some(says) => write!(text, " provider_message={says:?}"),
            None => Ok(()),
        }
    }
}

pub(super) fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
