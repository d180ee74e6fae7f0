//! What is noted beside a job's record and mark, to and from bytes: failures, histories, progress.

use bytes::{Buf, BufMut, Bytes};
use queue_storage::model::{Attempt, AttemptEnd, Failure, FailureKind, Progress, Timestamp, WorkerId};

use crate::record::{put_short, take, take_short, time};

/// The length of a text that is none.
const NONE: u16 = u16::MAX;

/// A failure as bytes: the length of its kind (1), the kind; the length of its type (2; 65,535 for none), the type; likewise
/// the version; the message.
pub(crate) fn failure_bytes(failure: &Failure) -> Vec<u8> {
    let mut out = Vec::with_capacity(failure.message.len() + 64);
    put_short(&mut out, failure.kind.as_str());
    put_text(&mut out, failure.error_type.as_deref());
    put_text(&mut out, failure.version.as_deref());
    out.put_slice(failure.message.as_bytes());
    out
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    let Some(text) = text else { return out.put_u16(NONE) };
    let text = &text.as_bytes()[..text.len().min(usize::from(NONE) - 1)];
    out.put_u16(u16::try_from(text.len()).unwrap_or(0));
    out.put_slice(text);
}

/// A failure from bytes; one that begins with 0 was written by the server: whether the job had been delivered, how often
/// this happened, and the worker that vanished.
pub(crate) fn failure(mut bytes: &[u8]) -> Option<Failure> {
    let length = usize::from(bytes.try_get_u8().ok()?);
    if length == 0 {
        let what = if bytes.try_get_u8().ok()? == b'1' { "while it ran" } else { "on receiving" };
        let (times, worker) = (bytes.try_get_u32().ok()?, WorkerId::from_u128(bytes.try_get_u128().ok()?));
        let message = format!("worker {worker} vanished {what} this job (time {times})");
        return Some(Failure::new(FailureKind::Crash, message));
    }
    let (kind, mut rest) = bytes.split_at_checked(length)?;
    let kind = FailureKind::from(std::str::from_utf8(kind).ok()?);
    let (error_type, version) = (take_text(&mut rest)?, take_text(&mut rest)?);
    let mut failure = Failure::new(kind, String::from_utf8_lossy(rest)).of_version(version);
    failure.error_type = error_type;
    Some(failure)
}

#[expect(clippy::option_option, reason = "one says whether it can be read, the other whether there is one")]
fn take_text(bytes: &mut &[u8]) -> Option<Option<String>> {
    let length = bytes.try_get_u16().ok()?;
    if length == NONE {
        return Some(None);
    }
    let (text, rest) = bytes.split_at_checked(usize::from(length))?;
    *bytes = rest;
    Some(Some(String::from_utf8_lossy(text).into_owned()))
}

/// How far a run got, as bytes: so much (8) of so much (8), and the message.
pub(crate) fn progress_bytes(progress: &Progress) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + progress.message.len());
    out.put_u64(progress.done);
    out.put_u64(progress.total);
    out.put_slice(progress.message.as_bytes());
    out
}

/// How far a run got.
pub(crate) fn progress(mut bytes: Bytes) -> Option<Progress> {
    let (done, total) = (bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
    Some(Progress::new(done, total, String::from_utf8_lossy(&bytes)))
}

/// When the first run started, if there was one, and the runs that are remembered: their count (4), and of each the length
/// of the rest (4), worker, start, end, how it ended behind its length (1), failure or nothing.
pub(crate) fn history(mut bytes: Bytes) -> Option<(Option<Timestamp>, Vec<Attempt>)> {
    let (first, count) = (time(bytes.try_get_u64().ok()?), bytes.try_get_u32().ok()?);
    let mut runs = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
        runs.push(attempt(take(&mut bytes, length)?)?);
    }
    Some((first, runs))
}

fn attempt(mut bytes: Bytes) -> Option<Attempt> {
    let worker = WorkerId::from_u128(bytes.try_get_u128().ok()?);
    let (started_at, ended_at) = (time(bytes.try_get_u64().ok()?)?, time(bytes.try_get_u64().ok()?)?);
    let end = AttemptEnd::from(take_short(&mut bytes)?.as_str());
    let failure = if bytes.is_empty() { None } else { Some(failure(&bytes)?) };
    Some(Attempt::remembered(worker, started_at, ended_at, end, failure.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive() {
        let plain = Failure::new(FailureKind::Error, "boom");
        let versioned = plain.clone().of_version(Some("1.2".into()));
        let newer = Failure::new(FailureKind::Other("new".into()), "");
        for failed in [plain.clone(), plain.of_type("io::Error"), versioned.clone(), versioned.of_type(""), newer] {
            assert_eq!(failure(&failure_bytes(&failed)), Some(failed));
        }
    }

    #[test]
    fn progress_survives() {
        for told in [Progress::default(), Progress::new(u64::MAX, 7, "é\0")] {
            assert_eq!(progress(progress_bytes(&told).into()), Some(told));
        }
    }

    #[test]
    fn what_ends_too_soon_is_no_history() {
        let run = [&7_u128.to_be_bytes()[..], &1_u64.to_be_bytes(), &2_u64.to_be_bytes(), b"\x08released"].concat();
        let head = [&1_u64.to_be_bytes()[..], &1_u32.to_be_bytes(), &41_u32.to_be_bytes()].concat();
        let whole = Bytes::from([head, run].concat());
        let (first, runs) = history(whole.clone()).unwrap();
        assert_eq!((first, &runs[0].end), (Some(Timestamp::from_micros(1)), &AttemptEnd::Released));
        for length in 0..whole.len() {
            assert_eq!(history(whole.slice(..length)), None);
        }
    }
}
