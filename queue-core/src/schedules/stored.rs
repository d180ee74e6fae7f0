//! Reading what is stored of schedules, and changing it by compare-and-set.

use queue_storage::model::{NewJob, ScheduleName, Shard, Timestamp};
use queue_storage::storage::{
    Admission, Changed, ScheduleChange, SchedulePage, ScheduleQuery, ScheduleRecord, StorageError,
};

use crate::client::Client;
use crate::periodic::{Entry, Kind, ScheduleError};
use crate::taken::Taken;

/// How often a change is tried anew that others came before.
const TRIES: u32 = 100;

/// What is stored of a schedule.
fn read_entry(record: &ScheduleRecord) -> Result<Entry, ScheduleError> {
    let entry = Entry::decode(&record.data);
    entry.map_err(|why| ScheduleError::new(record.name.as_str(), Kind::Unreadable(why)))
}

/// What becomes of a schedule.
pub(crate) enum Becomes {
    /// It stays as it is.
    Same,
    /// This, with these jobs.
    Entry(Box<Entry>, Vec<NewJob>),
    /// Nothing is stored of it any more.
    Gone,
}

/// Changes a schedule to what `make` makes of what is stored of it, as often as others come between: what that says last,
/// and what became of its jobs.
pub(crate) async fn change<T>(
    client: &Client,
    shard: &Shard,
    name: &ScheduleName,
    mut make: impl FnMut(Option<Entry>, Timestamp) -> Result<(Becomes, T), ScheduleError>,
) -> Result<(T, Vec<Admission>), ScheduleError> {
    let failed = |error| ScheduleError::new(name.as_str(), Kind::Storage(error));
    for _ in 0..TRIES {
        let page = read(client, shard, name).await.map_err(failed)?;
        let stored = page.schedules.first().map(read_entry).transpose()?;
        let version = page.schedules.first().map(|record| record.version);
        let (becomes, answer) = make(stored, page.now)?;
        let (to, jobs) = match becomes {
            Becomes::Same => return Ok((answer, Vec::new())),
            Becomes::Gone => (None, Vec::new()),
            Becomes::Entry(entry, jobs) => {
                let data = entry.encode().map_err(|why| ScheduleError::invalid(name.as_str(), why))?;
                (Some((entry.due(), data)), jobs)
            }
        };
        let mut change = ScheduleChange::new(name.clone(), version, to);
        change.jobs = jobs;
        let taken: Vec<_> = change.jobs.iter().map(Taken::of).collect();
        let mut ticked = client.storage().tick(shard, &[change]).await.map_err(failed)?;
        if let Some(Changed::Applied(admissions)) = ticked.changed.pop() {
            client.tell_taken(shard, &taken, &admissions);
            client.run_inline(shard).await.map_err(failed)?;
            return Ok((answer, admissions));
        }
    }
    Err(ScheduleError::new(name.as_str(), Kind::Contended))
}

/// Removes a schedule whatever is stored of it; whether it was there.
pub(super) async fn discard(client: &Client, shard: &Shard, name: &ScheduleName) -> Result<bool, ScheduleError> {
    let failed = |error| ScheduleError::new(name.as_str(), Kind::Storage(error));
    for _ in 0..TRIES {
        let page = read(client, shard, name).await.map_err(failed)?;
        let Some(record) = page.schedules.first() else { return Ok(false) };
        let change = ScheduleChange::new(name.clone(), Some(record.version), None);
        let ticked = client.storage().tick(shard, &[change]).await.map_err(failed)?;
        if ticked.changed != [Changed::Stale] {
            return Ok(true);
        }
    }
    Err(ScheduleError::new(name.as_str(), Kind::Contended))
}

/// One schedule, if it is stored, and the storage's time.
pub(super) async fn read(client: &Client, shard: &Shard, name: &ScheduleName) -> Result<SchedulePage, StorageError> {
    client.storage().schedules(shard, &ScheduleQuery::Named(vec![name.clone()])).await
}

/// One schedule, which must be stored.
pub(super) async fn get(client: &Client, shard: &Shard, name: &ScheduleName) -> Result<Entry, ScheduleError> {
    let page = read(client, shard, name).await;
    let page = page.map_err(|error| ScheduleError::new(name.as_str(), Kind::Storage(error)))?;
    match page.schedules.first() {
        Some(record) => read_entry(record),
        None => {
            let (location, queue) = (client.location(), Some(shard.queue.to_string()));
            Err(ScheduleError::new(name.as_str(), Kind::Unknown { location, queue }))
        }
    }
}

/// Everything stored of the schedules of a shard; what can't be read is an error in its place.
pub(crate) async fn read_all(
    client: &Client,
    shard: &Shard,
) -> Result<Vec<(ScheduleName, Result<Entry, String>)>, StorageError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = client.storage().schedules(shard, &ScheduleQuery::After(after, 0)).await?;
        all.extend(page.schedules.into_iter().map(|one| (one.name, Entry::decode(&one.data))));
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}
