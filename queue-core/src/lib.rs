//! The engine of the `queue` framework. Users add the package `queue-jobs`, whose library `queue` re-exports this.

mod call;
mod client;
mod codec;
mod context;
mod data;
mod handle;
mod handler;
mod immediate;
mod keeper;
mod list;
mod step;
mod task;
mod task_error;
mod worker;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use call::{Call, Eta};
pub use client::{Client, ClientBuilder, EnqueueError, HandleError, IntoJobId};
pub use context::{Context, FromContext, Requirements, TestContext};
pub use data::Data;
pub use handle::{JobFacts, JobHandle, JobStatus, WaitError};
pub use immediate::ImmediateBuilder;
pub use list::TaskList;
pub use step::{After, IntoStep, Pipeline};
pub use task::{Task, TaskArg, TaskOptions, TaskOutput, TaskReturn};
pub use task_error::{BoxError, TaskError, TaskResultExt};
pub use worker::{BuildError, Worker, WorkerBuilder};

pub use queue_storage::clock;
pub use queue_storage::model::{Backoff, EndReason, Failure, FailureKind, Jitter, JobId, Parked, QueueName, State};
pub use queue_storage::storage::{Counts, Cursor, JobPage, JobQuery, Lookup, Storage, StorageError, WorkerRecord};
