//! What is remembered of one account, route, vault entry, door or call.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::clock::Moment;
use crate::diagnosis::Diagnosis;
use crate::secret::Version;
use crate::sms::{Cause, Certainty, Door, Kind, Operation, ProviderId, Verdict};
use crate::telemetry::memory::Strip;
use crate::telemetry::{AttemptLine, CallEnded};

/// One provider.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) stand: Option<Stand>,
    /// When the last message failed and why; none: it was accepted, or the provider came back since.
    pub(crate) failed: Option<(SystemTime, Diagnosis)>,
    pub(crate) credential: Option<(Version, SystemTime)>,
    pub(crate) token_expires: Option<SystemTime>,
    pub(crate) balance: Option<Money>,
    /// Sends by outcome.
    pub(crate) hour: Strip,
    /// The same over a day: how fast money goes.
    pub(crate) day: Strip,
}

impl Default for Account {
    fn default() -> Self {
        let (hour, day) = (Strip::of_an_hour(), Strip::of_a_day());
        Self { stand: None, failed: None, credential: None, token_expires: None, balance: None, hour, day }
    }
}

/// What a service said of the money.
#[derive(Clone, Debug)]
pub(crate) struct Money {
    pub(crate) left: f64,
    pub(crate) unit: String,
    pub(crate) at: SystemTime,
    pub(crate) spent_a_day: Option<f64>,
}

/// How a provider stands, and why.
#[derive(Clone, Debug)]
pub(crate) struct Stand {
    pub(crate) standing: &'static str,
    pub(crate) cause: Option<Cause>,
    pub(crate) since: SystemTime,
    pub(crate) back: Option<Moment>,
    pub(crate) diagnosis: Option<Diagnosis>,
}

/// One route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// Since when its messages go by another than its first provider.
    pub(crate) backup_since: Option<SystemTime>,
    /// By whom the last message went, and when.
    pub(crate) accepted: Option<(ProviderId, SystemTime)>,
}

/// One vault entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// The last read and what it brought.
    pub(crate) read: Option<(SystemTime, &'static str)>,
    pub(crate) good_at: Option<SystemTime>,
    pub(crate) failing_since: Option<SystemTime>,
    pub(crate) problem: Option<String>,
}

/// The last reload.
#[derive(Clone, Debug)]
pub(crate) struct Reload {
    pub(crate) at: SystemTime,
    pub(crate) ok: bool,
    pub(crate) problem: Option<String>,
}

/// What came in at one door.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) calls: u64,
    pub(crate) tunnelled: u64,
    pub(crate) rejected: u64,
    pub(crate) last: Option<SystemTime>,
    /// Those turned away that were for hosts of ours.
    pub(crate) barred: Option<Barred>,
}

/// Requests for hosts of ours whose TLS could not be ended.
#[derive(Clone, Debug)]
pub(crate) struct Barred {
    pub(crate) count: u64,
    /// The last of them, and why.
    pub(crate) at: SystemTime,
    pub(crate) why: String,
}

impl Seen {
    pub(super) fn note(&mut self, verdict: Verdict, at: SystemTime) {
        let count = match verdict {
            Verdict::Tunnelled => &mut self.tunnelled,
            Verdict::Rejected => &mut self.rejected,
            Verdict::Accepted | Verdict::NotSent | Verdict::InDoubt | Verdict::MessageRefused | Verdict::Carried | Verdict::Answered => {
                &mut self.calls
            }
        };
        *count = count.saturating_add(1);
        self.last = Some(at);
    }
}

/// One call.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallNote {
    pub(crate) at: Option<SystemTime>,
    pub(crate) id: String,
    /// Empty: it is not known who called.
    pub(crate) caller: String,
    pub(crate) door: Option<Door>,
    pub(crate) dialect: String,
    pub(crate) operation: Option<Operation>,
    pub(crate) route: String,
    /// Masked.
    pub(crate) recipient: String,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) cause: Option<Cause>,
    pub(crate) certainty: Option<Certainty>,
    pub(crate) repeat: bool,
    pub(crate) took: Duration,
    pub(crate) attempts: Vec<AttemptNote>,
}

/// One of its attempts.
#[derive(Clone, Debug)]
pub(crate) struct AttemptNote {
    pub(crate) provider: ProviderId,
    pub(crate) kind: Kind,
    pub(crate) outcome: &'static str,
    pub(crate) cause: Option<Cause>,
    pub(crate) status: Option<u16>,
    pub(crate) says: Option<String>,
    pub(crate) took: Duration,
}

impl CallNote {
    /// Becomes the note of this call, in the strings it has.
    pub(super) fn take(&mut self, event: &CallEnded<'_>, at: SystemTime) {
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
        (self.at, self.door, self.operation) = (Some(at), Some(event.door), Some(event.operation));
        (self.verdict, self.cause, self.certainty, self.took) = (Some(event.verdict), event.cause, event.certainty, event.took);
        self.repeat = event.repeat.is_some();
        self.attempts.clear();
        self.attempts.extend(event.attempts.iter().map(AttemptNote::of));
    }
}

impl AttemptNote {
    fn of(line: &AttemptLine<'_>) -> Self {
        Self {
            provider: line.provider.clone(),
            kind: line.kind,
            outcome: line.outcome.as_str(),
            cause: line.outcome.cause(),
            status: line.status,
            says: line.says.map(str::to_owned),
            took: line.took,
        }
    }
}
