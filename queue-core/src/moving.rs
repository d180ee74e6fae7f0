//! Moving a job to another queue.

use queue_storage::model::{Envelope, Job, JobId, NewJob, QueueName, Shard, State, Timestamp, When};
use queue_storage::storage::{Act, Edit, Lookup, StorageError};

use crate::client::Client;
use crate::handle::JobHandle;
use crate::ids::derived;
use crate::operate::{ActError, Deed, Kind};

/// The header under which a job on its way keeps the times it had, and where it goes.
const MARK: &str = "queue.moving";

impl<Out> JobHandle<Out> {
    /// Moves a job that does not run to another queue; the handle of the job it is there.
    ///
    /// A job's id tells where it lives, so this makes another job: the same call, priority, tags, times and limits, under an
    /// id that follows from this one and the queue, with no attempts and no history. Its limits are shared with the jobs of
    /// the queue it is in then, and it is unique no more. The old job ends cancelled
    /// ([`Requested`](crate::EndReason::Requested)), and with it whatever waits for it.
    ///
    /// It takes several calls to the storage: the old job is held back, then cancelled, then the new one is enqueued. Whoever
    /// is interrupted moves it again, which finishes what was begun; until then the old job is scheduled for the far future
    /// or cancelled, and does not run. Moving it again later finds the job that was made, for as long as that is stored;
    /// once it has been pruned, it is made anew. To another queue moves the job that it is there.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Report {}
    /// # impl Task for Report { type Output = (); const NAME: &'static str = "report";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::memory();
    /// let job = Call::new(Report {}).enqueue(&client).await?;
    /// let moved = job.move_to("slow").await?;
    /// assert_eq!(client.counts("slow").await?.pending(), 1);
    /// assert_eq!(job.move_to("slow").await?.id(), moved.id());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The job runs, has ended, is gone, was moved to another queue, or takes the results of other jobs; its envelope can't
    /// be opened; the name is none, or its own queue's; or the storage can't be asked: then move it again.
    ///
    /// # Cancel safety
    /// When the future is dropped, move it again.
    pub async fn move_to(&self, queue: impl AsRef<str>) -> Result<JobHandle<Out>, ActError> {
        let client = self.client();
        let id = client.move_job(self.id(), queue.as_ref()).await?;
        Ok(JobHandle::new(client.clone(), id))
    }
}

impl Client {
    /// Moves a job that does not run to another queue, and returns the id of the job it is there: see
    /// [`JobHandle::move_to`].
    ///
    /// # Errors
    /// As [`JobHandle::move_to`].
    ///
    /// # Cancel safety
    /// As [`JobHandle::move_to`].
    pub async fn move_job(&self, id: JobId, queue: &str) -> Result<JobId, ActError> {
        let fail = |kind| ActError::new(id, Deed::Move, kind);
        let name = QueueName::new(queue).map_err(|error| fail(Kind::Invalid(error.to_string())))?;
        let shard = Shard::of(name);
        let job = self.found(id, Deed::Move).await?;
        let moving = Moving::of(&job, &shard).map_err(|why| fail(Kind::Invalid(why)))?;
        match job.state {
            State::Cancelled if moving.begun.as_ref() == Some(&shard.queue) => {}
            State::Cancelled if let Some(there) = moving.begun => {
                let new = derived(id, b"", &Shard::of(there.clone()));
                let why =
                    format!("it was moved to `{there}`: move it there again if that was cut short, then job {new}");
                return Err(fail(Kind::Invalid(why)));
            }
            state if state.is_end() || state == State::Running => return Err(fail(Kind::Refused(state))),
            _ if self.is_stored(moving.id).await.map_err(|error| fail(Kind::Storage(error)))? => {
                let why =
                    format!("it was moved there before, as job {}, and revived since: revive that one", moving.id);
                return Err(fail(Kind::Invalid(why)));
            }
            _ => {
                // Nobody claims what is scheduled for the end of time: so no run is asked to stop where none was meant.
                let held = Edit::new().when(When::At(Timestamp::MAX)).envelope(moving.marked.clone());
                self.do_to(&job, Deed::Move, &Act::Edit(held)).await?;
                self.do_to(&job, Deed::Move, &Act::Cancel { keep: self.config().keep_cancelled }).await?;
            }
        }
        let new = moving.id;
        let stored = self.store(&shard, moving.new).await;
        stored.map(|()| new).map_err(|error| fail(Kind::Storage(error)))
    }

    async fn is_stored(&self, id: JobId) -> Result<bool, StorageError> {
        Ok(matches!(self.storage().get(id).await?, Lookup::Found(_)))
    }
}

/// A job on its way.
struct Moving {
    /// What it is in the other queue.
    id: JobId,
    new: NewJob,
    /// Its envelope, with the times it had.
    marked: bytes::Bytes,
    /// Where a move that was begun before goes.
    begun: Option<QueueName>,
}

impl Moving {
    fn of(job: &Job, shard: &Shard) -> Result<Self, String> {
        if job.shard == *shard {
            return Err(format!("it is in queue `{}` already", shard.queue));
        }
        if !job.waits_for.is_empty() {
            return Err("it takes the results of other jobs, which are in its queue: move none of them".to_owned());
        }
        let mut envelope = Envelope::decode(&job.envelope).map_err(|error| error.to_string())?;
        let mark = envelope.headers.remove(MARK);
        // What was revived, or rescheduled, since it was marked has other times, and is not on its way any more.
        let waits = job.state == State::Cancelled || job.due_at == Some(Timestamp::MAX);
        let (times, begun) = match mark.filter(|_| waits) {
            Some(mark) => parsed(&mark).ok_or_else(|| format!("its header `{MARK}` is damaged: {mark}"))?,
            None => (Times::of(job), None),
        };
        let encode = |envelope: &Envelope| envelope.encode().map_err(|error| error.to_string());
        let id = derived(job.id, b"", shard);
        let mut new = NewJob::new(id, job.task.clone(), encode(&envelope)?);
        (new.priority, new.tags, new.at_most_once, new.needs) =
            (job.priority, job.tags.clone(), job.at_most_once, job.needs);
        new.when = times.due.map_or(When::Now, When::At);
        (new.expires, new.deadline) = (times.expires.map(When::At), times.deadline.map(When::At));
        new.limits = job.limits.clone();
        envelope.headers.insert(MARK.to_owned(), format!("{} {}", times.text(), shard.queue));
        Ok(Self { id, new, marked: encode(&envelope)?, begun })
    }
}

/// When a job is due, and what expires it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    due: Option<Timestamp>,
    expires: Option<Timestamp>,
    deadline: Option<Timestamp>,
}

impl Times {
    fn of(job: &Job) -> Self {
        let waits = matches!(job.state, State::Scheduled | State::Retrying);
        let expires = job.expires_at.filter(|_| job.first_started_at.is_none());
        Self { due: job.due_at.filter(|_| waits), expires, deadline: job.deadline_at }
    }

    /// In microseconds, `-` for none.
    fn text(&self) -> String {
        let each = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time.as_micros().to_string());
        format!("{} {} {}", each(self.due), each(self.expires), each(self.deadline))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut times = text.split(' ').map(|word| match word {
            "-" => Some(None),
            micros => micros.parse().ok().map(|micros| Some(Timestamp::from_micros(micros))),
        });
        Some(Self { due: times.next()??, expires: times.next()??, deadline: times.next()?? })
    }
}

/// The times of a marked job, and where it goes.
fn parsed(mark: &str) -> Option<(Times, Option<QueueName>)> {
    let (times, to) = mark.rsplit_once(' ')?;
    Some((Times::parse(times)?, Some(QueueName::new(to).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_their_text() {
        let at = Timestamp::from_micros;
        for times in [
            Times { due: Some(at(5)), expires: None, deadline: Some(at(9)) },
            Times { due: None, expires: Some(at(7)), deadline: None },
        ] {
            assert_eq!(Times::parse(&times.text()), Some(times));
        }
        assert!(Times::parse("5 -").is_none() && Times::parse("a - -").is_none());
    }
}
