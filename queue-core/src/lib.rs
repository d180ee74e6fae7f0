//! The engine of the `queue` framework. Users add the package `queue-jobs`, whose library `queue` re-exports this.

// Each looks down only: it uses what stands above it in this list.
mod codec;
mod data;
mod task_error;

mod client;
mod context;
mod task;

mod draft;
mod handler;
mod list;

mod call;
mod step;

mod handle;

mod enqueue;

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
pub use enqueue::EnqueueError;
pub use handle::{HandleError, IntoJobId, JobFacts, JobHandle, JobStatus, WaitError};
pub use immediate::ImmediateBuilder;
pub use list::TaskList;
pub use step::{After, IntoStep, Pipeline};
pub use task::{Task, TaskArg, TaskOptions, TaskOutput, TaskReturn};
pub use task_error::{BoxError, TaskError, TaskResultExt};
pub use worker::{BuildError, Worker, WorkerBuilder};

pub use queue_storage::clock;
pub use queue_storage::model::{
    Backoff, EndReason, Failure, FailureKind, Jitter, Job, JobId, Parked, QueueName, State, TaskName, Timestamp,
    WorkerId,
};
pub use queue_storage::storage::{Counts, Cursor, JobPage, JobQuery, Lookup, Storage, StorageError, WorkerRecord};
