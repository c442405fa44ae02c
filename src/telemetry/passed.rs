//! What never became a call: a request turned away at the door, a tunnel that ended.

use std::time::Duration;

use crate::sms::{Cause, Door, Operation, Verdict};
use crate::telemetry::call::line;
use crate::telemetry::{CallEnded, Telemetry};

/// A request was refused before anybody read it.
#[derive(Clone, Copy, Debug)]
pub struct TurnedAway<'a> {
    /// Where it came in.
    pub door: Door,
    /// What it was told.
    pub status: u16,
    /// Why, in the words it was told.
    pub why: &'a str,
    /// It was for a host of ours, whose TLS could not be ended: every call of that backend ends so.
    pub ours: bool,
}

impl TurnedAway<'_> {
    /// Says why and counts a rejected call.
    pub fn emit(&self, telemetry: &Telemetry) {
        let level = if self.ours { tracing::Level::WARN } else { tracing::Level::INFO };
        line!(level, door = self.door.as_str(), status = self.status, why = self.why, "turned away");
        none(self.door, Verdict::Rejected, Some(Cause::RefusedByPolicy)).count(telemetry);
        telemetry.memory.passed(self.door, Verdict::Rejected);
        if self.ours {
            telemetry.memory.barred(self.door, self.why);
        }
    }
}

/// A tunnel or streamed request to a host of no provider has ended.
#[derive(Clone, Copy, Debug)]
pub struct TunnelEnded<'a> {
    /// Where it came in.
    pub door: Door,
    /// Whom it led to.
    pub host: &'a str,
    /// In both directions.
    pub bytes: u64,
}

impl TunnelEnded<'_> {
    /// Counts a tunnelled call; its line is for debugging, because these calls are not ours.
    pub fn emit(&self, telemetry: &Telemetry) {
        tracing::debug!(door = self.door.as_str(), host = self.host, bytes = self.bytes, "tunnel ended");
        none(self.door, Verdict::Tunnelled, None).count(telemetry);
        telemetry.memory.passed(self.door, Verdict::Tunnelled);
    }
}

fn none(door: Door, verdict: Verdict, cause: Option<Cause>) -> CallEnded<'static> {
    CallEnded {
        id: "",
        caller: None,
        door,
        dialect: None,
        operation: Operation::Other,
        route: None,
        recipient: None,
        attempts: &[],
        verdict,
        method: "",
        status: 0,
        cause,
        certainty: None,
        remedy: None,
        repeat: None,
        took: Duration::ZERO,
        parent: None,
    }
}
