//! One queue, and pauses of queues, tasks and workers.

use std::fmt;
use std::time::Duration;

use queue_storage::model::{Key, NameError, QueueName, Rate, Shard, TaskName, Timestamp, WorkerId};
use queue_storage::storage::{Control, Scope, StorageError, Usage};

use super::bulk::{BulkError, BulkReport};
use super::overview::QueueOverview;
use crate::client::Client;
use crate::draft::Eta;
use crate::task::Task;

impl Client {
    /// A queue, used or not, to look at it and to pause it. A name that is none is reported by what is done with it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = queue_core::Client::memory();
    /// let mail = client.queue("mail");
    /// mail.pause().await?;
    /// assert!(mail.is_paused().await?);
    /// mail.resume().await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn queue(&self, name: impl AsRef<str>) -> Queue {
        Queue { client: self.clone(), name: QueueName::new(name) }
    }

    /// Pauses a task in its own queue, until it is resumed: none of its jobs is claimed any more there; what runs goes on.
    /// In another queue: [`Queue::pause_task`].
    ///
    /// # Errors
    /// The storage can't be asked, or the queue holds too many pauses and revocations.
    pub async fn pause_task<T: Task>(&self) -> Result<(), StorageError> {
        self.queue(T::OPTIONS.queue).pause_task::<T>().await
    }

    /// Ends the pause of a task in its own queue; whether it was paused.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn resume_task<T: Task>(&self) -> Result<bool, StorageError> {
        self.queue(T::OPTIONS.queue).resume_task::<T>().await
    }

    /// Pauses a worker in every queue it serves, until it is resumed: it claims nothing any more; what runs goes on.
    ///
    /// # Errors
    /// No such worker is known, or the storage can't be asked.
    pub async fn pause_worker(&self, worker: WorkerId) -> Result<(), StorageError> {
        self.control_worker(worker, &Control::Pause(Scope::Worker(worker), None)).await.map(drop)
    }

    /// Ends the pause of a worker; whether it was paused.
    ///
    /// # Errors
    /// No such worker is known, or the storage can't be asked.
    pub async fn resume_worker(&self, worker: WorkerId) -> Result<bool, StorageError> {
        self.control_worker(worker, &Control::Resume(Scope::Worker(worker))).await
    }

    async fn control_worker(&self, worker: WorkerId, change: &Control) -> Result<bool, StorageError> {
        let known = self.workers().await?.into_iter().find(|record| record.id == worker);
        let unknown = || StorageError::invalid(format!("no worker {worker} is known in {}", self.location()));
        self.control(&known.ok_or_else(unknown)?.shards, std::slice::from_ref(change)).await
    }

    /// Makes the changes in every shard; whether any changed anything.
    pub(super) async fn control(&self, shards: &[Shard], changes: &[Control]) -> Result<bool, StorageError> {
        let mut changed = false;
        for shard in shards {
            for change in changes {
                if self.storage().control(shard, change).await? {
                    changed = true;
                    self.tell_control(shard, change).await;
                }
            }
            self.run_inline(shard).await?;
        }
        Ok(changed)
    }
}

/// A queue: what [`Client::queue`] returns. Cloning it is cheap.
#[derive(Clone)]
pub struct Queue {
    client: Client,
    name: Result<QueueName, NameError>,
}

impl Queue {
    fn shard(&self) -> Result<Shard, StorageError> {
        let name = self.name.clone().map_err(|error| StorageError::invalid(error.to_string()))?;
        Ok(Shard::of(name))
    }

    async fn control(&self, changes: &[Control]) -> Result<bool, StorageError> {
        self.client.control(&[self.shard()?], changes).await
    }

    /// Pauses it until it is resumed: none of its jobs is claimed any more; what runs goes on, and jobs are taken in as ever.
    ///
    /// # Errors
    /// The storage can't be asked, or the name is none.
    pub async fn pause(&self) -> Result<(), StorageError> {
        self.pause_to(None).await
    }

    /// Pauses it for a while, by this client's clock, or until it is resumed before that.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn pause_for(&self, time: Duration) -> Result<(), StorageError> {
        self.pause_until(time).await
    }

    /// Pauses it until a moment, or until it is resumed before that.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn pause_until(&self, eta: impl Into<Eta>) -> Result<(), StorageError> {
        let moment = eta.into().moment(self.client.clock().now());
        self.pause_to(Some(moment)).await
    }

    async fn pause_to(&self, until: Option<Timestamp>) -> Result<(), StorageError> {
        self.control(&[Control::Pause(Scope::Queue, until)]).await.map(drop)
    }

    /// Ends its pause; whether it was paused.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn resume(&self) -> Result<bool, StorageError> {
        self.control(&[Control::Resume(Scope::Queue)]).await
    }

    /// Whether it is paused now.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn is_paused(&self) -> Result<bool, StorageError> {
        Ok(self.client.storage().controls(&self.shard()?).await?.queue.is_some())
    }

    /// Pauses a task in this queue, until it is resumed.
    ///
    /// # Errors
    /// As [`pause`](Self::pause); and the queue holds too many pauses and revocations.
    pub async fn pause_task<T: Task>(&self) -> Result<(), StorageError> {
        let pause = |task| Control::Pause(Scope::Task(task), None);
        self.control(&names::<T>()?.map(pause).collect::<Vec<_>>()).await.map(drop)
    }

    /// Ends the pause of a task in this queue; whether it was paused.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn resume_task<T: Task>(&self) -> Result<bool, StorageError> {
        let resume = |task| Control::Resume(Scope::Task(task));
        self.control(&names::<T>()?.map(resume).collect::<Vec<_>>()).await
    }

    /// Lets at most so many of its jobs run at once, on all workers together; `None` for any number. What runs goes on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = queue_core::Client::memory();
    /// use queue_core::Rate;
    /// use std::time::Duration;
    ///
    /// let mail = client.queue("mail");
    /// mail.limit(Some(20)).await?;
    /// mail.rate(Some(Rate::per(Duration::from_secs(1), 100).burst(10))).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`pause`](Self::pause); and `most` is 0, which is a pause.
    pub async fn limit(&self, most: Option<u32>) -> Result<(), StorageError> {
        if most == Some(0) {
            return Err(StorageError::invalid("a limit of 0 lets nothing run: pause the queue instead"));
        }
        self.control(&[Control::Slots(most)]).await.map(drop)
    }

    /// Lets its jobs start no faster than this, on all workers together; `None` for any speed.
    ///
    /// # Errors
    /// As [`pause`](Self::pause); and the rate's burst is 0, which is a pause.
    pub async fn rate(&self, rate: Option<Rate>) -> Result<(), StorageError> {
        if let Some(fault) = rate.and_then(|rate| rate.fault()) {
            return Err(StorageError::invalid(format!("the rate {fault}; to let nothing start, pause the queue")));
        }
        self.control(&[Control::Rate(rate)]).await.map(drop)
    }

    /// How a key of its jobs is used now, unique or of a limit, as it is stored: see
    /// [`Limit::key_of`](crate::Limit::key_of).
    ///
    /// # Errors
    /// The storage can't be asked, or the key is none.
    pub async fn usage(&self, key: impl AsRef<str>) -> Result<Usage, StorageError> {
        let key = Key::new(key).map_err(|error| StorageError::invalid(error.to_string()))?;
        self.client.storage().usage(&self.shard()?, &key).await
    }

    /// Removes every job that does not run, ended ones among them, in batches. Live ones are cancelled first, and so is what
    /// waits for them; those that run are refused, and told in the report.
    ///
    /// # Errors
    /// The storage can't be asked, or the name is none; what was removed until then is removed.
    ///
    /// # Cancel safety
    /// Dropping the future ends it after some of them.
    pub async fn purge(&self) -> Result<BulkReport, BulkError> {
        let invalid = |error| BulkError::new(BulkReport::default(), error);
        let name = self.shard().map_err(invalid)?.queue;
        self.client.select().queue(name).delete().await
    }

    /// What it holds, and what is said of it.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub async fn overview(&self) -> Result<QueueOverview, StorageError> {
        QueueOverview::of(&self.client, self.shard()?).await
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Ok(name) => write!(f, "Queue({name} in {})", self.client.location()),
            Err(error) => write!(f, "Queue({error})"),
        }
    }
}

/// Every name a task goes by.
pub(super) fn names<T: Task>() -> Result<impl Iterator<Item = TaskName>, StorageError> {
    let names: Result<Vec<_>, _> = std::iter::once(&T::NAME).chain(T::ALIASES).map(TaskName::new).collect();
    Ok(names.map_err(|error| StorageError::invalid(error.to_string()))?.into_iter())
}
