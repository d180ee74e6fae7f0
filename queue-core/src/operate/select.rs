//! Choosing stored jobs, to look at them or to do something to all of them.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use queue_storage::model::{EndReason, Job, Key, NameError, QueueName, State, Tag, TaskName, Timestamp, WorkerId};
use queue_storage::storage::{Counts, Cursor, JobPage, JobQuery, MAX_ACT, MAX_PAGE, StorageError};

use super::bulk::BulkReport;
use super::listing::{Listing, Walk};
use crate::client::Client;
use crate::facts::DeadLetter;
use crate::task::Task;

impl Client {
    /// Chooses stored jobs by what is known of them, to look at them or to do something to all of them. Without a filter:
    /// every job.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, State, Task, TaskError};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Report { month: u32 }
    /// # impl Task for Report { type Output = (); const NAME: &'static str = "report";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::memory();
    /// client.enqueue_all((1..=12).map(|month| Call::new(Report { month }))).await?;
    ///
    /// let reports = client.select().queue("default").task::<Report>().state(State::Ready);
    /// assert_eq!(reports.count().await?, 12);
    /// let report = reports.on_progress(|so_far| println!("{so_far}")).cancel().await?;
    /// assert_eq!((report.matched, report.done), (12, 12));
    /// # Ok(()) }
    /// ```
    pub fn select(&self) -> Selection {
        Selection::new(self.clone())
    }

    /// The dead letters, those of a queue newest first: [`select`](Self::select) with the state set.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, tasks};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Send { to: String }
    /// # impl Task for Send { type Output = (); const NAME: &'static str = "send";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Err("no such address".into()) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::immediate(tasks![Send]).build()?;
    /// # Call::new(Send { to: "a@b".into() }).enqueue(&client).await?;
    /// let mut letters = client.dead_letters().letters();
    /// while let Some(letter) = letters.next().await {
    ///     let letter = letter?;
    ///     assert_eq!(letter.arguments.as_deref(), Some(r#"{"to":"a@b"}"#));
    ///     client.revive_with_json(letter.id, r#"{"to":"a@b.c"}"#).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn dead_letters(&self) -> Selection {
        self.select().state(State::Dead)
    }
}

/// Tells how far a bulk act got.
type OnProgress = Arc<dyn Fn(&BulkReport) + Send + Sync>;

/// Stored jobs, chosen by what is known of them: what [`Client::select`] returns. Filters add up; a verb ends it.
///
/// A name that is no name is reported by the verb.
#[derive(Clone)]
#[must_use = "a selection does nothing until a verb ends it: `.count()`, `.page(..)`, `.jobs()`, `.cancel()`, …"]
pub struct Selection {
    pub(super) client: Client,
    query: JobQuery,
    /// The names of the task, older ones among them: each is asked for on its own. Empty for any task.
    tasks: Vec<TaskName>,
    problem: Option<NameError>,
    on_progress: Option<OnProgress>,
}

impl Selection {
    fn new(client: Client) -> Self {
        Self { client, query: JobQuery::default(), tasks: Vec::new(), problem: None, on_progress: None }
    }

    fn named<T>(&mut self, name: Result<T, NameError>) -> Option<T> {
        name.map_err(|error| self.problem.get_or_insert(error).clone()).ok()
    }

    /// Only jobs of this queue.
    pub fn queue(mut self, name: impl AsRef<str>) -> Self {
        self.query.queue = self.named(QueueName::new(name));
        self
    }

    /// Only jobs of this task, also those stored under its older names, which come after the others.
    pub fn task<T: Task>(mut self) -> Self {
        let names = std::iter::once(&T::NAME).chain(T::ALIASES);
        self.tasks = names.filter_map(|name| self.named(TaskName::new(name))).collect();
        self
    }

    /// Only jobs stored under this name of a task.
    pub fn task_named(mut self, name: impl AsRef<str>) -> Self {
        self.tasks = self.named(TaskName::new(name)).into_iter().collect();
        self
    }

    /// Only jobs in this state.
    pub fn state(mut self, state: State) -> Self {
        self.query.state = Some(state);
        self
    }

    /// Only jobs with this tag.
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.query.tag = self.named(Tag::new(tag));
        self
    }

    /// Only jobs with this key, unique or of a limit, as it is stored: `key:api`, `task:pay`, `lock:ledger`,
    /// `arg:pay:tenant:acme`; see [`Limit::key_of`](crate::Limit::key_of) and
    /// [`Unique::key_of`](crate::Unique::key_of).
    pub fn key(mut self, key: impl AsRef<str>) -> Self {
        self.query.key = self.named(Key::new(key));
        self
    }

    /// Only jobs that this worker runs, or ran when they ended.
    pub fn worker(mut self, worker: WorkerId) -> Self {
        self.query.worker = Some(worker);
        self
    }

    /// Only jobs that ended for this reason.
    pub fn reason(mut self, reason: EndReason) -> Self {
        self.query.reason = Some(reason);
        self
    }

    /// Only jobs enqueued at this moment or later.
    pub fn from(mut self, moment: SystemTime) -> Self {
        self.query.from = Some(Timestamp::from(moment));
        self
    }

    /// Only jobs enqueued before this moment.
    pub fn until(mut self, moment: SystemTime) -> Self {
        self.query.until = Some(Timestamp::from(moment));
        self
    }

    /// Calls `tell` after each batch of a bulk act, with what became of the jobs so far.
    pub fn on_progress(mut self, tell: impl Fn(&BulkReport) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(tell));
        self
    }

    fn checked(&self) -> Result<(), StorageError> {
        match &self.problem {
            Some(error) => Err(StorageError::invalid(error.to_string())),
            None => Ok(()),
        }
    }

    /// A query for each name of the task.
    fn queries(&self, limit: u32) -> Vec<JobQuery> {
        let mut query = self.query.clone();
        query.limit = limit;
        if self.tasks.is_empty() {
            return vec![query];
        }
        let of = |name: &TaskName| {
            let mut query = query.clone();
            query.task = Some(name.clone());
            query
        };
        self.tasks.iter().map(of).collect()
    }

    /// All of them, in pages of so many at most.
    pub(super) fn walk(&self, limit: u32) -> Result<Walk, StorageError> {
        self.checked()?;
        Ok(Walk::new(self.client.clone(), self.queries(limit)))
    }

    /// Tells how far a bulk act got, if anyone wants to know.
    pub(super) fn tell(&self, so_far: &BulkReport) {
        self.on_progress.iter().for_each(|tell| tell(so_far));
    }

    /// How many there are now. Chosen by queue and state alone, it costs little; otherwise each is looked at.
    ///
    /// # Errors
    /// The storage can't be asked, or a name is none.
    pub async fn count(&self) -> Result<u64, StorageError> {
        self.checked()?;
        let mut by_counts = JobQuery::default();
        (by_counts.queue, by_counts.state) = (self.query.queue.clone(), self.query.state);
        if self.query == by_counts && self.tasks.is_empty() {
            return self.counted().await;
        }
        let mut walk = self.walk(MAX_PAGE)?;
        let mut count = 0;
        while let Some(jobs) = walk.next_page().await? {
            count += jobs.len() as u64;
        }
        Ok(count)
    }

    async fn counted(&self) -> Result<u64, StorageError> {
        let mut counts = Counts::default();
        for shard in self.client.storage().shards().await? {
            if self.query.queue.as_ref().is_none_or(|queue| *queue == shard.queue) {
                counts.add(&self.client.storage().counts(&shard).await?);
            }
        }
        Ok(self.query.state.map_or_else(|| counts.stored.values().sum(), |state| counts.of(state)))
    }

    /// A page of at most `limit` of them (0 for 1,000), those of a queue in the order in which they were enqueued, dead
    /// ones newest first; `after` is [`JobPage::next`] of the page before.
    ///
    /// # Errors
    /// The storage can't be asked, a name is none, or `after` is not from a page of this selection.
    pub async fn page(&self, after: Option<&Cursor>, limit: u32) -> Result<JobPage, StorageError> {
        self.checked()?;
        let queries = self.queries(limit);
        let (at, inner) = after.map_or(Ok((0, None)), place)?;
        let Some(query) = queries.get(at) else { return Ok(JobPage::default()) };
        let mut query = query.clone();
        query.after = inner;
        let mut page = self.client.storage().list(&query).await?;
        page.next = match page.next {
            Some(next) => Some(Cursor(format!("{at}:{}", next.0))),
            None => (at + 1 < queries.len()).then(|| Cursor(format!("{}:", at + 1))),
        };
        Ok(page)
    }

    /// Each of them, page by page, as [`page`](Self::page) has them.
    ///
    /// Not a snapshot: a job that is stored throughout is shown exactly once.
    #[must_use]
    pub fn jobs(&self) -> Listing<Job> {
        self.listing(|job| job)
    }

    /// The dead letters among them, newest first.
    #[must_use]
    pub fn letters(&self) -> Listing<DeadLetter> {
        self.clone().state(State::Dead).listing(|job| DeadLetter::of(&job))
    }

    fn listing<T: Send + 'static>(&self, view: fn(Job) -> T) -> Listing<T> {
        match self.walk(MAX_ACT as u32) {
            Ok(walk) => walk.listing(view),
            Err(error) => Listing::failed(error),
        }
    }
}

/// The place a cursor names: which query, and where in it.
fn place(cursor: &Cursor) -> Result<(usize, Option<Cursor>), StorageError> {
    let parts = cursor.0.split_once(':').and_then(|(at, inner)| Some((at.parse().ok()?, inner)));
    let (at, inner) = parts.ok_or_else(|| StorageError::invalid(format!("`{}` is no place in this list", cursor.0)))?;
    Ok((at, Some(inner).filter(|inner| !inner.is_empty()).map(|inner| Cursor(inner.to_owned()))))
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection").field("query", &self.query).field("tasks", &self.tasks).finish_non_exhaustive()
    }
}
