//! Who is asked next, and who is left alone: the judgement between reading a message
//! and answering it. Values and functions over them; time, dice and history are
//! parameters, so every rule here is tested without a socket or a clock.
//!
//! - [`next`]: one call's loop — plan, history, standings, time gone → send or answer.
//! - [`Record`]: how one provider stands, folded from what its answers said.
//! - [`Repeats`], [`Ids`]: what is remembered of earlier calls, bounded.
//! - [`Purse`]: how fast an account's money goes.
//! - [`order`], [`Rule`], [`Templates`]: whom a route means, and in whose approved words.

mod decide;
mod ids;
mod plan;
mod purse;
mod record;
mod repeat;
mod resort;
mod route;
mod standing;
mod template;

pub use decide::{next, request_result, result_cause};
pub use ids::{IdMap, MappedId};
pub use plan::{
    AccountSnapshot, Attempt, CredentialRevision, DeliveryPlan, NextStep, OnUnknown, PlannedAccount,
};
pub use purse::BalanceHistory;
pub use record::Health;
pub use repeat::{
    DedupCompletion, DedupKey, DedupLookup, DedupTable, DedupTicket, PastAttempt, duplicate_window,
    inherit_attempts,
};
pub use resort::LastResortTrial;
pub use route::{RouteCriteria, RouteInput, order_providers};
pub use standing::{HealthEvent, HealthState, SendAdmission};
pub use template::{TemplateError, TemplateMatch, Templates, TextTemplate};
