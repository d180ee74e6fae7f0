//! What is stored of a job, to and from bytes: records, marks, failures.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use queue_storage::model::{
    EndReason, Ending, Fence, Job, JobId, Key, Lease, NewJob, Parked, Shard, State, Tag, TaskName, Timestamp, When,
    WorkerId,
};
use queue_storage::storage::StorageError;

use crate::{limits, notes, ties};

const AT_MOST_ONCE: u8 = 1;
const NEEDS: u8 = 2;
const PRIORITY: u8 = 4;
const WHEN: u8 = 8;
const TIES: u8 = 16;
const LIMITS: u8 = 32;
const TAGS: u8 = 64;
const KEYS: u8 = 128;

/// The letters of [`State::ALL`].
const LETTERS: [u8; 9] = *b"wsrltcxed";

/// What a mark says beside its fields.
pub(crate) const FAILED: u8 = 8;
const DELIVERED: u8 = 1;
const SUSPECT: u8 = 2;
const ASIDE: u8 = 32;
const ASKED: u8 = 64;
pub(crate) const NOTED: u8 = 128;
/// The byte of a mark that repeats the flags of the record.
const RECORD_FLAGS: usize = 18;

/// A time in a mark that is not set.
const NONE: u64 = u64::MAX;
/// The length of a mark without its word.
const MARK: usize = 75;

/// The letter of a state.
pub(crate) fn letter(state: State) -> u8 {
    State::ALL.iter().position(|&one| one == state).map_or(b'?', |at| LETTERS[at])
}

/// The state of a letter.
pub(crate) fn state(letter: u8) -> Option<State> {
    LETTERS.iter().position(|&one| one == letter).map(|at| State::ALL[at])
}

/// A time as kind and value.
pub(crate) fn put_when(out: &mut Vec<u8>, when: When) {
    let (kind, value) = match when {
        When::Now => (b'n', 0),
        When::In(delay) => (b'i', micros(delay)),
        When::At(at) => (b'a', at.as_micros().unsigned_abs()),
    };
    out.put_u8(kind);
    out.put_u64(value);
}

/// A time that may be none: its kind is a NUL then.
pub(crate) fn put_limit(out: &mut Vec<u8>, limit: Option<When>) {
    match limit {
        Some(when) => put_when(out, when),
        None => out.put_slice(&[0; 9]),
    }
}

/// Whether a mark says that its job has a note of limits.
pub(crate) fn is_limited(mark: &[u8]) -> bool {
    mark.get(RECORD_FLAGS).is_some_and(|flags| flags & LIMITS != 0)
}

/// Whether a mark says that its job waits, or waited, for others, or has a place of its own in a flow.
pub(crate) fn is_tied(mark: &[u8]) -> bool {
    mark.get(RECORD_FLAGS).is_some_and(|flags| flags & TIES != 0)
}

/// A duration in whole microseconds, no longer than time lasts: scripts count in doubles.
pub(crate) fn micros(duration: Duration) -> u64 {
    let longest = Timestamp::MAX.as_micros().unsigned_abs();
    u64::try_from(duration.as_micros()).map_or(longest, |micros| micros.min(longest))
}

/// The part of a record that the caller makes.
pub(crate) fn part(job: &NewJob) -> Bytes {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let mut out = Vec::with_capacity(job.envelope.len() + job.task.as_str().len() + 32);
    out.put_u8(
        flag(job.at_most_once, AT_MOST_ONCE)
            | flag(job.needs != 1, NEEDS)
            | flag(job.priority != 0, PRIORITY)
            | flag(job.when != When::Now, WHEN)
            | flag(ties::are_there(job), TIES)
            | flag(is_to_expire(job), LIMITS)
            | flag(!job.tags.is_empty(), TAGS)
            | flag(has_keys(job), KEYS),
    );
    let task = job.task.as_str().as_bytes();
    out.put_u8(u8::try_from(task.len()).unwrap_or(u8::MAX));
    out.put_slice(task);
    if job.needs != 1 {
        out.put_u16(job.needs);
    }
    if job.priority != 0 {
        out.put_i32(job.priority);
    }
    if job.when != When::Now {
        put_when(&mut out, job.when);
    }
    if ties::are_there(job) {
        ties::put(&mut out, job);
    }
    if is_to_expire(job) {
        put_limit(&mut out, job.expires);
        put_limit(&mut out, job.deadline);
    }
    if !job.tags.is_empty() {
        out.put_u8(u8::try_from(job.tags.len()).unwrap_or(u8::MAX));
        job.tags.iter().for_each(|tag| put_short(&mut out, tag.as_str()));
    }
    if has_keys(job) {
        limits::put(&mut out, job.unique.as_ref(), &job.limits);
    }
    out.put_slice(&job.envelope);
    out.into()
}

fn is_to_expire(job: &NewJob) -> bool {
    job.expires.is_some() || job.deadline.is_some()
}

fn has_keys(job: &NewJob) -> bool {
    job.unique.is_some() || !job.limits.is_empty()
}

/// A text of at most 255 bytes behind its length.
pub(crate) fn put_short(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(255)];
    out.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.put_slice(text);
}

/// What is known of a job beside its record and mark.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pub(crate) lease_until: Option<Timestamp>,
    /// Whether its delivery counts as known; where nothing is told, the mark says it.
    pub(crate) delivered: Option<bool>,
    pub(crate) failure: Option<Bytes>,
    pub(crate) result: Option<Bytes>,
    pub(crate) history: Option<Bytes>,
    pub(crate) progress: Option<Bytes>,
    pub(crate) limits: Option<Bytes>,
    /// When everything is paid for that has started under the rate for which it is parked.
    pub(crate) paid_at: Option<Timestamp>,
}

/// A stored job.
pub(crate) fn job(shard: &Shard, id: JobId, record: Bytes, mark: &[u8], rest: Rest) -> Result<Job, StorageError> {
    let damaged = |what: &str| StorageError::corrupt(format!("job {id} of {shard} is damaged: {what}"));
    let (admission, mut job) = admitted(shard, id, record).ok_or_else(|| damaged("its record ends too soon"))?;
    if mark.is_empty() {
        job.sequence = (job.state == State::Ready).then_some(admission);
    } else {
        apply(&mut job, mark, rest.lease_until, rest.delivered).ok_or_else(|| damaged("its mark can't be read"))?;
        if is_limited(mark) {
            let limits = rest.limits.as_deref().and_then(read_limits);
            (job.expires_at, job.deadline_at) = limits.ok_or_else(|| damaged("its limits"))?;
        }
    }
    job.failure = rest.failure.map(|bytes| notes::failure(&bytes).ok_or_else(|| damaged("its failure"))).transpose()?;
    job.result = rest.result;
    job.opens_at = limits::opens_at(&job, rest.paid_at.unwrap_or_default());
    job.progress =
        rest.progress.map(|bytes| notes::progress(bytes).ok_or_else(|| damaged("its progress"))).transpose()?;
    job.first_started_at = job.started_at;
    if let Some(bytes) = rest.history {
        let (first, history) = notes::history(bytes).ok_or_else(|| damaged("its history"))?;
        (job.first_started_at, job.history) = (first.or(job.first_started_at), history);
    }
    Ok(job)
}

fn read_limits(mut bytes: &[u8]) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
    Some((time(bytes.try_get_u64().ok()?), time(bytes.try_get_u64().ok()?)))
}

/// The job of a record as it was taken in, and its number.
fn admitted(shard: &Shard, id: JobId, mut record: Bytes) -> Option<(u64, Job)> {
    let admission = record.try_get_uint(6).ok()?;
    let enqueued_at = taken_in(id, &mut record)?;
    let flags = record.try_get_u8().ok()?;
    let length = usize::from(record.try_get_u8().ok()?);
    let task = TaskName::new(std::str::from_utf8(&take(&mut record, length)?).ok()?).ok()?;
    let needs = if flags & NEEDS == 0 { 1 } else { record.try_get_u16().ok()? };
    let priority = if flags & PRIORITY == 0 { 0 } else { record.try_get_i32().ok()? };
    let when = if flags & WHEN == 0 { When::Now } else { when(&mut record)? };
    let ties = if flags & TIES == 0 { ties::Ties::default() } else { ties::take(&mut record)? };
    let mut limit = || if flags & LIMITS == 0 { Some(None) } else { take_limit(&mut record) };
    let (expires, deadline) = (limit()?, limit()?);
    let tags = if flags & TAGS == 0 { 0 } else { record.try_get_u8().ok()? };
    let tags = (0..tags).map(|_| Tag::new(take_short(&mut record)?).ok()).collect::<Option<_>>()?;
    let (unique, limits) = if flags & KEYS == 0 { (None, Vec::new()) } else { limits::take(&mut record)? };
    let mut new = NewJob::new(id, task, record);
    (new.unique, new.limits) = (unique, limits);
    (new.priority, new.when, new.needs) = (priority, when, needs);
    (new.waits_for, new.trigger, new.node) = (ties.waits_for, ties.trigger, ties.node);
    (new.expires, new.deadline, new.tags) = (expires, deadline, tags);
    new.at_most_once = flags & AT_MOST_ONCE != 0;
    Some((admission, Job::admitted(new, shard.clone(), enqueued_at)))
}

/// Takes the time off the end of a record: so many microseconds after its id was made, or a time of its own.
fn taken_in(id: JobId, record: &mut Bytes) -> Option<Timestamp> {
    let delay = record.split_off(record.len().checked_sub(4)?).get_u32();
    if delay != u32::MAX {
        return Some(id.made_at() + Duration::from_micros(delay.into()));
    }
    let micros = record.split_off(record.len().checked_sub(8)?).get_i64();
    Some(Timestamp::from_micros(micros))
}

pub(crate) fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

/// A text behind its length of one byte.
pub(crate) fn take_short(bytes: &mut Bytes) -> Option<String> {
    let length = usize::from(bytes.try_get_u8().ok()?);
    String::from_utf8(take(bytes, length)?.to_vec()).ok()
}

/// A time that may be none.
#[expect(clippy::option_option, reason = "one says whether it can be read, the other whether there is one")]
fn take_limit(bytes: &mut Bytes) -> Option<Option<When>> {
    if bytes.first() == Some(&0) {
        return take(bytes, 9).map(|_| None);
    }
    when(bytes).map(Some)
}

fn when(bytes: &mut Bytes) -> Option<When> {
    let (kind, value) = (bytes.try_get_u8().ok()?, bytes.try_get_u64().ok()?);
    match kind {
        b'n' => Some(When::Now),
        b'i' => Some(When::In(Duration::from_micros(value))),
        b'a' => Some(When::At(Timestamp::from_micros(i64::try_from(value).ok()?))),
        _ => None,
    }
}

/// Changes a job by its mark.
fn apply(job: &mut Job, mark: &[u8], until: Option<Timestamp>, delivered: Option<bool>) -> Option<()> {
    let (mut fields, word) = mark.split_at_checked(MARK)?;
    let state = state(fields.get_u8())?;
    let flags = fields.get_u8();
    fields.advance(6);
    let sequence = fields.get_uint(6);
    fields.advance(5);
    job.attempts = fields.get_u32();
    job.crashes = u32::from(fields.get_u16());
    job.lapses = u32::from(fields.get_u16());
    job.due_at = time(fields.get_u64());
    job.started_at = time(fields.get_u64());
    let (first, who, keep_until) = (fields.get_u64(), fields.get_u128(), fields.get_u64());
    let word = std::str::from_utf8(word).ok()?;
    job.sequence = (sequence > 0).then_some(sequence);
    job.suspect = flags & SUSPECT != 0;
    job.state = state;
    if flags & ASIDE != 0 {
        let (word, key) = word.split_once('\0').unwrap_or((word, ""));
        (job.parked, job.parked_at) = (Some(Parked::from(word)), time(first));
        job.parked_for = if key.is_empty() { None } else { Some(Key::new(key).ok()?) };
    }
    if state == State::Running {
        let delivered = delivered.unwrap_or(flags & DELIVERED != 0);
        let worker = WorkerId::from_u128(who);
        job.lease = Some(Lease { worker, fence: Fence(first), until: until?, delivered });
        (job.worker, job.cancel_requested) = (Some(worker), flags & ASKED != 0);
    } else if state.is_end() {
        (job.ended_at, job.keep_until) = (time(first), time(keep_until));
        job.reason = (state != State::Completed).then(|| EndReason::from(word));
        if job.reason == Some(EndReason::Dependency) {
            job.culprit = Some(JobId::from_u128(who));
        } else {
            job.worker = (who > 0).then(|| WorkerId::from_u128(who));
        }
    }
    Some(())
}

/// How a job ended that did not complete, by its mark.
pub(crate) fn ending(id: JobId, task: TaskName, mark: &[u8], failure: Option<&Bytes>) -> Option<Ending> {
    let (fields, word) = mark.split_at_checked(MARK)?;
    let mut ending = Ending::new(id, task, state(fields[0])?);
    let (mut who, mut keep) = (&fields[51..67], &fields[67..]);
    let reason = EndReason::from(std::str::from_utf8(word).ok()?);
    ending.culprit = (reason == EndReason::Dependency).then(|| JobId::from_u128(who.get_u128()));
    ending.reason = Some(reason);
    ending.keep_until = time(keep.get_u64());
    ending.failure = failure.map(|bytes| notes::failure(bytes)).map_or(Some(None), |read| read.map(Some))?;
    Some(ending)
}

pub(crate) fn time(micros: u64) -> Option<Timestamp> {
    (micros != NONE).then(|| Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use queue_storage::model::{Conflict, Limit, Node, Rate, Trigger, Unique, WhenFull, Window};

    use super::*;

    fn shard() -> Shard {
        Shard::of("mail".parse().unwrap())
    }

    /// A record as the script makes it, of the ninth admission.
    fn record(job: &NewJob, taken_in: &[u8]) -> Bytes {
        let n = [0, 0, 0, 0, 0, 9];
        [&n, &part(job)[..], taken_in].concat().into()
    }

    /// One microsecond after the id was made.
    const SOON: [u8; 4] = [0, 0, 0, 1];

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let id = JobId::new(&shard());
        let plain = NewJob::new(id, "t".parse().unwrap(), Bytes::from_static(b"envelope"));
        let mut full = plain.clone();
        (full.priority, full.needs, full.at_most_once) = (i32::MIN, 7, true);
        full.when = When::In(Duration::from_micros(5));
        full.waits_for = vec![JobId::from_u128(1), JobId::from_u128(2)];
        (full.expires, full.deadline) = (None, Some(When::At(Timestamp::from_micros(7))));
        full.tags = vec!["vip".parse().unwrap(), "tenant/7".parse().unwrap()];
        let key: Key = "user:7".parse().unwrap();
        let window = Window::For(Duration::from_secs(3));
        full.unique = Some(Unique::new(key.clone(), window, Conflict::Debounce));
        let rate = Rate::per(Duration::from_secs(1), 7).burst(3);
        full.limits = vec![
            Limit::Slots { key: key.clone(), most: 2, full: WhenFull::Cancel },
            Limit::Rate { key, rate, cost: 2 },
        ];
        let keep = Duration::from_secs(9);
        let mut tied = full.clone();
        (tied.trigger, tied.node) = (Trigger::Ended, Node::Gather { keep });
        let before_its_id = [100_u64.to_be_bytes().as_slice(), &[255; 4]].concat();
        let soon = id.made_at() + Duration::from_micros(1);
        for (end, at) in [(SOON.to_vec(), soon), (before_its_id, Timestamp::from_micros(100))] {
            for new in [plain.clone(), full.clone(), tied.clone()] {
                let read = job(&shard(), id, record(&new, &end), b"", Rest::default()).unwrap();
                let mut expected = Job::admitted(new, shard(), at);
                expected.sequence = (expected.state == State::Ready).then_some(9);
                assert_eq!(read, expected);
            }
        }
    }

    #[test]
    fn an_end_is_told_by_its_mark() {
        let (id, culprit) = (JobId::new(&shard()), JobId::new(&shard()));
        let task: TaskName = "t".parse().unwrap();
        let mark = |head: u8, word: &str| {
            let mut mark = [0; MARK];
            mark[0] = head;
            mark[51..67].copy_from_slice(&culprit.as_u128().to_be_bytes());
            mark[67..].copy_from_slice(&7_u64.to_be_bytes());
            [&mark[..], word.as_bytes()].concat()
        };
        let failed = queue_storage::model::Failure::new(queue_storage::model::FailureKind::Panic, "boom");
        let note = Bytes::from(notes::failure_bytes(&failed));
        let mut expected = Ending::new(id, task.clone(), State::Cancelled);
        (expected.reason, expected.culprit) = (Some(EndReason::Dependency), Some(culprit));
        expected.keep_until = Some(Timestamp::from_micros(7));
        assert_eq!(ending(id, task.clone(), &mark(b'x', "dependency"), None), Some(expected.clone()));
        (expected.state, expected.reason, expected.culprit) = (State::Dead, Some(EndReason::Fatal), None);
        expected.failure = Some(failed);
        assert_eq!(ending(id, task.clone(), &mark(b'd', "fatal"), Some(&note)), Some(expected));
        assert_eq!(ending(id, task.clone(), &mark(b'd', "fatal")[..MARK - 1], None), None);
        assert_eq!(ending(id, task, &mark(b'd', "fatal"), Some(&note.slice(..3))), None);
    }

    #[test]
    fn damage_is_named_and_not_guessed_at() {
        let id = JobId::new(&shard());
        let whole = record(&NewJob::new(id, "task".parse().unwrap(), Bytes::new()), &SOON);
        for length in 0..whole.len() {
            let error = job(&shard(), id, whole.slice(..length), b"", Rest::default()).unwrap_err();
            assert!(error.is_corrupt() && error.to_string().contains(&id.to_string()), "{error}");
        }
        assert!(job(&shard(), id, whole.clone(), b"r", Rest::default()).unwrap_err().is_corrupt());
        let failure = Some(Bytes::from_static(b"\x09"));
        assert!(job(&shard(), id, whole, b"", Rest { failure, ..Rest::default() }).unwrap_err().is_corrupt());
    }

    #[test]
    fn every_state_has_a_letter() {
        for one in State::ALL {
            assert_eq!(state(letter(one)), Some(one));
        }
    }

    /// A shard as layout 1 wrote it: `key type field value`, bytes as hex.
    const FROZEN: &str = include_str!("../../tests/fixtures/redis-shard-v1.txt");

    fn frozen(key: &str) -> HashMap<Vec<u8>, Bytes> {
        let bytes =
            |hex: &str| (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..][..2], 16).unwrap()).collect();
        let start = format!("{{default}}:{key} hash ");
        let pairs = FROZEN.lines().filter_map(|line| line.strip_prefix(&start)?.split_once(' '));
        pairs.map(|(field, value)| (bytes(field), Bytes::from(bytes(value)))).collect()
    }

    #[test]
    fn records_of_layout_1_are_read_and_made_as_ever() {
        let (records, marks, notes) = (frozen("jobs"), frozen("marks"), frozen("notes"));
        assert_eq!((records.len(), marks.len(), notes.len()), (33, 31, 15));
        for (id, record) in records {
            let mark = marks.get(&id).cloned().unwrap_or_default();
            let note = |kind: &[u8]| notes.get(&[kind, &id].concat()).cloned();
            let (history, progress, limits) = (note(b"h"), note(b"p"), note(b"l"));
            let rest = Rest { lease_until: Some(Timestamp::EPOCH), history, progress, limits, ..Rest::default() };
            let id = JobId::from_u128(u128::from_be_bytes(id.try_into().unwrap()));
            let read = job(&shard(), id, record.clone(), &mark, rest).unwrap();
            let mut new = NewJob::new(id, read.task, read.envelope);
            (new.priority, new.when, new.waits_for) = (read.priority, read.when, read.waits_for);
            (new.trigger, new.node) = (read.trigger, read.node);
            (new.needs, new.at_most_once) = (read.needs, read.at_most_once);
            (new.expires, new.deadline, new.tags) = (read.expires, read.deadline, read.tags);
            (new.unique, new.limits) = (read.unique, read.limits);
            let made = part(&new);
            let end = record.len() - 6 - made.len();
            assert!(record[6..].starts_with(&made) && [4, 12].contains(&end), "{record:x}");
        }
        let failures: Vec<_> = notes.iter().filter(|(name, _)| name[0] == b'f').map(|(_, bytes)| bytes).collect();
        assert_eq!(failures.len(), 5);
        for bytes in failures {
            let read = notes::failure(bytes).unwrap();
            assert!(bytes[0] == 0 || notes::failure_bytes(&read) == *bytes, "{read}");
        }
    }
}
