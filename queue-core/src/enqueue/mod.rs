//! The one verb: from calls to stored jobs.

mod error;
mod flow;
mod pass;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use queue_storage::model::{JobId, NewJob, Shard};
use queue_storage::storage::{Admission, MAX_ENQUEUE, StorageError};

use crate::call::Call;
use crate::client::{Client, MAX_CALL_BYTES, Unanswered};
use crate::draft::Draft;
use crate::handle::JobHandle;
use crate::taken::Taken;
use crate::task::Task;

use crate::middleware::Outgoing;
use error::Cause;
pub use error::EnqueueError;
use pass::Verb;

/// Why an immediate client can't run anything yet.
const NOT_ATTACHED: &str = "this client is in immediate mode, but no worker has been built on it yet, so nothing knows \
                            how to run a task: build one with `Worker::builder(&client)` first";

/// The job that keeps a unique one out.
fn other(admission: Admission) -> Option<JobId> {
    match admission {
        Admission::Existing(id, _) | Admission::Rejected(id, _) | Admission::Replaced(id, _) => Some(id),
        _ => None,
    }
}

fn handle_of<Out>(client: &Client, id: JobId, admission: Option<Admission>) -> JobHandle<Out> {
    match admission.and_then(other) {
        Some(other) => JobHandle::existing(client.clone(), other),
        None => JobHandle::new(client.clone(), id),
    }
}

/// The handle of a call that was answered so.
fn handle<Out>(
    client: &Client,
    id: JobId,
    admission: Option<Admission>,
    draft: &Draft,
) -> Result<JobHandle<Out>, Cause> {
    match admission {
        Some(Admission::Rejected(by, _)) => Err(Cause::Rejected { task: draft.task, by }),
        admission => Ok(handle_of(client, id, admission)),
    }
}

/// One call.
struct One;

impl Verb for One {
    type Answer = Option<Admission>;

    async fn store(&self, client: &Client, calls: &[Outgoing]) -> Result<Self::Answer, Cause> {
        match calls {
            [call] => client.store_this(&call.draft).await,
            _ => Ok(None),
        }
    }
}

/// Many calls of one task.
struct All;

impl Verb for All {
    type Answer = HashMap<JobId, Admission>;

    async fn store(&self, client: &Client, calls: &[Outgoing]) -> Result<Self::Answer, Cause> {
        client.store_all(calls.iter().map(|call| &call.draft)).await
    }
}

impl<T: Task> Call<T> {
    /// Stores the call as a job.
    ///
    /// Returns when the storage has it. A job of this id that is stored already stays as it is, and its handle is
    /// returned: enqueueing one call twice makes one job. Where another job of the same [unique](Self::unique) key is
    /// there, the handle is that one's: [`JobHandle::is_existing`].
    ///
    /// # Errors
    /// The call is at fault (its arguments can't be encoded or are too large, its queue's name is refused), or the
    /// storage could not be asked within the client's enqueue timeout; or another job of its unique key is there, and it
    /// asks to be refused then; or a [`Middleware`](crate::Middleware) of the client refuses it. The error gives the call
    /// back.
    ///
    /// # Cancel safety
    /// When the future is dropped, the job may be stored or not; enqueue a clone again to be sure.
    pub async fn enqueue(self, client: &Client) -> Result<JobHandle<T::Output>, EnqueueError<Self>> {
        match client.store_one(&self.draft).await {
            Ok(admission) => match handle(client, self.id(), admission, &self.draft) {
                Ok(handle) => Ok(handle),
                Err(cause) => Err(EnqueueError::new(self, cause)),
            },
            Err(cause) => Err(EnqueueError::new(self, cause)),
        }
    }
}

impl<T: Task> Call<T> {
    /// The job this call would be stored as, and where: for a storage that takes jobs in within a transaction of your
    /// own. [`Call::id`] names it afterwards: `client.handle::<T>(id)`. It passes no [`Middleware`](crate::Middleware): what
    /// that would add, add it to the call.
    ///
    /// # Errors
    /// The call is at fault, as for [`enqueue`](Self::enqueue).
    pub fn into_job(self, client: &Client) -> Result<(Shard, NewJob), EnqueueError<Self>> {
        client.job_of(&self.draft).map_err(|cause| EnqueueError::new(self, cause))
    }
}

impl Client {
    /// Stores many calls of one task: in calls of at most 1,000 jobs and some 4 MiB to the storage, in order, one call per
    /// queue where they fit.
    ///
    /// # Errors
    /// As [`Call::enqueue`]. A fault in any call is found before anything is stored. When the storage fails half-way,
    /// the calls before that are stored; enqueueing the calls the error gives back stores the rest and doubles none.
    ///
    /// # Cancel safety
    /// When the future is dropped, any part may be stored; enqueue clones again to be sure.
    ///
    /// Where another job has a call's unique key, the handle is that one's, even if the call asks to be refused:
    /// [`JobHandle::is_existing`].
    pub async fn enqueue_all<T: Task>(
        &self,
        calls: impl IntoIterator<Item = Call<T>>,
    ) -> Result<Vec<JobHandle<T::Output>>, EnqueueError<Vec<Call<T>>>> {
        let calls: Vec<_> = calls.into_iter().collect();
        let drafts = calls.iter().map(|call| &call.draft);
        let stored = match self.chain() {
            Some(chain) if !calls.is_empty() => Box::pin(self.pass(chain, drafts.cloned().collect(), All)).await,
            _ => self.store_all(drafts).await,
        };
        match stored {
            Ok(admissions) => {
                let found = |call: &Call<T>| admissions.get(&call.id()).copied();
                Ok(calls.iter().map(|call| handle_of(self, call.id(), found(call))).collect())
            }
            Err(cause) => Err(EnqueueError::new(calls, cause)),
        }
    }

    /// Stores one draft.
    async fn store_one(&self, draft: &Draft) -> Result<Option<Admission>, Cause> {
        match self.chain() {
            None => self.store_this(draft).await,
            Some(chain) => Box::pin(self.pass(chain, vec![draft.clone()], One)).await,
        }
    }

    async fn store_this(&self, draft: &Draft) -> Result<Option<Admission>, Cause> {
        let (shard, job) = self.job_of(draft)?;
        let taken = [Taken::of(&job)];
        Ok(self.submit(&shard, vec![job], &taken).await?.first().copied())
    }

    async fn store_all(&self, drafts: impl Iterator<Item = &Draft>) -> Result<HashMap<JobId, Admission>, Cause> {
        let mut others = HashMap::new();
        let mut by_shard: BTreeMap<Shard, Vec<NewJob>> = BTreeMap::new();
        for draft in drafts {
            let (shard, job) = self.job_of(draft)?;
            by_shard.entry(shard).or_default().push(job);
        }
        for (shard, jobs) in by_shard {
            let (mut chunk, mut bytes) = (Vec::new(), 0);
            for job in jobs {
                if chunk.len() == MAX_ENQUEUE || bytes >= MAX_CALL_BYTES {
                    self.submit_all(&shard, std::mem::take(&mut chunk), &mut others).await?;
                    bytes = 0;
                }
                bytes += job.envelope.len();
                chunk.push(job);
            }
            self.submit_all(&shard, chunk, &mut others).await?;
        }
        Ok(others)
    }

    /// Stores jobs; `others` gets the answers of those that another keeps out.
    async fn submit_all(
        &self,
        shard: &Shard,
        jobs: Vec<NewJob>,
        others: &mut HashMap<JobId, Admission>,
    ) -> Result<(), Cause> {
        let taken: Vec<_> = jobs.iter().map(Taken::of).collect();
        let admissions = self.submit(shard, jobs, &taken).await?;
        let ids = taken.iter().map(|job| job.id);
        others.extend(ids.zip(admissions).filter(|(_, admission)| other(*admission).is_some()));
        Ok(())
    }

    fn job_of(&self, draft: &Draft) -> Result<(Shard, NewJob), Cause> {
        let config = self.config();
        let bytes = draft.args_len();
        if bytes > config.payload_warning && bytes <= config.payload_limit {
            tracing::warn!(
                task = draft.task, id = %draft.id, bytes, limit = config.payload_limit,
                "large arguments: store what is large elsewhere and pass its key"
            );
        }
        draft.to_job(config.payload_limit).map_err(Cause::Draft)
    }

    /// Stores one job that is made already.
    pub(crate) async fn store(&self, shard: &Shard, job: NewJob) -> Result<(), StorageError> {
        let taken = [Taken::of(&job)];
        match self.submit(shard, vec![job], &taken).await {
            Ok(_) => Ok(()),
            Err(cause) if cause.is_unavailable() => Err(StorageError::unavailable(cause.to_string())),
            Err(cause) => Err(StorageError::invalid(cause.to_string())),
        }
    }

    /// Stores jobs, of which what is to be told is `taken`.
    async fn submit(&self, shard: &Shard, jobs: Vec<NewJob>, taken: &[Taken]) -> Result<Vec<Admission>, Cause> {
        let timeout = self.config().enqueue_timeout;
        let clock = Arc::clone(self.clock());
        let deadline = clock.now() + timeout;
        if self.is_immediate() {
            let inline = self.inline();
            let unattached = || Cause::Immediate(NOT_ATTACHED.to_owned());
            let inline = inline.as_ref().ok_or_else(unattached)?;
            jobs.iter()
                .filter(|job| job.node.is_task())
                .try_for_each(|job| inline.check(&job.task))
                .map_err(Cause::Immediate)?;
        }
        let expected = self.teller().expect(shard, taken.iter().map(|job| job.id));
        let admissions = self.producer(shard).submit(jobs, &clock, deadline).await.map_err(|unanswered| {
            let location = self.location();
            match unanswered {
                Unanswered::Refused(error) => Cause::Storage { location, error },
                Unanswered::TimedOut(error) => Cause::TimedOut { location, after: timeout, error },
            }
        })?;
        self.tell_taken(shard, taken, &admissions);
        drop(expected);
        if self.storage().is_watched(shard) {
            self.has_told(deadline).await;
        }
        let missing = flow::missing(&admissions);
        if let Some(missing) = missing.filter(|_| admissions.iter().all(|admission| other(*admission).is_none())) {
            return Err(Cause::Dependency { location: self.location(), missing });
        }
        let failed = |error| Cause::Storage { location: self.location(), error: Arc::new(error) };
        self.run_inline(shard).await.map_err(failed)?;
        Ok(admissions)
    }
}
