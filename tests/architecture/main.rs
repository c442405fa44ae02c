//! Holds the source tree to its architecture: the order of the layers, no import cycles
//! among files or rooms, one name per type, one word per thing, and functions that fit on a
//! screen. The crate's documentation in `src/lib.rs` draws what these tests enforce.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    reason = "an unreadable source tree fails the test"
)]

mod account;
mod cycles;
mod guards;
mod layers;
mod names;
mod rooms;
mod size;
mod tree;
mod words;
