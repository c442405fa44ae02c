//! sms-sidecar stands beside a backend that sends one-time passwords by SMS. It puts
//! credentials into the backend's requests, fails over across services by translating the
//! message, answers in the API the backend speaks, and says why a service refuses.
//!
//! # The layers
//!
//! A module names only lower layers, and modules of one layer do not know each other;
//! `tests/architecture/layers.rs` holds the line.
//!
//! | layer | module | owns |
//! | --- | --- | --- |
//! | 0 | [`sms`] | the nouns: message, number, text, outcome, cause |
//! | 0 | [`secret`] | credentials as a type with one way out |
//! | 0 | [`clock`] | time and dice, handed in everywhere else |
//! | 0 | [`problem`] | a complaint about a file, shown with line and caret |
//! | 0 | [`harden`] | no core dumps, a panic hook that prints no payload |
//! | 1 | [`dialect`] | one service's API as data, and the pure functions over it |
//! | 1 | [`policy`] | who is asked next, who is left alone, what a repeat gets |
//! | 1 | [`diagnosis`] | evidence → cause, certainty, remedy |
//! | 2 | [`telemetry`] | events; each writes its line, moves its metrics and feeds what the status shows |
//! | 2 | [`tls`] | TLS on the way out, for services and vault servers alike |
//! | 3 | [`vault`] | where credentials come from, their versions and cache |
//! | 3 | [`net`] | entrypoints, local CA and TLS, the upstream client, the life of the process |
//! | 3 | [`status`] | what the status page, the command line and the JSON show, and its words |
//! | 4 | `provider` | one account at run time: authentication, one attempt, one probe, redaction, diagnosis |
//! | 5 | [`proxy`] | the pipeline of one request |
//! | 5 | [`admin`] | `/metrics` `/live` `/ready`, the status page |
//! | 5 | [`trace_export`] | spans on their way to a collector |
//! | 6 | [`config`] | the TOML file, and each module's own settings made from it |
//! | 6 | [`doctor`] | the checks of vaults, network, accounts, routes and the backend's side |
//! | 7 | [`app`] | puts the parts together; reload |
//! | 8 | [`cli`] | one file a subcommand |
//!
//! Layers 0 and 1 hold all the judgement: no `async`, no I/O, no clock, no globals. They are
//! tested by tables, properties and mutation. Layer 3 does all the waiting.
//!
//! # One call
//!
//! 1. A connection arrives at [`net::server`] (pingora's for TCP, our own for the unix socket)
//!    and is served by [`net::door`] with hyper. [`net::screen`] refuses what no honest client
//!    sends and strips what must not travel. CONNECT to a provider's host is ended with a
//!    certificate of [`net::ca`]; to any other it is a tunnel.
//! 2. The whole request reaches [`proxy::Proxy`] in a task of its own, so that a backend that
//!    hangs up does not cut off a send that has begun.
//! 3. [`dialect::recognise`] says which API and which operation. What is not named is refused.
//! 4. A send is read into a [`sms::Message`]; a route says who may carry it; the repeat window
//!    says whether somebody already does.
//! 5. The loop in `proxy/send.rs` asks [`policy::next`] and does what it says: wait, take the
//!    credential (and a token, for services that want a login), write the message or patch the
//!    backend's own request, exchange, classify. An account refusal makes one vault read for all
//!    who wait before the question is asked again.
//! 6. The answer is said in the dialect that was spoken, whoever delivered, and one event tells
//!    ops all of it.
//!    The same event makes the call's spans, which [`trace_export`] exports in a task of its own.
//!
//! # Where this differs from the first design, and why
//!
//! - *Token and credential are one ordered pair* ([`policy::Held`]: vault version, logins made).
//!   "A newer version or token is tried once" is then one comparison, and a login that was
//!   refused is greater than every token of its version: nothing retries it but a recheck.
//! - *A login that fails counts as an attempt that wrote nothing* (`unsent`, with the login's own
//!   cause), beside the `login` attempt of its own: the decision then needs no second kind of input.
//! - *A panic in the middle of a send leaves a doubt* in the repeat memory, so that the backend's
//!   repeat is not a second message at the same provider.
//! - *A refusal at the door* (too large, a browser, no operation) *is said in the dialect* whenever
//!   method and path already tell which one it is, even if no body was read.
//! - *Three faults in 30 s rest a provider only if it accepted nothing between them.* A busy one
//!   with one fault in a hundred would else be closed for all, again and again. And no service's
//!   `Retry-After` closes it for longer than 15 minutes.
//! - *A refusal that is ambiguous is narrowed at once by what is known, then followed by free calls*
//!   (`proxy/settle.rs`). Which question is best and what its answer leaves is
//!   [`diagnosis::Suspects`], a pure fold; what was settled is remembered for that version, so that
//!   a recheck does not un-know it. It is counted as the probe's own outcome: the send was counted
//!   before it was settled.
//! - *A text longer than every provider of the route takes, and a number that none of them delivers
//!   to,* are refused as the message's own fault (`message-invalid`, `recipient-invalid`, the dialect's
//!   4xx), not as `not-translatable` with a 503: "repeat later" would have them repeated for ever.
//! - *An operation that insists on a field is asked before the send*, so that a price asked for at a
//!   message's own path is no message. *A send by hand may be pinned* to a provider: it takes no route
//!   and no remembered answer.
//! - *Spans are made from the finished call's event* (`telemetry/trace`): nothing is threaded through
//!   the pipeline, and the backend's context is read from its request when the call is told. A login
//!   or a probe is a trace of its own, because it serves more than one call.
//! - *Template holes go beside an id only.* Where a text stands for the template, its holes are in
//!   the text already; said twice they would bind the message or confuse the service.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod diagnosis;
pub mod dialect;
pub mod doctor;
pub mod harden;
pub mod net;
mod node;
pub mod policy;
pub mod problem;
pub(crate) mod provider;
pub mod proxy;
pub mod secret;
pub mod sms;
pub mod status;
pub mod telemetry;
mod tls;
pub mod trace_export;
pub mod vault;
