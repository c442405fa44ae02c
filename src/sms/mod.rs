//! The nouns every layer shares: a message, who gets it, what an attempt came to
//! and why. No behaviour beyond what keeps the values honest: a number masks itself
//! when printed, a text never prints at all.

mod cause;
mod message;
mod outcome;

pub use cause::{Cause, Certainty, Concern, Family};
pub use message::{ApprovedTemplate, InvalidMsisdn, Message, MessageText, Msisdn};
pub use outcome::{AttemptKind, Entrypoint, Operation, Outcome, ProviderId, RequestResult};
