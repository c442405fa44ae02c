//! The one line of a call: who asked for what, every attempt, what came of it and what
//! to do. The recipient prints masked by its type; the text is not even a field.

use std::fmt::Write as _;
use std::time::Duration;

use crate::sms::{Cause, Certainty, Concern, Door, Family, Kind, Msisdn, Operation, Outcome, ProviderId, Verdict};
use crate::telemetry::known::{NONE, bound};
use crate::telemetry::{Parent, Telemetry};

/// One attempt, as the call's line shows it.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLine<'a> {
    /// Whose account.
    pub provider: &'a ProviderId,
    /// What it was for.
    pub kind: Kind,
    /// What it came to, with its cause.
    pub outcome: &'a Outcome,
    /// How sure the cause is.
    pub certainty: Option<Certainty>,
    /// The literal HTTP status, if a reply came.
    pub status: Option<u16>,
    /// The service's own code and words, cleaned and cut by the dialect.
    pub says: Option<&'a str>,
    /// The request's method, if it came to a request.
    pub method: Option<&'a str>,
    /// The host and port it was for.
    pub server: Option<(&'a str, u16)>,
    /// How long after the call it began.
    pub after: Duration,
    /// How long it took.
    pub took: Duration,
}

/// A call has its answer.
#[derive(Clone, Copy, Debug)]
pub struct CallEnded<'a> {
    /// Ours, for finding the call again.
    pub id: &'a str,
    /// The caller's name in the config.
    pub caller: Option<&'a str>,
    /// The way it came in.
    pub door: Door,
    /// What the backend spoke.
    pub dialect: Option<&'a str>,
    /// What it asked for.
    pub operation: Operation,
    /// The route that matched.
    pub route: Option<&'a str>,
    /// Printed masked.
    pub recipient: Option<&'a Msisdn>,
    /// In order.
    pub attempts: &'a [AttemptLine<'a>],
    /// What the backend was told.
    pub verdict: Verdict,
    /// The method of the backend's request.
    pub method: &'a str,
    /// The HTTP status it was answered with.
    pub status: u16,
    /// Why, where it was no success; after a rescue, why a rescue was needed.
    pub cause: Option<Cause>,
    /// How sure the cause is.
    pub certainty: Option<Certainty>,
    /// What to do about it.
    pub remedy: Option<&'a str>,
    /// It was not sent again: the same message was answered so long ago.
    pub repeat: Option<Duration>,
    /// From accepting the call to its answer.
    pub took: Duration,
    /// The backend's span in which it made the call, if it named one.
    pub parent: Option<&'a Parent>,
}

/// Writes a line at a level that is only known at run time.
macro_rules! line {
    ($level:expr, $($fields:tt)+) => {
        match $level {
            tracing::Level::ERROR => tracing::error!($($fields)+),
            tracing::Level::WARN => tracing::warn!($($fields)+),
            tracing::Level::INFO => tracing::info!($($fields)+),
            _ => tracing::debug!($($fields)+),
        }
    };
}
pub(super) use line;

impl CallEnded<'_> {
    /// Writes the line, counts the call and its time.
    pub fn emit(&self, telemetry: &Telemetry) {
        self.count(telemetry);
        telemetry.memory.call(self);
        let trace = telemetry.tracer.call(self, telemetry);
        line!(
            self.level(),
            id = self.id,
            caller = self.caller,
            door = self.door.as_str(),
            dialect = self.dialect,
            operation = self.operation.as_str(),
            route = self.route,
            recipient = self.recipient.map(display),
            verdict = self.verdict.as_str(),
            cause = self.cause.map(Cause::as_str),
            certainty = self.certainty.map(Certainty::as_str),
            remedy = self.remedy,
            repeat = self.repeat.map(|_| true),
            attempts = attempts(self.attempts),
            took_ms = millis(self.took),
            trace_id = trace.map(display),
            "call {}",
            self.verdict,
        );
    }

    pub(super) fn count(&self, telemetry: &Telemetry) {
        let known = telemetry.known();
        let dialect = self.dialect.map_or(NONE, |dialect| bound(dialect, &known.dialects));
        let verdict = self.verdict.as_str();
        let families = &telemetry.families;
        families.calls.with_label_values(&[self.door.as_str(), dialect, self.operation.as_str(), verdict]).inc();
        families.call_duration.with_label_values(&[dialect, verdict]).observe(self.took.as_secs_f64());
    }

    /// By who is woken: nobody could be reached → error; it worked, but an account needs hands → warn.
    fn level(&self) -> tracing::Level {
        let hands = |attempt: &AttemptLine<'_>| attempt.outcome.cause().is_some_and(|cause| cause.family() == Family::Account);
        match self.verdict {
            Verdict::NotSent | Verdict::InDoubt if self.cause.is_some_and(|cause| cause.concern() == Concern::Message) => {
                tracing::Level::INFO
            }
            Verdict::NotSent | Verdict::InDoubt => tracing::Level::ERROR,
            Verdict::Rejected => tracing::Level::WARN,
            Verdict::Accepted | Verdict::MessageRefused | Verdict::Carried | Verdict::Answered if self.attempts.iter().any(hands) => {
                tracing::Level::WARN
            }
            Verdict::Accepted | Verdict::MessageRefused | Verdict::Carried | Verdict::Answered => tracing::Level::INFO,
            Verdict::Tunnelled => tracing::Level::DEBUG,
        }
    }
}

/// `main/send refused credential-rejected (certain) 401 82ms; backup/send accepted 200 143ms`.
fn attempts(lines: &[AttemptLine<'_>]) -> String {
    let mut text = String::new();
    for line in lines {
        if !text.is_empty() {
            text.push_str("; ");
        }
        // Writing to a String cannot fail.
        line.write(&mut text).unwrap_or_default();
    }
    text
}

impl AttemptLine<'_> {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        write!(text, "{}/{} {}", self.provider, self.kind, self.outcome.as_str())?;
        if let Some(cause) = self.outcome.cause() {
            write!(text, " {cause}")?;
        }
        if let Some(certainty) = self.certainty {
            write!(text, " ({})", certainty.as_str())?;
        }
        if let Some(status) = self.status {
            write!(text, " {status}")?;
        }
        write!(text, " {}ms", self.took.as_millis())?;
        match self.says {
            Some(says) => write!(text, " says {says:?}"),
            None => Ok(()),
        }
    }
}

pub(super) fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
