//! The contract between the `queue` engine and its storages.
//!
//! * [`model`]: plain data and pure functions. What a job is, which moves are legal, what follows from an outcome.
//! * [`storage`]: five roles, one for each caller, joined as [`Storage`](storage::Storage).
//! * [`clock`]: time, handed in.
//! * [`memory`]: the reference storage, in this process.
//! * `conformance` (a feature): the suite that every storage runs with one line.
//!
//! A storage sees bytes, states, times and keys, never a task's Rust type; whoever writes one needs this crate alone.

pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod memory;
pub mod model;
pub mod storage;

#[doc(hidden)]
pub use error::debug_as_text;
