//! The suite that every storage runs, in one line:
//!
//! ```
//! use queue_storage::conformance::ManualWorld;
//! use queue_storage::memory::MemoryStorage;
//!
//! queue_storage::conformance!(async || ManualWorld::new(MemoryStorage::with_clock));
//! # fn main() {}
//! ```
//!
//! Each case is a test of its own, named by role and promise: `leases::a_delivered_job_crashes`. It gets a
//! [`World`] (a fresh storage and its clock), tells a short story, and in the end [`invariants`] must hold.
//! Cases rely on the contract alone: never on the value of a sequence or fence, the order of ties, or the speed of
//! anything.
//!
//! A new case is an `async fn` in the file of its role, and its name in the list of `cases.rs`. A case whose name was
//! forgotten there is dead code, and the compiler says so.
//!
//! [`twins()`] plays at random against the reference in memory, and compares everything.

mod actors;
mod cases;
mod check;
mod keys;
mod phases;
mod stage;
mod world;

mod acts;
mod cancel;
mod carry;
mod claim;
mod clashes;
mod contend;
mod deliveries;
mod edit;
mod ends;
mod enqueue;
mod extremes;
mod flows;
mod freed;
mod gathers;
mod history;
mod holds;
mod kept;
mod leases;
mod lists;
mod meddle;
mod moves;
mod news;
mod nodes;
mod notify;
mod numbers;
mod operate;
mod park;
mod pauses;
mod prune;
mod races;
mod random;
mod rates;
mod rearm;
mod relays;
mod revive;
mod revoke;
mod settle;
mod silence;
mod slots;
mod strangers;
mod suspects;
mod throttle;
mod ticks;
mod time;
mod triggers;
mod twins;
mod unique;
mod waiting;
mod ways;
mod whole;
mod windows;

use std::pin::Pin;
use std::sync::Arc;

pub use check::invariants;
use stage::Stage;
pub use twins::{Leeway, Turn, Twin, twins};
pub use world::{ManualWorld, World};

/// Makes the test of each case for a storage, given an async closure or function that makes a [`World`].
#[macro_export]
macro_rules! conformance {
    ($make_world:expr) => {
        $crate::__conformance_cases! { ($make_world) => $crate::__conformance_tests }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($make_world:expr) $($role:ident { $($case:ident)* })*) => {
        $(mod $role {
            #[allow(unused_imports, reason = "what makes the world may need no names")]
            use super::*;
            $(#[test]
            fn $case() {
                $crate::conformance::run(stringify!($role), stringify!($case), $make_world);
            })*
        })*
    };
}

type Story<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
type Case = for<'a> fn(&'a Stage) -> Story<'a>;

macro_rules! table {
    (() $($role:ident { $($case:ident)* })*) => {
        const CASES: &[(&str, &str, Case)] =
            &[$($((stringify!($role), stringify!($case), |stage| Box::pin($role::$case(stage))),)*)*];
    };
}

crate::__conformance_cases! { () => table }

/// Runs one case against a fresh world.
///
/// # Panics
/// When the storage breaks the promise, and when there is no such case.
pub fn run<W: World, F: Future<Output = W>>(role: &str, name: &str, make_world: impl FnOnce() -> F) {
    let case = CASES.iter().find(|case| (case.0, case.1) == (role, name)).expect("a case of this name").2;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stage = Stage::new(Arc::new(make_world().await));
        case(&stage).await;
        stage.end().await;
    });
}
