//! Who is asked next, and who is left alone: the judgement between reading a message
//! and answering it. Values and functions over them; time, dice and history are
//! parameters, so every rule here is tested without a socket or a clock.
//!
//! - [`next`]: one call's loop — plan, history, standings, time gone → send or answer.
//! - [`Record`]: how one provider stands, folded from what its answers said.
//! - [`Repeats`], [`Ids`]: what is remembered of earlier calls, bounded.
//! - [`Purse`]: how fast an account's money goes.
//! - [`order`], [`Rule`], [`Templates`]: whom a route means, and in whose approved words.

mod balance_history;
mod decide;
mod dedup;
mod health;
mod health_state;
mod id_map;
mod last_resort;
mod plan;
mod route;
mod template;

pub use balance_history::BalanceHistory;
pub use decide::{next, request_result, result_cause};
pub use dedup::{
    DedupCompletion, DedupKey, DedupLookup, DedupTable, DedupTicket, PastAttempt, duplicate_window,
    inherit_attempts,
};
pub use health::Health;
pub use health_state::{HealthEvent, HealthState, SendAdmission};
pub use id_map::{IdMap, MappedId};
pub use last_resort::LastResortTrial;
pub use plan::{
    AccountSnapshot, Attempt, CredentialRevision, DeliveryPlan, NextStep, OnUnknown, PlannedAccount,
};
pub use route::{RouteCriteria, RouteInput, order_providers};
pub use template::{TemplateError, TemplateMatch, Templates, TextTemplate};
