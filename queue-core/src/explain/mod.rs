//! Why a job is where it is.

mod cause;
#[cfg(test)]
mod tests;
mod text;
mod why;

use std::time::SystemTime;

use queue_storage::model::{EndReason, Failure, Job, JobId, Key, Node, Progress, State, TaskName, Trigger, WorkerId};
use queue_storage::storage::{Lookup, StorageError, Usage, WorkerRecord};
use serde::Serialize;

use crate::client::Client;
use crate::facts::show;
use why::{Evidence, why};

/// How many jobs that another waits for are looked up.
const MAX_BLOCKERS: usize = 10;

/// What a job does, or what keeps it from running: what [`Client::explain`] returns. Shown, it is one sentence, and that of
/// its cause.
///
/// Serialised, it is the sentence (`text`), the reason by name and by its facts (`why`), and which job it is about; and the
/// same of the cause.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The job.
    #[serde(serialize_with = "show::text")]
    pub id: JobId,
    /// Its task; `None` when it is not stored.
    pub task: Option<TaskName>,
    /// The name of its queue.
    pub queue: Option<String>,
    /// Where it is in its life.
    #[serde(serialize_with = "show::maybe_text")]
    pub state: Option<State>,
    /// The reason.
    pub why: Why,
    /// The whole as a sentence.
    pub text: String,
    /// Of a job that waits for others, the one beneath them all that holds it up: of up to 256 jobs that are looked up, one
    /// that does not go on before someone does something about it, or else one that does. Of a job that was cancelled for
    /// another, that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<Explanation>>,
}

/// What a job does, or what keeps it from running. Of several obstacles it is the one that is met first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// It was never stored.
    Unknown,
    /// It ended, and the time it is kept has passed.
    Gone,
    /// It waits for other jobs: to complete, to end, or for one to fail.
    WaitsFor {
        /// Those that have not, as far as they were looked up.
        jobs: Vec<Blocker>,
        /// How many others it waits for, whatever their state.
        others: usize,
        /// What it waits for in them; not serialised where that is the usual: that all complete.
        #[serde(serialize_with = "show::trigger", skip_serializing_if = "show::is_usual")]
        trigger: Trigger,
        /// What it is in its flow; not serialised of a task's job.
        #[serde(serialize_with = "show::node", skip_serializing_if = "Node::is_task")]
        node: Node,
    },
    /// It stands for the rest of its flow, which is not stored yet.
    NotWhole {
        /// Until when it waits for that.
        #[serde(serialize_with = "show::time")]
        until: SystemTime,
    },
    /// It stands for a job in another queue, which has not ended, or whose end is on its way.
    Elsewhere,
    /// What it waited for is on its way to another queue.
    OnItsWay {
        /// What waits for it there.
        #[serde(serialize_with = "show::text")]
        to: JobId,
        /// That queue.
        queue: String,
        /// How many live workers serve the queue that it comes from: they carry it.
        carriers: usize,
    },
    /// Its time has not come.
    Scheduled {
        /// When it is due.
        #[serde(serialize_with = "show::time")]
        until: SystemTime,
    },
    /// Its last run failed, and the time of its next has not come.
    Retrying {
        /// When it is due.
        #[serde(serialize_with = "show::time")]
        until: SystemTime,
        /// How many runs have failed or succeeded.
        after: u32,
        /// What went wrong.
        #[serde(serialize_with = "show::maybe_failure")]
        failure: Option<Failure>,
    },
    /// Its time to start, or to end, has passed: the next worker that looks expires it.
    Overdue {
        /// Since when.
        #[serde(serialize_with = "show::time")]
        since: SystemTime,
        /// Which of the two.
        #[serde(serialize_with = "show::text")]
        reason_to_be: EndReason,
    },
    /// Its queue is paused.
    QueuePaused {
        /// Since when.
        #[serde(serialize_with = "show::time")]
        since: SystemTime,
        /// Until when; `None` until it is resumed.
        #[serde(serialize_with = "show::maybe_time")]
        until: Option<SystemTime>,
    },
    /// Its task is paused in its queue.
    TaskPaused {
        /// Since when.
        #[serde(serialize_with = "show::time")]
        since: SystemTime,
        /// Until when; `None` until it is resumed.
        #[serde(serialize_with = "show::maybe_time")]
        until: Option<SystemTime>,
    },
    /// It is revoked: it will be cancelled when a worker takes it.
    Revoked {
        /// Until when; `None` until it is restored.
        #[serde(serialize_with = "show::maybe_time")]
        until: Option<SystemTime>,
        /// Whether that ends with the first job it cancels.
        next_only: bool,
    },
    /// As many jobs of a key of its as may run at once do, or as many of its queue.
    LimitFull {
        /// The key; `None` for the queue's own limit.
        key: Option<Key>,
        /// How many there may be, by its own word.
        most: u32,
        /// How many there are now.
        running: u64,
        /// How many others are parked for the same.
        waiting: u64,
    },
    /// A rate it is under, or that of its queue, admits no start yet.
    RateWindow {
        /// The key; `None` for the queue's own rate.
        key: Option<Key>,
        /// When it next does.
        #[serde(serialize_with = "show::time")]
        until: SystemTime,
        /// How many others are parked for the same.
        waiting: u64,
    },
    /// No live worker serves its queue.
    NoWorker,
    /// No live worker that serves its queue knows its task.
    UnknownTask {
        /// How many workers serve it.
        workers: usize,
        /// Where workers know the task that serve other queues: these queues.
        known_in: Vec<String>,
    },
    /// The workers that know its task are too old for it.
    NewerProgram {
        /// What a worker must understand.
        needs: u16,
        /// The most any of them understands.
        understood: u16,
    },
    /// Every worker that could run it is paused.
    WorkersPaused {
        /// How many.
        workers: usize,
    },
    /// Nothing but other jobs is in its way.
    InLine {
        /// How many jobs are ready in its queue, itself among them.
        ready: u64,
        /// How many live workers can run it.
        workers: usize,
        /// How many jobs they run at once.
        slots: u64,
        /// Whether its worker vanished while it ran: such jobs are run one at a time.
        suspect: bool,
    },
    /// It runs.
    Running {
        /// On this worker.
        #[serde(serialize_with = "show::maybe_text")]
        worker: Option<WorkerId>,
        /// Where that is: host and process.
        host: Option<String>,
        /// Since when.
        #[serde(serialize_with = "show::maybe_time")]
        since: Option<SystemTime>,
        /// How far it got, by its own word.
        progress: Option<Progress>,
        /// Whether it was asked to stop.
        asked_to_stop: bool,
        /// Since when its lease has run out, if it has.
        #[serde(serialize_with = "show::maybe_time")]
        lost_since: Option<SystemTime>,
    },
    /// It has ended.
    Ended {
        /// When.
        #[serde(serialize_with = "show::maybe_time")]
        at: Option<SystemTime>,
        /// Why, unless it completed.
        #[serde(serialize_with = "show::maybe_text")]
        because: Option<EndReason>,
        /// The job whose end cancelled it.
        #[serde(serialize_with = "show::maybe_text")]
        culprit: Option<JobId>,
        /// What went wrong in its last run.
        #[serde(serialize_with = "show::maybe_failure")]
        failure: Option<Failure>,
    },
}

/// A job that another waits for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Blocker {
    /// Its id.
    #[serde(serialize_with = "show::text")]
    pub id: JobId,
    /// Its task; `None` when it is not stored.
    pub task: Option<TaskName>,
    /// Where it is in its life.
    #[serde(serialize_with = "show::maybe_text")]
    pub state: Option<State>,
}

impl Client {
    /// What a job does, or what keeps it from running. Of one that waits for others it tells what holds these up, through
    /// all of its flow; of one that was cancelled for another, how that one ended.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Report {}
    /// # impl Task for Report { type Output = (); const NAME: &'static str = "report";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::memory();
    /// let job = Call::new(Report {}).enqueue(&client).await?;
    /// let explained = client.explain(job.id()).await?;
    /// assert!(explained.to_string().ends_with("is ready, but no live worker serves queue `default`: start one"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn explain(&self, id: JobId) -> Result<Explanation, StorageError> {
        let job = match self.storage().get(id).await? {
            Lookup::Found(job) => job,
            Lookup::Gone => return Ok(Explanation::of_none(id, Why::Gone)),
            Lookup::Unknown => return Ok(Explanation::of_none(id, Why::Unknown)),
        };
        let workers = self.workers().await?;
        let cause = self.cause(&job, &workers).await?;
        Ok(self.explained(&job, &workers).await?.with(cause))
    }

    /// What is known of one job, without its cause.
    async fn explained(&self, job: &Job, workers: &[WorkerRecord]) -> Result<Explanation, StorageError> {
        let counts = self.storage().counts(&job.shard).await?;
        let evidence = Evidence {
            controls: self.storage().controls(&job.shard).await?,
            workers: workers.to_vec(),
            ready: counts.of(State::Ready),
            usage: self.usage_for(job).await?,
            running: counts.of(State::Running),
            blockers: self.blockers(job).await?,
            now: self.clock().now(),
        };
        Ok(Explanation::new(job, why(job, &evidence)))
    }

    /// How the key is used for which it is parked.
    async fn usage_for(&self, job: &Job) -> Result<Usage, StorageError> {
        match &job.parked_for {
            Some(key) => self.storage().usage(&job.shard, key).await,
            None => Ok(Usage::new()),
        }
    }

    /// The jobs that it still waits for, as far as they are looked up.
    async fn blockers(&self, job: &Job) -> Result<Vec<Blocker>, StorageError> {
        let mut blockers = Vec::new();
        let waits = job.state == State::Waiting;
        for &id in job.waits_for.iter().filter(|_| waits).take(MAX_BLOCKERS) {
            let other = self.storage().get(id).await?.found();
            let state = other.as_ref().map(|other| other.state);
            let over = match job.trigger {
                Trigger::Ended => state.is_some_and(State::is_end),
                _ => state == Some(State::Completed),
            };
            if !over {
                blockers.push(Blocker { id, task: other.map(|other| other.task), state });
            }
        }
        Ok(blockers)
    }
}

impl Explanation {
    fn of_none(id: JobId, why: Why) -> Self {
        let text = text::sentence(id, None, None, &why);
        Self { id, task: None, queue: None, state: None, why, text, cause: None }
    }

    fn new(job: &Job, why: Why) -> Self {
        let text = text::sentence(job.id, Some(&job.task), Some((&job.shard.queue, job.state)), &why);
        let (task, queue) = (Some(job.task.clone()), Some(job.shard.queue.to_string()));
        Self { id: job.id, task, queue, state: Some(job.state), why, text, cause: None }
    }

    fn with(mut self, cause: Option<Self>) -> Self {
        if let Some(cause) = cause {
            self.text += &format!("; {cause}");
            self.cause = Some(Box::new(cause));
        }
        self
    }
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
