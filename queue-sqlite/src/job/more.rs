//! What few jobs have, in one column: NULL for all others, who so pay nothing for it.
//!
//! The column is the version of this encoding, a byte, and then what the job has, each in the order of its kind: the kind,
//! a byte; the length of what follows, seven bits a byte, lowest first, all but the last with the high bit set; and so
//! many bytes. Numbers are 8 bytes, big-endian, times and lengths of time in microseconds. A time asked for is a byte,
//! 0 at once, 1 a delay, 2 a moment, and its number.

use std::time::Duration;

use queue_storage::model::{Failure, FailureKind, Job, JobId, Node, Progress, Tag, Timestamp, Trigger, When};

use crate::error::{Error, Result};
use crate::job::cells::{duration, id_bytes, job_id, length, tags};
use crate::job::keys::Keys;
use crate::job::node;

const VERSION: u8 = 1;

/// The kinds.
mod kind {
    pub(super) const WHEN: u8 = 1;
    pub(super) const TAGS: u8 = 2;
    pub(super) const KEYS: u8 = 3;
    pub(super) const EXPIRES: u8 = 4;
    pub(super) const EXPIRES_AT: u8 = 5;
    pub(super) const DEADLINE: u8 = 6;
    pub(super) const DEADLINE_AT: u8 = 7;
    pub(super) const PARKED_AT: u8 = 8;
    pub(super) const FIRST_STARTED_AT: u8 = 9;
    pub(super) const CRASHES: u8 = 10;
    pub(super) const LAPSES: u8 = 11;
    pub(super) const RUNS: u8 = 12;
    pub(super) const CANCEL_KEEP: u8 = 13;
    pub(super) const PROGRESS: u8 = 14;
    pub(super) const CULPRIT: u8 = 15;
    pub(super) const FAILURE: u8 = 16;
    pub(super) const FAILURE_MESSAGE: u8 = 17;
    pub(super) const FAILURE_TYPE: u8 = 18;
    pub(super) const FAILURE_VERSION: u8 = 19;
    pub(super) const TRIGGER: u8 = 20;
    pub(super) const NODE: u8 = 21;
}

/// What few jobs have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct More {
    pub(crate) when: When,
    pub(crate) tags: Vec<Tag>,
    pub(crate) keys: Keys,
    /// Both as they were asked for, and the moments they came to.
    pub(crate) expires: Option<When>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) deadline: Option<When>,
    pub(crate) deadline_at: Option<Timestamp>,
    pub(crate) parked_at: Option<Timestamp>,
    /// `None` while that is the start of its latest run.
    pub(crate) first_started_at: Option<Timestamp>,
    pub(crate) crashes: u32,
    pub(crate) lapses: u32,
    /// The number of its latest row in `queue_runs`.
    pub(crate) runs: u32,
    /// Of a running job that was asked to stop: how long it is kept then.
    pub(crate) cancel_keep: Option<Duration>,
    pub(crate) progress: Option<Progress>,
    pub(crate) culprit: Option<JobId>,
    pub(crate) failure: Option<Failure>,
    pub(crate) trigger: Trigger,
    pub(crate) node: Node,
}

impl More {
    /// What this job has, and what only its row knows of it.
    pub(crate) fn of(job: &Job, runs: u32, cancel_keep: Option<Duration>) -> Self {
        Self {
            when: job.when,
            tags: job.tags.clone(),
            keys: Keys { unique: job.unique.clone(), limits: job.limits.clone() },
            expires: job.expires,
            expires_at: job.expires_at,
            deadline: job.deadline,
            deadline_at: job.deadline_at,
            parked_at: job.parked_at,
            first_started_at: job.first_started_at.filter(|_| job.first_started_at != job.started_at),
            crashes: job.crashes,
            lapses: job.lapses,
            runs,
            cancel_keep,
            progress: job.progress.clone(),
            culprit: job.culprit,
            failure: job.failure.clone(),
            trigger: job.trigger,
            node: job.node.clone(),
        }
    }

    /// Gives the job what it has.
    pub(crate) fn give(self, job: &mut Job) {
        (job.when, job.tags) = (self.when, self.tags);
        Keys { unique: job.unique, limits: job.limits } = self.keys;
        (job.expires, job.expires_at) = (self.expires, self.expires_at);
        (job.deadline, job.deadline_at) = (self.deadline, self.deadline_at);
        job.parked_at = self.parked_at;
        job.first_started_at = self.first_started_at.or(job.started_at);
        (job.crashes, job.lapses) = (self.crashes, self.lapses);
        (job.progress, job.culprit, job.failure) = (self.progress, self.culprit, self.failure);
        (job.trigger, job.node) = (self.trigger, self.node);
    }

    /// Whether the job was given a time limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.expires.is_some() || self.deadline.is_some()
    }

    /// The column of the job of this id; `None` for one that has nothing of it.
    pub(crate) fn encode(&self, id: JobId) -> Result<Option<Vec<u8>>> {
        let cant = |what: &str, error| Error::corrupt(format!("the {what} of job {id} can't be written: {error}"));
        let mut out = Fields::default();
        out.when(kind::WHEN, Some(self.when).filter(|when| *when != When::Now));
        if !self.tags.is_empty() {
            let all: Vec<&str> = self.tags.iter().map(AsRef::as_ref).collect();
            out.bytes(kind::TAGS, all.join(" ").as_bytes());
        }
        if !self.keys.is_empty() {
            out.bytes(kind::KEYS, &self.keys.encode().map_err(|error| cant("keys", error))?);
        }
        out.when(kind::EXPIRES, self.expires);
        out.moment(kind::EXPIRES_AT, self.expires_at);
        out.when(kind::DEADLINE, self.deadline);
        out.moment(kind::DEADLINE_AT, self.deadline_at);
        out.moment(kind::PARKED_AT, self.parked_at);
        out.moment(kind::FIRST_STARTED_AT, self.first_started_at);
        out.count(kind::CRASHES, self.crashes);
        out.count(kind::LAPSES, self.lapses);
        out.count(kind::RUNS, self.runs);
        if let Some(keep) = self.cancel_keep {
            out.number(kind::CANCEL_KEEP, length(keep));
        }
        if let Some(progress) = &self.progress {
            let told = rmp_serde::to_vec_named(progress).map_err(|error| cant("progress", error))?;
            out.bytes(kind::PROGRESS, &told);
        }
        if let Some(culprit) = self.culprit {
            out.bytes(kind::CULPRIT, &id_bytes(culprit));
        }
        if let Some(failure) = &self.failure {
            out.bytes(kind::FAILURE, failure.kind.as_str().as_bytes());
            out.bytes(kind::FAILURE_MESSAGE, failure.message.as_bytes());
            out.text(kind::FAILURE_TYPE, failure.error_type.as_deref());
            out.text(kind::FAILURE_VERSION, failure.version.as_deref());
        }
        if self.trigger != Trigger::default() {
            out.bytes(kind::TRIGGER, &node::trigger_bytes(id, self.trigger)?);
        }
        if !self.node.is_task() {
            out.bytes(kind::NODE, &node::bytes(id, &self.node)?);
        }
        Ok(Some(out.0).filter(|column| !column.is_empty()))
    }

    /// What the column of the job of this id says.
    pub(crate) fn read(id: JobId, column: Option<&[u8]>) -> Result<Self> {
        column.map_or(Ok(Self::default()), |column| {
            let read = Self::decode(column);
            read.map_err(|why| Error::corrupt(format!("job {id}: its column `more` can't be read: {why}")))
        })
    }

    fn decode(column: &[u8]) -> Result<Self, String> {
        let Some((&VERSION, mut rest)) = column.split_first() else {
            return Err(format!("its first byte is not {VERSION}, the only version there is"));
        };
        let (mut more, mut last) = (Self::default(), 0);
        while !rest.is_empty() {
            let (kind, value) = field(&mut rest).ok_or("it is cut short")?;
            if kind <= last {
                return Err(format!("kind {kind} comes after kind {last}"));
            }
            more.set(kind, value).ok_or_else(|| format!("kind {kind} has no such value"))?;
            last = kind;
        }
        Ok(more)
    }

    /// Takes one field in; `None` for a kind that there is not, or a value that it can't have.
    fn set(&mut self, kind: u8, value: &[u8]) -> Option<()> {
        let text = || std::str::from_utf8(value).ok();
        match kind {
            kind::WHEN => self.when = asked(value)?,
            kind::TAGS => self.tags = tags(text()?).ok()?,
            kind::KEYS => self.keys = Keys::decode(value).ok()?,
            kind::EXPIRES => self.expires = Some(asked(value)?),
            kind::EXPIRES_AT => self.expires_at = Some(moment(value)?),
            kind::DEADLINE => self.deadline = Some(asked(value)?),
            kind::DEADLINE_AT => self.deadline_at = Some(moment(value)?),
            kind::PARKED_AT => self.parked_at = Some(moment(value)?),
            kind::FIRST_STARTED_AT => self.first_started_at = Some(moment(value)?),
            kind::CRASHES => self.crashes = count(value)?,
            kind::LAPSES => self.lapses = count(value)?,
            kind::RUNS => self.runs = count(value)?,
            kind::CANCEL_KEEP => self.cancel_keep = Some(duration(number(value)?)),
            kind::PROGRESS => self.progress = Some(rmp_serde::from_slice(value).ok()?),
            kind::CULPRIT => self.culprit = Some(job_id(value).ok()?),
            kind::FAILURE => self.failure = Some(Failure::new(FailureKind::from(text()?), "")),
            kind::FAILURE_MESSAGE => text()?.clone_into(&mut self.failure.as_mut()?.message),
            kind::FAILURE_TYPE => self.failure.as_mut()?.error_type = Some(text()?.to_owned()),
            kind::FAILURE_VERSION => self.failure.as_mut()?.version = Some(text()?.to_owned()),
            kind::TRIGGER => self.trigger = node::trigger(value)?,
            kind::NODE => self.node = node::node(value)?,
            _ => return None,
        }
        Some(())
    }
}

/// A column under way: empty until there is something to write.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn bytes(&mut self, kind: u8, value: &[u8]) {
        if self.0.is_empty() {
            self.0.push(VERSION);
        }
        self.0.push(kind);
        let mut length = value.len();
        while length > 0x7f {
            self.0.push(length.to_le_bytes()[0] | 0x80);
            length >>= 7;
        }
        self.0.push(length.to_le_bytes()[0]);
        self.0.extend_from_slice(value);
    }

    fn number(&mut self, kind: u8, value: i64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    fn count(&mut self, kind: u8, value: u32) {
        if value > 0 {
            self.number(kind, value.into());
        }
    }

    fn moment(&mut self, kind: u8, value: Option<Timestamp>) {
        if let Some(moment) = value {
            self.number(kind, moment.as_micros());
        }
    }

    fn text(&mut self, kind: u8, value: Option<&str>) {
        if let Some(text) = value {
            self.bytes(kind, text.as_bytes());
        }
    }

    fn when(&mut self, kind: u8, value: Option<When>) {
        let Some(when) = value else { return };
        let (how, micros) = match when {
            When::Now => (0, 0),
            When::In(delay) => (1, length(delay)),
            When::At(at) => (2, at.as_micros()),
        };
        let mut value = [how; 9];
        value[1..].copy_from_slice(&micros.to_be_bytes());
        self.bytes(kind, &value);
    }
}

/// Takes a field from the front.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&kind, mut behind) = rest.split_first()?;
    let (mut length, mut shift) = (0_usize, 0_u32);
    loop {
        let (&byte, tail) = behind.split_first()?;
        behind = tail;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    let (value, tail) = behind.split_at_checked(length)?;
    *rest = tail;
    Some((kind, value))
}

fn number(value: &[u8]) -> Option<i64> {
    value.try_into().ok().map(i64::from_be_bytes)
}

fn count(value: &[u8]) -> Option<u32> {
    number(value)?.try_into().ok()
}

fn moment(value: &[u8]) -> Option<Timestamp> {
    number(value).map(Timestamp::from_micros)
}

/// A time asked for.
fn asked(value: &[u8]) -> Option<When> {
    let (how, micros) = value.split_first()?;
    match (how, number(micros)?) {
        (0, _) => Some(When::Now),
        (1, delay) => Some(When::In(duration(delay))),
        (2, at) => Some(When::At(Timestamp::from_micros(at))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use queue_storage::model::{Conflict, Limit, NewJob, Rate, Shard, Unique, WhenFull, Window};

    use super::*;

    fn id() -> JobId {
        JobId::new(&Shard::of("mail".parse().unwrap()))
    }

    /// One that has everything.
    fn full() -> More {
        let at = |micros| Some(Timestamp::from_micros(micros));
        let mut failure = Failure::new(FailureKind::Panic, "wörse".repeat(500));
        (failure.error_type, failure.version) = (Some("shop::Gone".into()), Some(String::new()));
        let window = Window::For(Duration::from_secs(9));
        More {
            when: When::In(Duration::from_micros(1)),
            tags: ["a", "b:c"].map(|tag| tag.parse().unwrap()).into(),
            keys: Keys {
                unique: Some(Unique::new("k".parse().unwrap(), window, Conflict::Debounce)),
                limits: vec![
                    Limit::Slots { key: "k".parse().unwrap(), most: u32::MAX, full: WhenFull::Cancel },
                    Limit::Rate { key: "r".parse().unwrap(), rate: Rate::per(Duration::from_secs(1), 3), cost: 1 },
                ],
            },
            expires: Some(When::Now),
            expires_at: at(i64::MIN),
            deadline: Some(When::At(Timestamp::from_micros(-1))),
            deadline_at: at(i64::MAX),
            parked_at: at(0),
            first_started_at: at(1_700_000_000_000_000),
            crashes: 1,
            lapses: u32::MAX,
            runs: 300,
            cancel_keep: Some(Duration::ZERO),
            progress: Some(Progress::new(1, 2, "half")),
            culprit: Some(id()),
            failure: Some(failure),
            trigger: Trigger::Ended,
            node: Node::Relay { shard: Shard { queue: "a:b/c".parse().unwrap(), index: 7 }, to: JobId::from_u128(5) },
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        assert_eq!(More::default().encode(id()).unwrap(), None);
        assert_eq!(More::read(id(), None).unwrap(), More::default());
        let column = full().encode(id()).unwrap().unwrap();
        assert_eq!(More::read(id(), Some(&column)).unwrap(), full_with(&column));
        let one = More { runs: 1, ..More::default() };
        assert_eq!(one.encode(id()).unwrap().unwrap(), [VERSION, kind::RUNS, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    /// The same with the culprit that was written, whose id is made anew each time.
    fn full_with(column: &[u8]) -> More {
        More { culprit: More::decode(column).unwrap().culprit, ..full() }
    }

    #[test]
    fn what_a_job_has_comes_back_to_it() {
        let mut job = NewJob::new(id(), "t".parse().unwrap(), Bytes::new());
        job.waits_for = vec![id()];
        let fresh = Job::admitted(job, Shard::of("mail".parse().unwrap()), Timestamp::EPOCH);
        let (mut job, mut more) = (fresh.clone(), full());
        more.clone().give(&mut job);
        (more.runs, more.cancel_keep) = (0, None);
        assert_eq!(More::of(&job, 0, None), more);
        More::default().give(&mut job);
        assert_eq!(job, fresh);
    }

    #[test]
    fn damage_is_named_with_the_job() {
        let id = id();
        let column = full().encode(id).unwrap().unwrap();
        let refused = |column: &[u8]| match More::read(id, Some(column)) {
            Err(Error::Refused(error)) => {
                assert!(error.is_corrupt() && error.to_string().contains(&id.to_string()), "{error}");
                error.to_string()
            }
            other => panic!("{column:?} is read as {other:?}"),
        };
        assert!(refused(&[]).contains("first byte") && refused(&[2]).contains("the only version"));
        assert!(refused(&[VERSION, kind::RUNS]).contains("cut short"));
        assert!(refused(&[VERSION, kind::RUNS, 0xff, 0xff]).contains("cut short"));
        assert!(refused(&[VERSION, 99, 0]).contains("kind 99"));
        assert!(refused(&[VERSION, kind::RUNS, 1, 1]).contains("kind 12"));
        assert!(refused(&[VERSION, kind::FAILURE_TYPE, 1, b'x']).contains("kind 18"));
        let twice = [column.as_slice(), &column[1..]].concat();
        assert!(refused(&twice).contains("kind 1 comes after kind 21"));
        // Wherever it is cut, a field is missing or cut: none is made up, and nothing panics.
        for cut in 0..column.len() {
            if let Ok(read) = More::read(id, Some(&column[..cut])) {
                assert_ne!(read, full_with(&column));
            }
        }
        for at in 0..column.len() {
            let mut damaged = column.clone();
            damaged[at] ^= 0x80;
            let _ = More::read(id, Some(&damaged));
        }
    }
}
