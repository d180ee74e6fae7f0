//! The contract: five roles, one for each caller, joined as [`Storage`].
//!
//! | role | who calls it | what for |
//! |---|---|---|
//! | [`Enqueue`] | clients | take jobs in |
//! | [`Claim`] | workers | settle and claim, renew |
//! | [`Maintain`] | keepers | upkeep: idempotent steps that may run on every process at once |
//! | [`Operate`] | people | look, act on jobs, control a queue |
//! | [`Notify`] | all | be told that a look is worth while; may be lost |
//!
//! # What holds for every method
//!
//! * **Atomic.** Each call about one shard takes effect as a whole or not at all, and no other call sees half of it.
//! * **Moves.** Every change of state is in the one table, [`Move::row`](crate::model::Move::row).
//! * **Time** is the storage's own clock, read once per call, when the call has whatever lock it waits for.
//! * **Bounded.** No call's work grows with the backlog; each says its bound.
//! * **Any runtime.** A method may be called from any tokio runtime and from several at once. A storage that does I/O
//!   does it on threads of its own, so that a blocked runtime of the user's can't stop a renewal.
//! * **Cancel safety.** A dropped future leaves the call done or not done, never half done. A numbered call that was
//!   dropped is repeated with its number.
//! * **Errors.** *Unavailable* and *superseded* mean: not known whether it was done. Every other error means: nothing was
//!   changed.

mod act;
mod claim;
mod control;
mod enqueue;
mod maintain;
mod notify;
mod operate;
mod schedule;

use std::fmt;

use async_trait::async_trait;

pub use crate::error::StorageError;
pub use act::{Act, Acted, Edit, MAX_ACT};
pub use claim::{
    Claim, Exchange, Exchanged, LeaseTerms, MAX_CLAIM, MAX_CLAIM_BYTES, MAX_HEADS, MAX_LAPSES, MAX_RENEWALS,
    MAX_SETTLEMENTS, Renewal, Renewed, SettleAnswer, WorkerRecord,
};
pub use control::{Control, Controls, MAX_RULES, Pause, Revocation, Scope};
pub use enqueue::{Admission, Enqueue, EnqueueCall, MAX_ENQUEUE, MAX_WAITS_FOR, check_jobs};
pub use maintain::{
    KEEP_TOLD, MAX_DELIVER, MAX_PRUNE, MAX_UPKEEP, Maintain, Outbox, Parcel, Receipt, Retention, Step, check_delivery,
};
pub use notify::{Heard, Hold, Hub, Listener, MAX_NEWS_BYTES, Notify, Topic, Watch, check_news};
pub use operate::{Counts, Cursor, Ends, Inputs, JobPage, JobQuery, Lookup, MAX_PAGE, MAX_PRIORITIES, Operate, Usage};
pub use schedule::{
    Changed, MAX_TICKS, ScheduleChange, SchedulePage, ScheduleQuery, ScheduleRecord, Ticked, check_ticks,
};

/// A storage: everything a client, a worker and an operator ask of one, as an object.
#[async_trait]
pub trait Storage: Enqueue + Claim + Maintain + Operate + Notify + fmt::Debug + Send + Sync + 'static {
    /// Where it is, for people: a URL with its secrets masked.
    fn location(&self) -> String;

    /// Asks whether it answers, changing nothing.
    ///
    /// # Errors
    /// What a call would meet now.
    async fn ping(&self) -> Result<(), StorageError>;

    /// Finishes what was accepted and lets go of files, threads and connections. Calls made afterwards are refused as
    /// unavailable. Closing twice is nothing to do.
    async fn close(&self);
}
