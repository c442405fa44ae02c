//! The nouns that every layer shares: message, recipient, outcome, cause. Their only behaviour
//! protects the values: a number prints masked, and a text does not print at all.

mod cause;
mod message;
mod numbering;
mod outcome;

pub use cause::{Cause, Certainty, Concern, Family};
pub use message::{
    ApprovedTemplate, InvalidMsisdn, Message, MessageText, Msisdn, prefix_covers, prefixes_overlap,
};
pub use numbering::{NumberReading, NumberingPlan, UnfitNumber};
pub use outcome::{AttemptKind, Entrypoint, Operation, Outcome, ProviderId, RequestResult};
