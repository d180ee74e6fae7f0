//! The engine of the `queue` framework. Users add the package `queue-jobs`, whose library `queue` re-exports this.

// Each looks down only: it uses what stands above it in this list.
mod codec;
mod value;

mod canon;
mod data;
mod ids;
mod json;
mod limits;
mod redact;
mod task_error;

mod facts;
mod policies;
mod progress;

mod failed;
mod gather;

mod events;

mod classes;
mod client;
mod context;
mod taken;
mod task;

mod draft;
mod handler;
mod list;
mod middleware;

mod call;
mod step;

mod periodic;

mod flow;

mod operate;
mod schedules;

mod explain;
mod handle;
mod watching;

mod flows;

mod enqueue;

mod moving;

mod engine;
mod keeper;
mod worker;

mod immediate;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use call::Call;
pub use client::{Client, ClientBuilder};
pub use context::{Context, FromContext, Requirements, TestContext};
pub use data::Data;
pub use draft::Eta;
pub use engine::Lingering;
pub use enqueue::EnqueueError;
pub use events::{Event, EventError, EventKind, EventKindError, IntoKinds};
pub use explain::{Blocker, Explanation, Why};
pub use facts::{AttemptFacts, DeadLetter, JobFacts};
pub use failed::Failed;
pub use flow::{Flow, Group, IntoFlow, group, join};
pub use flows::{Arrivals, FlowHandle, FlowNode, FlowStatus, FlowTree, GroupHandle};
pub use handle::{HandleError, IntoJobId, JobHandle, JobStatus, ProgressStream, WaitError};
pub use immediate::ImmediateBuilder;
pub use limits::{Limit, Unique};
pub use list::TaskList;
pub use middleware::{Done, Middleware, NextEnqueue, NextRun, Outgoing, RunEnd, Starting, Stored};
#[cfg(feature = "tower")]
pub use middleware::{Runs, TowerLayer};
pub use operate::{
    ActError, BulkError, BulkReport, Cancelled, JobEdit, Listing, Overview, Queue, QueueOverview, Revoke, Selection,
    WorkerOverview,
};
pub use periodic::{IntoCron, Schedule, ScheduleError};
pub use policies::{Missed, Overlap};
pub use redact::Redact;
pub use schedules::{ScheduleFacts, ScheduleHandle, ScheduleSource};
pub use step::{After, IntoStep};
pub use task::{DelayFn, Periodic, PeriodicTiming, RetryIf, Task, TaskArg, TaskOptions, TaskOutput, TaskReturn};
pub use task_error::{BoxError, MarkedError, TaskError, TaskResultExt};
pub use watching::{EventStream, Events};
pub use worker::{BuildError, Description, Readiness, Worker, WorkerBuilder, WorkerContext, WorkerError};

/// For implementations of [`Middleware`].
pub use async_trait::async_trait;

#[cfg(feature = "cron")]
pub use queue_cron::Quartz;
pub use queue_cron::{Cron, CronError, Every, Fields as CronFields, TimeZone, TimeZoneError};
pub use queue_storage::clock;
pub use queue_storage::model::{
    AttemptEnd, Backoff, Delays, EndReason, Failure, FailureKind, Fingerprint, Jitter, Job, JobId, Key, Node, Parked,
    Progress, QueueName, Rate, RetryPolicy, State, Tag, TaskName, Timestamp, Trigger, Verdict, When, WorkerId,
};
pub use queue_storage::storage::{
    Controls, Counts, Cursor, JobPage, JobQuery, Lookup, Pause, Revocation, Storage, StorageError, Usage, WorkerRecord,
};
