//! A schedule as it is stored: what it is, and how far it has got.

use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{JobId, Timestamp};
use serde::{Deserialize, Serialize};

use super::schedule::Definition;
use crate::codec;
use crate::policies::Overlap;

/// The version of the encoding this program writes: the first byte, before a MessagePack map.
const VERSION: u8 = 1;

/// What is stored of a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) definition: Definition,
    pub(crate) source: Source,
    /// The next tick; what the storage is told to be due is when somebody is to look. `None` when it is over.
    pub(crate) next: Option<Timestamp>,
    /// The last tick that was carried out, and its job; the job enqueued last, by a tick or between ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tick_job: Option<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_job: Option<JobId>,
    /// How often its ticks came anew since the clock had been wrong by hours: the same tick is another job then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) era: u32,
    /// Ticks that were carried out, that nobody carried out in time, and that met a job that had not ended.
    #[serde(default)]
    pub(crate) runs: u64,
    #[serde(default)]
    pub(crate) missed: u64,
    #[serde(default)]
    pub(crate) skipped: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paused_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) changed_at: Timestamp,
}

/// Where its definition comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// From code, with this revision.
    Code(u32),
    /// From run time, where code with this revision stood before; `None` where none did.
    RunTime(Option<u32>),
    /// From code, and removed at run time: it is kept so that code with this revision does not bring it back.
    Removed(u32),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_zero(era: &u32) -> bool {
    *era == 0
}

impl Source {
    /// The revision that code must exceed to take it over.
    pub(crate) fn revision(self) -> Option<u32> {
        match self {
            Self::Code(revision) | Self::Removed(revision) => Some(revision),
            Self::RunTime(revision) => revision,
        }
    }
}

impl Entry {
    /// A schedule that has not ticked yet.
    pub(crate) fn new(definition: Definition, source: Source, now: Timestamp) -> Self {
        let next = definition.after(now);
        Self {
            definition,
            source,
            next,
            last: None,
            tick_job: None,
            last_job: None,
            era: 0,
            runs: 0,
            missed: 0,
            skipped: 0,
            paused_at: None,
            created_at: now,
            changed_at: now,
        }
    }

    /// One that is put after it was removed: nothing of it is left, but which jobs its ticks have made.
    pub(crate) fn put_anew(&self, definition: Definition, now: Timestamp) -> Self {
        let source = Source::RunTime(self.source.revision());
        Self { era: self.era, ..Self::new(definition, source, now) }
    }

    /// The same with another definition. A tick that is to come stays where the times are the same, and one that has come
    /// wherever.
    pub(crate) fn redefined(mut self, definition: Definition, source: Source, now: Timestamp) -> Self {
        let has_come = |due: Timestamp| due <= now || self.definition.is_timed_like(&definition);
        let waits = self.due().is_some_and(has_come) && !self.is_set_back(now);
        (self.definition, self.source, self.changed_at) = (definition, source, now);
        if !waits {
            self.reckon(now);
        }
        self
    }

    /// Sets the next tick: the first from now on that was not carried out, unless the clock was set back by hours since.
    pub(crate) fn reckon(&mut self, now: Timestamp) {
        if self.last.take_if(|last| *last - now > CORRECTION).is_some() {
            self.era += 1;
        }
        self.next = self.definition.after(now.max(self.last.unwrap_or(now)));
    }

    /// Whether its last tick, or its next, is as far ahead as they can only be when the clock was set back by hours.
    pub(crate) fn is_set_back(&self, now: Timestamp) -> bool {
        let mut anew = self.clone();
        anew.reckon(now);
        let sooner = |next: Timestamp| anew.next.is_some_and(|anew| next - anew > CORRECTION);
        anew.last != self.last || self.next.is_some_and(sooner)
    }

    /// The jobs that the next tick must not run beside, as far as they have not ended: that of the last tick, and one that was
    /// enqueued since.
    pub(crate) fn minds(&self) -> Vec<JobId> {
        let mut jobs: Vec<JobId> = self.tick_job.into_iter().chain(self.last_job).collect();
        jobs.dedup();
        jobs.retain(|_| self.definition.overlap != Overlap::Allow);
        jobs
    }

    /// Whether it has carried out as many ticks as it may.
    pub(crate) fn is_spent(&self) -> bool {
        self.definition.max_runs.is_some_and(|most| self.runs >= most)
    }

    /// When somebody is to look at it.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let still = self.paused_at.is_some() || self.is_spent() || matches!(self.source, Source::Removed(_));
        self.next.filter(|_| !still)
    }

    pub(crate) fn encode(&self) -> Result<Bytes, String> {
        let map = codec::encode(self)?;
        Ok([&[VERSION][..], &map].concat().into())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        match bytes {
            [VERSION, map @ ..] => codec::decode(map),
            [version, ..] => {
                Err(format!("it has version {version}, this program reads {VERSION}: it is a newer one's"))
            }
            [] => Err("it is empty".to_owned()),
        }
    }
}

/// How far the clock must have gone back before its new time is believed: three hours, as Debian's cron has it (cron(8):
/// "time changes of more than three hours are considered to be corrections to the clock").
const CORRECTION: Duration = Duration::from_secs(3 * 3_600);
