//! What a message and a request cost, in counts that no busy machine changes: allocations, instructions and system
//! calls; and, with wide limits, the memory and the start of the process. `bands.toml` has the figures and how far each
//! kind may grow; a figure above its band says what grew, one far below it asks for a tighter band. All of them are of
//! the build that the tests use, which is not optimised: compare them with each other, not with a release.
//! `UPDATE_GOLDENS=1 cargo test --test counts` writes the figures of this machine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken set-up is a failed test"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "the tests start programs, and read UPDATE_GOLDENS"
)]

mod allocations;
mod bands;
mod instructions;
#[path = "../support/judgement.rs"]
mod judgement;
mod load;
mod process;
mod sidecar;
mod system_calls;
