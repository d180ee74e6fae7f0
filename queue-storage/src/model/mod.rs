//! Plain data and pure functions: no I/O, no async, no clock.

mod attempt;
mod delays;
mod envelope;
mod fingerprint;
mod flow;
mod id;
mod job;
mod limit;
mod outcome;
mod retry;
mod settlement;
mod state;
mod time;
mod words;

pub use attempt::{Attempt, AttemptEnd, Progress};
pub use delays::Delays;
pub use envelope::{Envelope, EnvelopeError, Form, Intake, Overrides};
pub use fingerprint::Fingerprint;
pub use flow::{Ending, Input, Node, Trigger};
pub use id::{
    CallerId, Fence, IdError, JobId, Key, NameError, Namespace, QueueName, ScheduleName, Shard, Tag, TaskName, WorkerId,
};
pub use job::{Claimed, EndReason, Failure, FailureKind, Job, LEVEL, Lease, MAX_TAGS, NewJob, Parked};
pub use limit::{Conflict, Limit, MAX_LIMITS, Rate, Unique, WhenFull, Window};
pub use outcome::{Outcome, Verdict};
pub use retry::{Backoff, Jitter, RetryPolicy};
pub use settlement::{Run, Settled, Settlement, decide};
pub use state::{IllegalMove, Move, State, StateError};
pub use time::{Timestamp, When};
