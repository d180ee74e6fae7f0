//! The call of a schedule as it is stored, and the job that each tick makes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{
    Envelope, JobId, Limit, NewJob, ScheduleName, Shard, Tag, TaskName, Timestamp, Unique, When,
};
use serde::{Deserialize, Serialize};

use crate::context::SCHEDULE_HEADER;
use crate::ids::{derived, hash};

/// The header that tells the tick of a job, in microseconds since the epoch.
const TICK: &str = "queue.tick";

/// A call without a moment and an id of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Template {
    pub(crate) task: TaskName,
    priority: i32,
    /// From its tick to the moment at which it may start, in microseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    delay: u64,
    /// From when it is due, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unique: Option<Unique>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    limits: Vec<Limit>,
    at_most_once: bool,
    needs: u16,
    pub(crate) envelope: Bytes,
}

/// The tick that a job came of, by its headers.
pub(crate) fn tick_of(headers: &BTreeMap<String, String>) -> Option<Timestamp> {
    headers.get(TICK)?.parse().ok().map(Timestamp::from_micros)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_zero(micros: &u64) -> bool {
    *micros == 0
}

/// The delay meant; `None` for a moment, which no schedule's call can have.
fn delay(when: When) -> Option<u64> {
    match when {
        When::Now => Some(0),
        When::In(delay) => Some(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX)),
        When::At(_) => None,
    }
}

impl Template {
    /// What is left of a job that is made anew with each tick; the option that is a moment, if one is.
    pub(crate) fn of(job: NewJob) -> Result<Self, &'static str> {
        let limit = |when: Option<When>, option| match when {
            Some(when) => delay(when).map(Some).ok_or(option),
            None => Ok(None),
        };
        Ok(Self {
            delay: delay(job.when).ok_or("schedule")?,
            expires: limit(job.expires, "expires")?,
            deadline: limit(job.deadline, "deadline")?,
            task: job.task,
            priority: job.priority,
            tags: job.tags,
            unique: job.unique,
            limits: job.limits,
            at_most_once: job.at_most_once,
            needs: job.needs,
            envelope: job.envelope,
        })
    }

    /// The job of a tick: always the same in an era, so that making it twice makes one.
    ///
    /// # Errors
    /// The envelope is one of a newer program.
    pub(crate) fn at_tick(
        &self,
        shard: &Shard,
        name: &ScheduleName,
        tick: Timestamp,
        era: u32,
        jitter: Duration,
    ) -> Result<NewJob, String> {
        let id = tick_id(shard, name, tick, era);
        let late = spread(jitter, id);
        let mut job = self.job(id, name, tick)?;
        job.when = When::At(tick + Duration::from_micros(self.delay) + late);
        Ok(job)
    }

    /// A job between ticks.
    ///
    /// # Errors
    /// As [`at_tick`](Self::at_tick).
    pub(crate) fn now(&self, shard: &Shard, name: &ScheduleName, now: Timestamp) -> Result<NewJob, String> {
        self.job(JobId::new(shard), name, now)
    }

    fn job(&self, id: JobId, name: &ScheduleName, moment: Timestamp) -> Result<NewJob, String> {
        let mut envelope = Envelope::decode(&self.envelope).map_err(|error| error.to_string())?;
        envelope.headers.insert(SCHEDULE_HEADER.to_owned(), name.to_string());
        envelope.headers.insert(TICK.to_owned(), moment.as_micros().to_string());
        let envelope = envelope.encode().map_err(|error| error.to_string())?;
        let after = |micros: u64| When::In(Duration::from_micros(micros));
        let mut job = NewJob::new(id, self.task.clone(), envelope);
        (job.priority, job.tags) = (self.priority, self.tags.clone());
        (job.expires, job.deadline) = (self.expires.map(after), self.deadline.map(after));
        (job.unique, job.limits) = (self.unique.clone(), self.limits.clone());
        (job.at_most_once, job.needs) = (self.at_most_once, self.needs);
        Ok(job)
    }
}

/// The id of the job of a tick: a UUIDv7 made at the tick, whose random bits follow from schedule, tick and era.
fn tick_id(shard: &Shard, name: &ScheduleName, tick: Timestamp, era: u32) -> JobId {
    const VERSION: u128 = 7 << 76;
    const VARIANT: u128 = 0b10 << 62;
    let millis = u128::from(tick.as_micros().unsigned_abs() / 1_000);
    let base = JobId::from_u128(millis << 80 | VERSION | VARIANT);
    let era = era.to_be_bytes();
    let era = if era == [0; 4] { &[][..] } else { &era };
    let word = [name.as_str().as_bytes(), &tick.as_micros().to_be_bytes(), era].concat();
    let id = derived(base, &word, shard);
    // The twelve random bits of the first half.
    let more = hash(&[&word, shard.to_string().as_bytes(), b"queue.tick"]) >> 52;
    JobId::from_u128(id.as_u128() | u128::from(more) << 64)
}

/// A time from nothing up to `jitter`, always the same for a job.
fn spread(jitter: Duration, id: JobId) -> Duration {
    let share = hash(&[&id.as_u128().to_be_bytes(), b"queue.jitter"]);
    let micros = (jitter.as_micros() * u128::from(share)) >> 64;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::schedule::testing::definition;
    use super::*;

    fn shard(name: &str) -> Shard {
        Shard::of(name.parse().unwrap())
    }

    #[test]
    fn each_tick_has_an_id_of_its_own_and_always_the_same() {
        let call = definition("* * * * *").call;
        let tick = |n: i64| Timestamp::from_micros(1_700_000_000_000_000 + n);
        let name = |text: &str| text.parse::<ScheduleName>().unwrap();
        let in_era = |era, queue: &str, text: &str, n| {
            call.at_tick(&shard(queue), &name(text), tick(n), era, Duration::ZERO).unwrap().id
        };
        let id = |queue: &str, text: &str, n| in_era(0, queue, text, n);
        let mut ids = BTreeSet::new();
        for queue in ["a", "b"] {
            for text in ["x", "y", "ax"] {
                for n in [0, 1, 999, 1_000, 60_000_000] {
                    assert_eq!(id(queue, text, n), id(queue, text, n));
                    assert!((0..3).all(|era| ids.insert(in_era(era, queue, text, n))));
                    assert_eq!(id(queue, text, n).home_tag(), shard(queue).tag());
                    assert_eq!(id(queue, text, n).made_at().as_micros(), tick(n).as_micros() / 1_000 * 1_000);
                }
            }
        }
        let bits = id("a", "x", 0).as_u128();
        assert_eq!((bits >> 76 & 0xf, bits >> 62 & 3), (7, 2), "a UUIDv7");
    }

    #[test]
    fn jitter_spreads_over_all_of_it_and_never_beyond() {
        let call = definition("* * * * *").call;
        let most = Duration::from_secs(60);
        let late: Vec<u64> = (0..1_000)
            .map(|n| {
                let tick = Timestamp::from_micros(1_700_000_000_000_000) + most * n;
                let job = call.at_tick(&shard("a"), &"x".parse().unwrap(), tick, 0, most).unwrap();
                job.when.resolve(Timestamp::EPOCH).since(tick).as_secs()
            })
            .collect();
        assert!(late.iter().all(|secs| *secs < 60));
        for tenth in 0..10 {
            let count = late.iter().filter(|secs| **secs / 6 == tenth).count();
            assert!((50..200).contains(&count), "{count} of 1,000 in tenth {tenth}");
        }
    }
}
