//! What people say of a shard: as bytes that the scripts read, and how it is changed.

use bytes::{Buf, BufMut, Bytes};
use queue_storage::model::{JobId, Key, Shard, Tag, TaskName, Timestamp, WorkerId};
use queue_storage::storage::{Control, Controls, Pause, Revocation, Scope, StorageError};

use crate::RedisStorage;
use crate::limits;
use crate::link::{id_bytes, odd};
use crate::record::{micros, put_short, take, take_short, time};
use crate::scripts::Step;

/// How often a change is tried that others overtake.
const TRIES: usize = 256;

const OF_JOB: u8 = 1;
const OF_TASK: u8 = 2;
const OF_TAG: u8 = 4;
const NEXT_ONLY: u8 = 8;
const OF_KEY: u8 = 16;

impl RedisStorage {
    /// Applies a change to what is said of a shard; whether that changed anything.
    pub(crate) async fn change(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError> {
        let (mut now, mut before) = self.said(shard).await?;
        for _ in 0..TRIES {
            let mut controls = read(&before).ok_or_else(|| damaged(shard))?;
            let changed = controls.apply(change, now);
            controls.check()?;
            if !changed {
                return Ok(false);
            }
            let mut args = self.link.args(3);
            args.extend([before, write(&controls), to_wake(change)]);
            match self.link.call(Step::Control, shard, args).await?.bytes() {
                Some(answer) if answer == "ok" => return Ok(true),
                answer => (now, before) = said(answer)?,
            }
        }
        Err(StorageError::unavailable(format!(
            "the pauses and revocations of {shard} were changed by others {TRIES} times while this change was made: \
             nothing was changed; try again"
        )))
    }

    /// What is said of a shard, without what has ended.
    pub(crate) async fn controls_of(&self, shard: &Shard) -> Result<Controls, StorageError> {
        let (now, said) = self.said(shard).await?;
        let mut controls = read(&said).ok_or_else(|| damaged(shard))?;
        controls.lapse(now);
        Ok(controls)
    }

    /// The time, and what is said.
    async fn said(&self, shard: &Shard) -> Result<(Timestamp, Bytes), StorageError> {
        said(self.link.call(Step::Control, shard, self.link.args(0)).await?.bytes())
    }
}

fn said(answer: Option<Bytes>) -> Result<(Timestamp, Bytes), StorageError> {
    let mut bytes = answer.unwrap_or_default();
    let now = bytes.try_get_i64().map_err(|_| odd(Step::Control, "no time"))?;
    Ok((Timestamp::from_micros(now), bytes))
}

fn damaged(shard: &Shard) -> StorageError {
    StorageError::corrupt(format!("the pauses and revocations of {shard} are damaged"))
}

/// Whom a change concerns that sleeps: everyone, one worker, or nobody.
fn to_wake(change: &Control) -> Bytes {
    match change {
        Control::Pause(Scope::Worker(worker), _) | Control::Resume(Scope::Worker(worker)) => id_bytes(worker.as_u128()),
        Control::Pause(..) | Control::Resume(_) | Control::Slots(_) | Control::Rate(_) => Bytes::from_static(b"*"),
        _ => Bytes::new(),
    }
}

/// What is said, as bytes: of each rule the length of the rest (2), a letter, since when (8) and until when (8), and what it
/// is about.
fn write(controls: &Controls) -> Bytes {
    let mut out = Vec::new();
    if let Some(pause) = &controls.queue {
        put_rule(&mut out, b'q', pause.since, pause.until, b"");
    }
    for (task, pause) in &controls.tasks {
        put_rule(&mut out, b't', pause.since, pause.until, task.as_str().as_bytes());
    }
    for (worker, pause) in &controls.workers {
        put_rule(&mut out, b'w', pause.since, pause.until, &worker.as_u128().to_be_bytes());
    }
    for one in &controls.revocations {
        put_rule(&mut out, b'r', Timestamp::EPOCH, one.until, &revoked(one));
    }
    if let Some(slots) = controls.slots {
        put_rule(&mut out, b'n', Timestamp::EPOCH, None, &slots.to_be_bytes());
    }
    if let Some(rate) = controls.rate {
        let rate = [&micros(rate.every).to_be_bytes()[..], &rate.burst.to_be_bytes()].concat();
        put_rule(&mut out, b'v', Timestamp::EPOCH, None, &rate);
    }
    out.into()
}

fn put_rule(out: &mut Vec<u8>, letter: u8, since: Timestamp, until: Option<Timestamp>, about: &[u8]) {
    out.put_u16(u16::try_from(17 + about.len()).unwrap_or(u16::MAX));
    out.put_u8(letter);
    out.put_i64(since.as_micros());
    out.put_u64(until.map_or(u64::MAX, |until| until.as_micros().unsigned_abs()));
    out.put_slice(about);
}

fn revoked(one: &Revocation) -> Vec<u8> {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let mut out = vec![
        flag(one.job.is_some(), OF_JOB)
            | flag(one.task.is_some(), OF_TASK)
            | flag(one.tag.is_some(), OF_TAG)
            | flag(one.key.is_some(), OF_KEY)
            | flag(one.next_only, NEXT_ONLY),
    ];
    one.job.iter().for_each(|id| out.put_u128(id.as_u128()));
    one.task.iter().for_each(|task| put_short(&mut out, task.as_str()));
    one.tag.iter().for_each(|tag| put_short(&mut out, tag.as_str()));
    one.key.iter().for_each(|key| put_short(&mut out, key.as_str()));
    out
}

/// What is said; rules of a newer program are passed over.
fn read(bytes: &Bytes) -> Option<Controls> {
    let (mut bytes, mut controls) = (bytes.clone(), Controls::default());
    while !bytes.is_empty() {
        let length = usize::from(bytes.try_get_u16().ok()?);
        let mut rule = take(&mut bytes, length)?;
        let letter = rule.try_get_u8().ok()?;
        let pause = Pause::new(time(rule.try_get_u64().ok()?)?, time(rule.try_get_u64().ok()?));
        match letter {
            b'q' => controls.queue = Some(pause),
            b't' => drop(controls.tasks.insert(TaskName::new(text(&rule)?).ok()?, pause)),
            b'w' => drop(controls.workers.insert(WorkerId::from_u128(rule.try_get_u128().ok()?), pause)),
            b'r' => controls.revocations.push(revocation(rule, pause.until)?),
            b'n' => controls.slots = Some(rule.try_get_u32().ok()?),
            b'v' => controls.rate = Some(limits::rate(&mut rule)?),
            _ => {}
        }
    }
    Some(controls)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn revocation(mut bytes: Bytes, until: Option<Timestamp>) -> Option<Revocation> {
    let flags = bytes.try_get_u8().ok()?;
    let mut one = Revocation::default();
    if flags & OF_JOB != 0 {
        one.job = Some(JobId::from_u128(bytes.try_get_u128().ok()?));
    }
    if flags & OF_TASK != 0 {
        one.task = Some(TaskName::new(take_short(&mut bytes)?).ok()?);
    }
    if flags & OF_TAG != 0 {
        one.tag = Some(Tag::new(take_short(&mut bytes)?).ok()?);
    }
    if flags & OF_KEY != 0 {
        one.key = Some(Key::new(take_short(&mut bytes)?).ok()?);
    }
    (one.until, one.next_only) = (until, flags & NEXT_ONLY != 0);
    Some(one)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use queue_storage::model::Rate;

    use super::*;

    fn full() -> Controls {
        let mut controls = Controls::default();
        let now = Timestamp::from_micros(7);
        let later = Some(Timestamp::from_micros(9));
        let mut one = Revocation::default();
        one.job = Some(JobId::from_u128(5));
        let mut other = Revocation::default();
        (other.task, other.tag) = ("évènement".parse().ok(), "vip".parse().ok());
        (other.key, other.until, other.next_only) = ("user:7".parse().ok(), later, true);
        for change in [
            Control::Pause(Scope::Queue, None),
            Control::Pause(Scope::Task("t".parse().unwrap()), later),
            Control::Pause(Scope::Worker(WorkerId::from_u128(3)), None),
            Control::Revoke(one),
            Control::Revoke(other),
            Control::Slots(Some(3)),
            Control::Rate(Some(Rate::per(Duration::from_secs(1), 7).burst(2))),
        ] {
            assert!(controls.apply(&change, now));
        }
        controls
    }

    #[test]
    fn what_is_said_survives_and_newer_rules_are_passed_over() {
        let controls = full();
        let bytes = write(&controls);
        assert_eq!(read(&bytes), Some(controls.clone()));
        let newer = [&[0, 18, b'z'], &[0; 17][..], &bytes].concat();
        assert_eq!(read(&newer.into()), Some(controls));
        assert_eq!(read(&Bytes::new()), Some(Controls::default()));
    }

    #[test]
    fn damage_is_named() {
        let bytes = write(&full());
        assert!((1..bytes.len()).filter(|&length| read(&bytes.slice(..length)).is_none()).count() > bytes.len() - 8);
    }
}
