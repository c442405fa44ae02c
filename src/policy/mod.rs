//! The decisions between reading a message and answering it. Everything here is a value or a
//! pure function: time, randomness and history are parameters, so every rule is tested without a
//! socket or a clock.
//!
//! - [`next`]: one step of a request's loop. Plan, history, provider states and elapsed time in;
//!   "send there" or "answer" out.
//! - [`Health`]: the state of one provider, folded from its outcomes and probes.
//! - [`Silence`]: whether a provider has stopped answering.
//! - [`LastResortTrial`]: the one request that may try a route whose providers are all quarantined.
//! - [`DedupTables`], [`IdMap`]: memory of earlier requests, bounded in entries and bytes.
//! - [`BalanceHistory`]: how fast an account spends its balance.
//! - [`RouteCriteria`], [`order_providers`], [`Templates`]: which providers a route selects, and
//!   the text that each of them has approved.

mod balance_history;
mod credential_revision;
mod decide;
mod dedup;
mod health;
mod health_state;
mod id_map;
mod last_resort;
mod memory_limit;
mod plan;
mod recipient;
mod route;
mod silence;
mod template;
mod warm;

pub use balance_history::BalanceHistory;
pub use credential_revision::{CredentialChoice, CredentialOffer, CredentialRevision};
pub use decide::{next, request_result, result_cause};
pub use dedup::{
    DedupCompletion, DedupKey, DedupLookup, DedupSecret, DedupTable, DedupTables, DedupTicket,
    PastAttempt, duplicate_window, inherit_attempts,
};
pub use health::{Health, MAX_RECHECK_INTERVAL};
pub use health_state::{HealthEvent, HealthState, SendAdmission};
pub use id_map::{IdMap, MappedId};
pub use last_resort::{LAST_RESORT_INTERVAL, LastResortTrial};
pub use memory_limit::{MAX_ID_BYTES, MemoryLimit};
pub use plan::{
    AccountSnapshot, Attempt, CredentialStatus, DeliveryPlan, NextStep, OnUnknown, PlannedAccount,
};
pub use recipient::{RecipientCountries, RecipientFault, RecipientForm};
pub use route::{RouteCriteria, RouteInput, order_providers};
pub use silence::Silence;
pub use template::{
    ParsedTemplate, TemplateError, TemplateFault, TemplateMatch, Templates, TextTemplate,
};
pub use warm::{IdleSummary, WARM_INTERVAL, WARM_LEAD, WarmUpFailure, WarmUpSchedule};
