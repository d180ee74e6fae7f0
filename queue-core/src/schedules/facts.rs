//! A stored schedule, seen from outside.

use std::time::{Duration, SystemTime};

use queue_storage::model::{Envelope, JobId, ScheduleName, Shard, Timestamp};
use serde::Serialize;

use crate::facts::show;
use crate::json;
use crate::periodic::{Entry, Source};
use crate::policies::{Missed, Overlap};

/// A stored schedule, seen from outside.
///
/// Serialised, ids are texts, moments are RFC 3339 in UTC, to the millisecond, and durations are seconds; `source` is like
/// `{"from": "code", "revision": 2}`, and the policy on missed ticks like `{"policy": "skip", "tolerance": 3600.0}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ScheduleFacts {
    /// Its name.
    pub name: String,
    /// The queue it lives in, and its jobs go to.
    pub queue: String,
    /// The task of its call.
    pub task: String,
    /// The arguments of its call, as JSON; `None` if they can't be shown so.
    pub arguments: Option<String>,
    /// When it is due, in words: `CRON_TZ=Europe/Paris 0 3 * * *`, `every 5m`.
    pub timing: String,
    /// The zone on whose clock it goes.
    pub zone: String,
    /// The next tick; `None` while it is paused, and when it is over.
    #[serde(serialize_with = "show::maybe_time")]
    pub next: Option<SystemTime>,
    /// The last tick that was carried out.
    #[serde(serialize_with = "show::maybe_time")]
    pub last: Option<SystemTime>,
    /// The job it enqueued last, by a tick or by [`run_now`](crate::ScheduleHandle::run_now).
    #[serde(serialize_with = "show::maybe_text")]
    pub last_job: Option<JobId>,
    /// Ticks that were carried out.
    pub runs: u64,
    /// Ticks that were left out since no worker carried them out in time; of more than a thousand in a row a thousand are
    /// counted.
    pub missed: u64,
    /// Ticks that were left out since the job before had not ended.
    pub skipped: u64,
    /// Since when it is paused.
    #[serde(serialize_with = "show::maybe_time")]
    pub paused_at: Option<SystemTime>,
    /// Where its definition comes from.
    #[serde(serialize_with = "shown::source")]
    pub source: ScheduleSource,
    /// What becomes of ticks that nobody carries out in time.
    #[serde(serialize_with = "shown::missed")]
    pub missed_policy: Missed,
    /// What becomes of a tick while the job before has not ended.
    pub overlap: Overlap,
    /// The most by which its jobs start later than its ticks.
    #[serde(serialize_with = "shown::seconds")]
    pub jitter: Duration,
    /// No tick before it.
    #[serde(serialize_with = "show::maybe_time")]
    pub starts: Option<SystemTime>,
    /// No tick after it.
    #[serde(serialize_with = "show::maybe_time")]
    pub ends: Option<SystemTime>,
    /// No tick after so many.
    pub max_runs: Option<u64>,
    /// When it was stored first.
    #[serde(serialize_with = "show::time")]
    pub created_at: SystemTime,
    /// When its definition was changed last.
    #[serde(serialize_with = "show::time")]
    pub changed_at: SystemTime,
    #[serde(skip)]
    entry: Box<Entry>,
}

/// Where the definition of a schedule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleSource {
    /// From code, with this [revision](crate::Schedule::revision).
    Code(u32),
    /// From a client at run time; nothing of it stands in code, as far as is known.
    RunTime,
    /// From a change at run time of what stands in code with this revision.
    Edited(u32),
}

/// What people are shown of a schedule's words.
mod shown {
    use std::time::Duration;

    use serde::{Serialize, Serializer};

    use super::ScheduleSource;
    use crate::policies::Missed;

    #[derive(Serialize)]
    struct Source {
        from: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<u32>,
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde wants")]
    pub(super) fn source<S: Serializer>(source: &ScheduleSource, serializer: S) -> Result<S::Ok, S::Error> {
        let (from, revision) = match *source {
            ScheduleSource::Code(revision) => ("code", Some(revision)),
            ScheduleSource::RunTime => ("run_time", None),
            ScheduleSource::Edited(revision) => ("edited", Some(revision)),
        };
        Source { from, revision }.serialize(serializer)
    }

    #[derive(Serialize)]
    #[serde(tag = "policy", rename_all = "snake_case")]
    enum Policy {
        Skip { tolerance: f64 },
        Last,
        All { most: u32 },
    }

    pub(super) fn missed<S: Serializer>(missed: &Missed, serializer: S) -> Result<S::Ok, S::Error> {
        let policy = match *missed {
            Missed::Skip { tolerance } => Policy::Skip { tolerance: tolerance.as_secs_f64() },
            Missed::Last => Policy::Last,
            Missed::All(most) => Policy::All { most },
        };
        policy.serialize(serializer)
    }

    pub(super) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(time.as_secs_f64())
    }
}

impl ScheduleFacts {
    pub(super) fn of(shard: &Shard, name: &ScheduleName, entry: Entry) -> Self {
        let time = |moment: Option<Timestamp>| moment.map(SystemTime::from);
        let definition = &entry.definition;
        let envelope = Envelope::decode(&definition.call.envelope).ok();
        Self {
            name: name.to_string(),
            queue: shard.queue.to_string(),
            task: definition.call.task.to_string(),
            arguments: envelope.and_then(|envelope| json::to_text(&envelope.args).ok()),
            timing: definition.timing.to_string(),
            zone: definition.timing.zone().to_string(),
            next: time(entry.due()),
            last: time(entry.last),
            last_job: entry.last_job,
            runs: entry.runs,
            missed: entry.missed,
            skipped: entry.skipped,
            paused_at: time(entry.paused_at),
            source: match entry.source {
                Source::Code(revision) | Source::Removed(revision) => ScheduleSource::Code(revision),
                Source::RunTime(Some(revision)) => ScheduleSource::Edited(revision),
                Source::RunTime(None) => ScheduleSource::RunTime,
            },
            missed_policy: definition.missed,
            overlap: definition.overlap,
            jitter: definition.jitter,
            starts: time(definition.starts),
            ends: time(definition.ends),
            max_runs: definition.max_runs,
            created_at: entry.created_at.into(),
            changed_at: entry.changed_at.into(),
            entry: Box::new(entry),
        }
    }

    /// The next so many ticks, as far as its definition says: fewer where it ends before, none while it is paused.
    #[must_use]
    pub fn upcoming(&self, count: usize) -> Vec<SystemTime> {
        self.ticks().take(count).map(SystemTime::from).collect()
    }

    /// The same on the clock of its zone: `2026-11-23T03:00:00+01:00[Europe/Paris]` (RFC 9557).
    #[must_use]
    pub fn preview(&self, count: usize) -> Vec<String> {
        let zone = self.entry.definition.timing.zone();
        self.ticks().take(count).map(|tick| zone.show(tick.into())).collect()
    }

    fn ticks(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let left = self.max_runs.map_or(u64::MAX, |most| most.saturating_sub(self.runs));
        let ticks = std::iter::successors(self.entry.due(), |tick| self.entry.definition.after(*tick));
        ticks.take(usize::try_from(left).unwrap_or(usize::MAX))
    }
}
