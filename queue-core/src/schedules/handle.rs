//! One stored schedule.

use std::fmt;

use queue_storage::model::{JobId, QueueName, ScheduleName, Shard, Timestamp};
use queue_storage::storage::Admission;

use super::facts::ScheduleFacts;
use super::stored::{Becomes, change, discard, get, read};
use crate::client::Client;
use crate::periodic::{Entry, Kind, Schedule, ScheduleError, Source};

impl Client {
    /// Stores a schedule, or changes the one of this name in the queue of its call; as often as one likes: where nothing
    /// differs nothing is changed, and a tick that is to come stays as long as the times are the same.
    ///
    /// What a worker's code defines under this name is changed until the [revision](Schedule::revision) there rises. One
    /// that is paused stays so; one that was removed begins anew.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Report { of: String }
    /// # impl Task for Report { type Output = (); const NAME: &'static str = "report";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
    /// use queue_core::Schedule;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::memory();
    /// let report = Schedule::new("acme-report", Call::new(Report { of: "acme".into() })).cron("0 7 * * MON");
    /// let report = client.put_schedule(report).await?;
    /// report.edit(|schedule| schedule.cron("0 8 * * MON").tz("Europe/Paris")).await?;
    /// report.pause().await?;
    /// assert!(report.get().await?.next.is_none());
    /// report.resume().await?;
    /// assert_eq!(report.get().await?.timing, "CRON_TZ=Europe/Paris 0 8 * * 1");
    /// assert!(report.remove().await?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Something is wrong with the schedule, or the storage can't be asked.
    ///
    /// # Cancel safety
    /// Dropped, it may have been stored or not; put it again.
    pub async fn put_schedule(&self, schedule: Schedule) -> Result<ScheduleHandle, ScheduleError> {
        let checked = schedule.checked(self.config().payload_limit).map_err(|fault| schedule.refused(&fault))?;
        let (name, shard, definition) = checked;
        change(self, &shard, &name, |stored, now| {
            let entry = match stored {
                None => Entry::new(definition.clone(), Source::RunTime(None), now),
                Some(entry) if is_removed(&entry) => entry.put_anew(definition.clone(), now),
                Some(entry) if entry.definition == definition => return Ok((Becomes::Same, ())),
                Some(entry) => {
                    let source = Source::RunTime(entry.source.revision());
                    entry.redefined(definition.clone(), source, now)
                }
            };
            Ok((Becomes::Entry(Box::new(entry), Vec::new()), ()))
        })
        .await?;
        Ok(ScheduleHandle { client: self.clone(), name: name.to_string(), queue: Some(shard.queue.to_string()) })
    }

    /// The schedule of this name, in whatever queue it lives; whether there is one turns out when something is asked of it.
    #[must_use]
    pub fn schedule(&self, name: impl Into<String>) -> ScheduleHandle {
        ScheduleHandle { client: self.clone(), name: name.into(), queue: None }
    }
}

fn is_removed(entry: &Entry) -> bool {
    matches!(entry.source, Source::Removed(_))
}

/// A stored schedule: what [`Client::schedule`] and [`Client::put_schedule`] return. Cloning it is cheap.
///
/// What is changed counts from the next tick on, on every worker.
#[derive(Clone)]
pub struct ScheduleHandle {
    client: Client,
    name: String,
    queue: Option<String>,
}

impl ScheduleHandle {
    /// The one in this queue, where several queues have one of this name.
    #[must_use]
    pub fn in_queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is and how far it has got.
    ///
    /// # Errors
    /// There is no such schedule ([`is_unknown`](ScheduleError::is_unknown)), or several queues have one; the storage can't
    /// be asked.
    pub async fn get(&self) -> Result<ScheduleFacts, ScheduleError> {
        let (shard, name) = self.find().await?;
        match get(&self.client, &shard, &name).await? {
            entry if is_removed(&entry) => Err(self.unknown(&shard)),
            entry => Ok(ScheduleFacts::of(&shard, &name, entry)),
        }
    }

    /// Changes what it is: `how` is given it as it is now, and may be called several times when others change it meanwhile.
    ///
    /// # Errors
    /// As [`get`](Self::get); what `how` says can't be, or lives in another queue.
    ///
    /// # Cancel safety
    /// Dropped, it may have been changed or not.
    pub async fn edit(&self, how: impl Fn(Schedule) -> Schedule + Send) -> Result<(), ScheduleError> {
        let limit = self.client.config().payload_limit;
        self.change(|entry, now, shard, name| {
            let edited = how(Schedule::stored(name, shard, entry.definition.clone()));
            let (other_name, home, definition) = edited.checked(limit).map_err(|fault| edited.refused(&fault))?;
            if other_name != *name || home != *shard {
                let why = format!(
                    "it can't become `{other_name}` of queue {}: put that with `client.put_schedule(..)`, and remove this",
                    home.queue
                );
                return Err(ScheduleError::invalid(&self.name, why));
            }
            if entry.definition == definition {
                return Ok((Becomes::Same, ()));
            }
            let source = Source::RunTime(entry.source.revision());
            Ok((Becomes::Entry(Box::new(entry.redefined(definition, source, now)), Vec::new()), ()))
        })
        .await
    }

    /// Pauses it: no tick is carried out, or made good later, until it is [resumed](Self::resume). Whether it was not
    /// paused before.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// Dropped, it may have been paused or not; pause it again.
    pub async fn pause(&self) -> Result<bool, ScheduleError> {
        self.change(|mut entry, now, _, _| {
            if entry.paused_at.replace(now).is_some() {
                return Ok((Becomes::Same, false));
            }
            Ok((Becomes::Entry(Box::new(entry), Vec::new()), true))
        })
        .await
    }

    /// Ends its pause; its next tick is the first from now on. Whether it was paused.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// Dropped, it may have been resumed or not; resume it again.
    pub async fn resume(&self) -> Result<bool, ScheduleError> {
        self.change(|mut entry, now, _, _| {
            if entry.paused_at.take().is_none() {
                return Ok((Becomes::Same, false));
            }
            entry.reckon(now);
            Ok((Becomes::Entry(Box::new(entry), Vec::new()), true))
        })
        .await
    }

    /// Removes it; whether it was there. Jobs that it has enqueued stay.
    ///
    /// One that a worker's code defines stays removed until its [revision](Schedule::revision) there rises. One that this
    /// program can't read is removed too.
    ///
    /// # Errors
    /// As [`get`](Self::get), except that one that is not there is none.
    ///
    /// # Cancel safety
    /// Dropped, it may have been removed or not; remove it again.
    pub async fn remove(&self) -> Result<bool, ScheduleError> {
        let removed = self.change(|mut entry, now, _, _| match entry.source.revision() {
            None => Ok((Becomes::Gone, true)),
            Some(revision) => {
                (entry.source, entry.changed_at) = (Source::Removed(revision), now);
                Ok((Becomes::Entry(Box::new(entry), Vec::new()), true))
            }
        });
        match removed.await {
            Err(error) if error.is_unknown() => Ok(false),
            Err(error) if error.is_unreadable() => {
                let (shard, name) = self.find().await?;
                discard(&self.client, &shard, &name).await
            }
            answer => answer,
        }
    }

    /// Enqueues its call at once, between ticks, also while it is paused; the job's id, or of a call that is
    /// [unique](crate::Unique) that of the job which keeps it out. It is none of its [`runs`](ScheduleFacts::runs), but the
    /// next tick finds it where jobs must not [overlap](crate::Overlap).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    /// Dropped, the job may have been enqueued or not.
    pub async fn run_now(&self) -> Result<JobId, ScheduleError> {
        let ((id, before), admissions) = self
            .changed(|mut entry, now, shard, name| {
                let job = entry.definition.call.now(shard, name, now);
                let job = job.map_err(|why| ScheduleError::new(&self.name, Kind::Unreadable(why)))?;
                let id = job.id;
                let before = entry.last_job.replace(id);
                Ok((Becomes::Entry(Box::new(entry), vec![job]), (id, before)))
            })
            .await?;
        let Some(other) = admissions.first().and_then(|admission| admission.kept_out_by()) else { return Ok(id) };
        self.change(|mut entry, _, _, _| {
            if entry.last_job != Some(id) {
                return Ok((Becomes::Same, ()));
            }
            entry.last_job = before;
            Ok((Becomes::Entry(Box::new(entry), Vec::new()), ()))
        })
        .await
        .unwrap_or_else(|error| tracing::debug!(%error, "a job that was kept out stays noted"));
        Ok(other)
    }

    /// Changes what is stored of it, which must be there.
    async fn change<T>(
        &self,
        make: impl FnMut(Entry, Timestamp, &Shard, &ScheduleName) -> Result<(Becomes, T), ScheduleError>,
    ) -> Result<T, ScheduleError> {
        Ok(self.changed(make).await?.0)
    }

    /// The same, with what became of its jobs.
    async fn changed<T>(
        &self,
        mut make: impl FnMut(Entry, Timestamp, &Shard, &ScheduleName) -> Result<(Becomes, T), ScheduleError>,
    ) -> Result<(T, Vec<Admission>), ScheduleError> {
        let (shard, name) = self.find().await?;
        change(&self.client, &shard, &name, |stored, now| match stored {
            Some(entry) if !is_removed(&entry) => make(entry, now, &shard, &name),
            _ => Err(self.unknown(&shard)),
        })
        .await
    }

    fn unknown(&self, shard: &Shard) -> ScheduleError {
        let (location, queue) = (self.client.location(), Some(shard.queue.to_string()));
        ScheduleError::new(&self.name, Kind::Unknown { location, queue })
    }

    /// Where it lives.
    async fn find(&self) -> Result<(Shard, ScheduleName), ScheduleError> {
        let invalid = |error: queue_storage::model::NameError| ScheduleError::invalid(&self.name, error.to_string());
        let failed = |error| ScheduleError::new(&self.name, Kind::Storage(error));
        let name = ScheduleName::new(&self.name).map_err(invalid)?;
        if let Some(queue) = &self.queue {
            return Ok((Shard::of(QueueName::new(queue).map_err(invalid)?), name));
        }
        let mut homes = Vec::new();
        for shard in self.client.storage().shards().await.map_err(failed)? {
            let page = read(&self.client, &shard, &name).await.map_err(failed)?;
            let there = |data| Entry::decode(data).map_or(true, |entry| !is_removed(&entry));
            if page.schedules.iter().any(|record| there(&record.data)) {
                homes.push(shard);
            }
        }
        match homes.len() {
            1 => Ok((homes.remove(0), name)),
            0 => {
                let location = self.client.location();
                Err(ScheduleError::new(&self.name, Kind::Unknown { location, queue: None }))
            }
            _ => {
                let queues = homes.into_iter().map(|shard| shard.queue).collect();
                Err(ScheduleError::new(&self.name, Kind::Ambiguous(queues)))
            }
        }
    }
}

impl fmt::Debug for ScheduleHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduleHandle").field("name", &self.name).field("queue", &self.queue).finish_non_exhaustive()
    }
}
