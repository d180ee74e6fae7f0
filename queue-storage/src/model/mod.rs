//! Plain data and pure functions: no I/O, no async, no clock.

mod envelope;
mod id;
mod job;
mod outcome;
mod retry;
mod settlement;
mod state;
mod time;

pub use envelope::{Envelope, EnvelopeError, Overrides};
pub use id::{CallerId, Fence, IdError, JobId, NameError, Namespace, QueueName, Shard, TaskName, WorkerId};
pub use job::{Claimed, EndReason, Failure, FailureKind, Input, Job, LEVEL, Lease, NewJob, Parked};
pub use outcome::{Outcome, Verdict};
pub use retry::{Backoff, Jitter, RetryPolicy};
pub use settlement::{Run, Settled, Settlement, decide};
pub use state::{IllegalMove, Move, State, StateError};
pub use time::{Timestamp, When};
