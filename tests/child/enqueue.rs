//! An enqueuer.

use std::io::{self, Write};

use queue::storage::model::{CallerId, JobId};
use queue::storage::storage::EnqueueCall;
use queue::{BoxError, Call, Client};

use crate::flags::Flags;
use crate::serve::effects;
use crate::tasks::{Effects, mixed_priority, work};

/// Enqueues the jobs `--from` to `--to`, `--batch` at a time, and prints the number and id of each once the storage has
/// acknowledged it. With `--clock-ms` its clock is that much ahead, or behind; with `--noted` it writes to the effect log
/// when it asks the storage to take a job and when that is answered.
pub(crate) async fn enqueue(flags: &Flags) -> Result<(), BoxError> {
    let client = queue::connect(flags.url()?).await?;
    let (from, to, batch) = (flags.number("from", 0)?, flags.number("to", 0)?, flags.number("batch", 1)?);
    let mixed = flags.has("mixed-priorities");
    let effects = flags.has("noted").then(|| effects(flags)).transpose()?;
    let mut wrong = match flags.number("clock-ms", 0)? {
        0 => None,
        ahead => Some(WrongClock { client: client.clone(), caller: CallerId::generate(), number: 0, ahead }),
    };
    let mut jobs = (from..to).peekable();
    while jobs.peek().is_some() {
        let numbers: Vec<u64> = jobs.by_ref().take(batch).collect();
        let calls: Vec<_> = numbers.iter().map(|job| call(*job, mixed)).collect();
        note(effects.as_ref(), "asked", &numbers);
        let ids = match &mut wrong {
            None => store(&client, calls).await?,
            Some(wrong) => wrong.store(calls).await?,
        };
        note(effects.as_ref(), "stored", &numbers);
        let mut out = io::stdout().lock();
        for (job, id) in numbers.iter().zip(ids) {
            writeln!(out, "{job} {id}")?;
        }
    }
    Ok(())
}

fn call(job: u64, mixed: bool) -> Call<work> {
    let call = work::new(job, [0; 3]);
    if mixed { call.priority(mixed_priority(job)) } else { call }
}

fn note(effects: Option<&Effects>, what: &str, jobs: &[u64]) {
    if let Some(effects) = effects {
        jobs.iter().for_each(|job| effects.note(what, *job));
    }
}

async fn store(client: &Client, calls: Vec<Call<work>>) -> Result<Vec<JobId>, BoxError> {
    let handles = match <[Call<work>; 1]>::try_from(calls) {
        Ok([only]) => vec![only.enqueue(client).await?],
        Err(several) => client.enqueue_all(several).await?,
    };
    Ok(handles.iter().map(queue::JobHandle::id).collect())
}

/// A client whose ids say another time than it is: what the storage is told by a machine whose clock is wrong.
struct WrongClock {
    client: Client,
    caller: CallerId,
    number: u64,
    /// Milliseconds.
    ahead: i64,
}

impl WrongClock {
    async fn store(&mut self, calls: Vec<Call<work>>) -> Result<Vec<JobId>, BoxError> {
        let mut jobs = Vec::with_capacity(calls.len());
        let mut home = None;
        for call in calls {
            let (shard, mut job) = call.into_job(&self.client)?;
            job.id = self.id(job.id);
            home = Some(shard);
            jobs.push(job);
        }
        let Some(shard) = home else { return Ok(Vec::new()) };
        let ids = jobs.iter().map(|job| job.id).collect();
        self.number += 1;
        let call = EnqueueCall { caller: self.caller, shard, number: self.number, jobs };
        self.client.storage().enqueue(call).await?;
        Ok(ids)
    }

    /// The first 48 bits of an id are the milliseconds since 1970.
    fn id(&self, id: JobId) -> JobId {
        let moved = (id.as_u128() >> 80) as u64;
        let moved = moved.saturating_add_signed(self.ahead);
        JobId::from_u128(u128::from(moved) << 80 | id.as_u128() & (u128::MAX >> 48))
    }
}
