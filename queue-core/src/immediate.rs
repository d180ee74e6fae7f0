//! Building a client in immediate mode.

use std::sync::Arc;

use queue_storage::memory::MemoryStorage;
use queue_storage::model::Verdict;

use crate::client::Client;
use crate::list::TaskList;
use crate::middleware::Middleware;
use crate::worker::{BuildError, Worker, WorkerBuilder};

impl Client {
    /// A client that runs each job at once, inside `enqueue`, with these tasks: for tests. Add the tasks' data and build
    /// it. To have the same by configuration, see
    /// [`ClientBuilder::immediate`](crate::ClientBuilder::immediate).
    ///
    /// A failed job is retried at once, without its delay; a job that is scheduled for later stays scheduled. Errors of
    /// tasks are read from the handle, as with a worker.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, tasks};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
    /// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// let client = Client::immediate(tasks![Add]).build()?;
    /// let job = Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
    /// assert_eq!(job.result().await?, Some(3));
    /// # Ok(()) }
    /// ```
    pub fn immediate(tasks: TaskList) -> ImmediateBuilder {
        ImmediateBuilder::new(tasks)
    }
}

/// Builds a client that runs each job at once, inside `enqueue`: what [`Client::immediate`] returns.
#[derive(Debug)]
#[must_use = "a builder does nothing until `.build()`"]
pub struct ImmediateBuilder {
    client: Client,
    worker: WorkerBuilder,
}

impl ImmediateBuilder {
    fn new(tasks: TaskList) -> Self {
        let client = Client::builder(Arc::new(MemoryStorage::new())).immediate().build();
        let worker = Worker::builder(&client).tasks(tasks);
        Self { client, worker }
    }

    /// Hands a value to every task that takes a `Data<T>`.
    pub fn data<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.worker = self.worker.data(value);
        self
    }

    /// Hands a shared value to every task that takes a `Data<T>`; the way to a `Data<dyn Trait>`.
    pub fn data_arc<T: ?Sized + Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        self.worker = self.worker.data_arc(value);
        self
    }

    /// Says what errors of a type mean, as [`WorkerBuilder::classify`] does.
    pub fn classify<E: std::error::Error + 'static>(mut self, verdict: fn(&E) -> Verdict) -> Self {
        self.worker = self.worker.classify(verdict);
        self
    }

    /// Lets each run pass `middleware`, as [`WorkerBuilder::middleware`] does. What is enqueued passes that of the client
    /// it is enqueued with: [`Client::with_middleware`].
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.worker = self.worker.middleware(middleware);
        self
    }

    /// The client.
    ///
    /// # Errors
    /// As [`WorkerBuilder::build`].
    pub fn build(self) -> Result<Client, BuildError> {
        self.worker.build()?;
        Ok(self.client)
    }
}
