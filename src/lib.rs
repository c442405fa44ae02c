//! sms-sidecar runs beside a backend that sends one-time passwords by SMS. It puts credentials into
//! the backend's requests, fails over to another service by translating the message, answers in
//! the API that the backend uses, and explains why a service rejects.
//!
//! # The layers
//!
//! A module names only lower layers, and modules of one layer do not name each other;
//! `tests/architecture/layers.rs` enforces it, and the table below against it.
//!
//! | layer | module | owns |
//! | --- | --- | --- |
//! | 0 | [`sms`] | the nouns: message, number, text, outcome, cause |
//! | 0 | [`secret`] | credentials as a type with one way out |
//! | 0 | [`clock`] | time and randomness as parameters |
//! | 0 | [`problem`] | a problem in a file, shown with line and caret |
//! | 0 | `file_error` | what the system's error says about a file, in words |
//! | 0 | `forward_write` | the writing half of a stream that looks only at what is read |
//! | 0 | [`harden`] | no core dumps; a panic hook that prints no payload |
//! | 0 | [`parse_limit`] | how deep, and of how many values, what is parsed may be |
//! | 0 | `node` | which releases of Node and axios do what with proxy variables |
//! | 1 | [`dialect`] | one service's API as data, and the pure functions over it |
//! | 1 | [`policy`] | which provider is next, which ones are quarantined, what a duplicate gets |
//! | 1 | [`diagnosis`] | evidence → cause, certainty, remedy |
//! | 2 | [`telemetry`] | events; each writes its log line, moves its metrics, and feeds the status |
//! | 2 | `tls` | outgoing TLS, for services and vault servers alike |
//! | 2 | `reply_parser` | how replies are read, from services and vault servers alike, within limits |
//! | 3 | [`vault`] | where credentials come from, their versions and their cache |
//! | 3 | [`net`] | entrypoints, local CA, upstream connections, the life of the process |
//! | 3 | [`status`] | the facts for page, command line and JSON, and their texts |
//! | 4 | [`provider`] | one account at run time: login, attempt, probe, redaction, diagnosis |
//! | 5 | [`proxy`] | the pipeline of one request |
//! | 5 | [`admin`] | `/metrics`, `/live`, `/ready`, the status page |
//! | 5 | [`trace_export`] | sends spans to a collector |
//! | 5 | [`notify`] | posts changes of the status to a webhook |
//! | 6 | [`config`] | the TOML file, and the settings of each module made from it |
//! | 7 | [`doctor`] | the checks: vaults, network, accounts, routes, the backend's side |
//! | 8 | [`app`] | puts the parts together; reloads the config |
//! | 9 | [`cli`] | the command line, one module per subcommand |
//!
//! `sms`, `dialect`, `policy`, `diagnosis` and `status` hold the decisions: they have no `async`, no
//! I/O, no clock and no globals, and the same test enforces that. They are tested by tables and
//! properties, without a socket.
//!
//! # One request
//!
//! One send from the entrypoint to the reply, file by file:
//!
//! 1. `src/net/server/services.rs` accepts the connection, on TCP and unix sockets alike, and `src/net/entrypoint/connection.rs` serves HTTP/1.1 on it with hyper.
//! 2. `src/net/entrypoint/request.rs` screens the request by the rules of `src/net/screen/mod.rs`,
//!    which rejects what no honest client sends and removes hop-by-hop headers. CONNECT to a
//!    provider's host is terminated with a certificate of `src/net/ca/mod.rs`; to any other host it
//!    is a tunnel (`src/net/entrypoint/tunnel.rs`).
//! 3. `src/proxy/mod.rs` gets the whole request. It is part of the connection's task; if the backend hangs
//!    up, it goes on in a task of its own (`src/net/entrypoint/run_to_end.rs`), so that a send in flight
//!    is not aborted. `src/proxy/authz.rs` identifies the caller.
//! 4. `src/proxy/snapshot.rs` finds the providers that the address can mean, and
//!    `src/dialect/request/recognise.rs` the dialect and the operation. An operation that the
//!    dialect does not name is denied; a login and a query for an id of ours are answered here, other
//!    operations are passed through (`src/proxy/passthrough.rs`).
//! 5. `src/dialect/request/read.rs` reads a send into a [`sms::Message`]. `src/proxy/recipients.rs`
//!    selects the route (`src/policy/route.rs`) and completes national numbers
//!    (`src/sms/numbering.rs`); `src/proxy/delivery.rs` applies approved texts
//!    (`src/policy/template.rs`) and makes the plan (`src/policy/plan.rs`).
//! 6. `src/proxy/deliver.rs` asks `src/proxy/dedup.rs` whether the message is a duplicate; the rules
//!    are in `src/policy/dedup.rs`. A duplicate waits for the request in flight, or gets its answer.
//! 7. `deliver.rs` then loops: [`policy::next`] (`src/policy/decide.rs`) returns the next step, and
//!    `src/provider/attempt.rs` makes the attempt. It takes the credential from
//!    `src/vault/cache.rs` and, for services with a login, a token (`src/provider/auth.rs`); patches
//!    the backend's own request (`src/dialect/request/patch.rs`) or writes one from the message
//!    (`src/dialect/request/write.rs`); signs it (`src/dialect/request/sign.rs`); sends it
//!    (`src/net/upstream/mod.rs`); and classifies the reply (`src/dialect/reply/classify.rs`).
//! 8. `src/proxy/health.rs` records each outcome; `src/policy/health.rs` decides which provider
//!    cools down or is quarantined. After a rejected credential, the vault is read once for every
//!    request that waits, before the next step.
//! 9. [`diagnosis`] turns the failure into one line with a remedy. The probes that settle an
//!    ambiguous rejection run later, in the background (`src/proxy/disambiguate.rs`).
//! 10. `src/proxy/answer.rs` answers in the backend's dialect (`src/dialect/reply/render.rs`),
//!     whichever provider delivered. `src/proxy/request.rs` emits one event
//!     (`src/telemetry/request.rs`) for log, metrics, status and spans, and
//!     `src/net/entrypoint/response.rs` writes the reply.
//!
//! # Where this differs from the first design, and why
//!
//! - *`provider`, `status` and `doctor` have layers of their own.* The design put `provider` beside
//!   `vault` and `net`, but it uses both. It put `status` beside `proxy` and `admin`, but both render
//!   it; it needs only telemetry, so it is lower. The checks of `doctor` were part of the command
//!   line; they are a product of their own, and use `proxy` and `provider`.
//! - *The wire formats of a dialect are the room `dialect::wire`,* not `http`, which is also the name
//!   of the crate beside it.
//! - *Some public names changed beyond the first list,* so that each word has one meaning: `denied`
//!   is a request that the sidecar does not accept, and `rejected` only what a service does. In
//!   descriptions `[send.idempotency] duplicate_codes` lists the codes of a duplicate. In the status
//!   JSON the answer to "do codes arrive?" is the `headline`, and the last reload is `last_reload`.
//!   A failed vault read is a `timeout` or `unreachable`, and spans are dropped for `queue-full`.
//! - *Credential and token are one ordered pair* ([`policy::CredentialRevision`]: vault version,
//!   logins made). "A newer version or token is tried once" is then one comparison, and a rejected
//!   login is greater than every token of its version: only a recheck tries it again.
//! - *A failed login counts as an attempt that wrote nothing* (`unsent`, with the login's cause),
//!   beside its own `login` attempt: the decision needs no second kind of input.
//! - *A panic during a send leaves the message in doubt* in the duplicate window, so that the
//!   backend's repeat does not send it to the same provider again.
//! - *A request that is denied at the entrypoint* (too large, from a browser, no operation) *gets an
//!   answer in its dialect* if method and path identify one, even if no body was read.
//! - *Three faults in 30 s start a cooldown only if no message was accepted between them.* A busy
//!   provider with one fault in a hundred would otherwise be blocked for everyone, again and again.
//!   `Retry-After` is cut to 15 minutes.
//! - *An ambiguous rejection is narrowed at once by what is known, then by probes.* Which probe is
//!   best and what its result leaves is [`diagnosis::CauseCandidates`], a pure fold. The result is
//!   kept for that credential version, so that a recheck does not lose it. The send is counted when
//!   the probes are done, under the cause that they leave.
//! - *A text too long for every provider of the route, and a number that none of them serves,* are
//!   the message's fault (`message-invalid`, `recipient-invalid`, the dialect's 4xx), not
//!   `not-translatable` with a 503: "repeat later" would be repeated for ever.
//! - *An operation that requires a field is recognised before the send,* so that a price query at the
//!   path of a message is not a message. *An operator's send may be pinned* to a provider: it takes
//!   no route and no remembered answer.
//! - *Spans are made from the event of the finished request* (`src/telemetry/spans/from_event.rs`):
//!   nothing is passed through the pipeline. A login or a probe has its own trace, because it
//!   serves more than one request.
//! - *We accept connections ourselves* (`src/net/server/services.rs`). pingora keeps the threads and the life of the
//!   process; its own accept loop says neither what to do when no descriptor is left, nor does it pause.
//! - *A request is part of its connection's task, and a connection that wakes itself is polled again at once*
//!   (`src/net/entrypoint/inline_wakes.rs`). Through the scheduler each such wake woke another thread: 0.76 times a
//!   request. So that a client that pipelines does not keep its thread, each request takes half of what the runtime
//!   lets a task do in its turn.
//! - *The allocator is jemalloc* (`.cargo/config.toml`): glibc kept 59 of the 61 MB that 2,000 idle connections had
//!   taken, and jemalloc keeps 4.
//! - *National numbers are read with a table of lengths, not with a library at run time* (`src/sms/numbering.rs`). We
//!   measured two ports of libphonenumber in an otherwise empty release binary (`x86_64`, LTO, stripped; first number,
//!   then each further one). `phonenumber` 0.3: 1.6 MB larger, 51 ms and 4.7 MiB for the first number, 2 to 4 ms for
//!   the first of each further country, 9.6 MiB after five countries, 34 crates. `rlibphonenumber` 2.2 with
//!   `regex-lite`: 0.6 MB, 3 ms and 4.6 MiB, 5 µs; but one author, 38 crates and 39 more to build it. What is needed
//!   here is 206 lines: a length that no number has is certain, while a range that the library does not know yet may
//!   be new, and refusing it would lose a login. So the table is generated from the metadata of `phonenumber`, which
//!   is a dependency of the tests alone; `tests/numbering.rs` holds the table to it, and compares over 1,000 readings.
//!   It costs 3 KiB, nothing at the start, and 0.2 µs for a number (6 µs for one of another country without `+`).
//! - *The values of a template's holes are sent only with a template id.* An approved text already
//!   contains them; sent twice, they would make the message provider-specific or confuse the service.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod diagnosis;
pub mod dialect;
pub mod doctor;
mod file_error;
mod forward_write;
pub mod harden;
pub mod net;
mod node;
pub mod notify;
pub mod parse_limit;
pub mod policy;
pub mod problem;
pub mod provider;
pub mod proxy;
mod reply_parser;
pub mod secret;
pub mod sms;
pub mod status;
pub mod telemetry;
mod tls;
pub mod trace_export;
pub mod vault;
