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

pub use decide::{cause, next, verdict};
pub use ids::{Ids, Real};
pub use plan::{Attempt, Held, OnUnknown, Plan, Step, Terms, View};
pub use purse::Purse;
pub use record::Record;
pub use repeat::{Asked, End, Key, Past, Repeats, Ticket, carry_over, window};
pub use resort::LastResort;
pub use route::{Rule, Seen, order};
pub use standing::{Admission, Event, Standing};
pub use template::{Said, TemplateError, Templates, TextTemplate};
