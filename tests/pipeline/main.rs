//! The pipeline from config text to the backend's reply, over real HTTP to fake services:
//! each promise about the life of a request.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "a test says what it expects"
)]

mod carried;
mod denied;
mod ending;
mod failover;
mod fake;
mod healing;
mod limits;
mod national;
mod overload;
mod repeats;
mod settling;
mod stage;
mod strictness;
mod unread;
mod warm;
