//! Taking jobs in.

use async_trait::async_trait;

use super::line::{LastCall, Line};
use super::{Hints, MemoryStorage, line_of};
use crate::model::{Job, JobId, NewJob, State, Timestamp};
use crate::storage::{Admission, Enqueue, EnqueueCall, MAX_ENQUEUE, MAX_WAITS_FOR, StorageError};

#[async_trait]
impl Enqueue for MemoryStorage {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        check(&call)?;
        let mut hints = Hints::default();
        let shard = call.shard.clone();
        let answer = {
            let (mut inner, now) = self.lock()?;
            take_in(line_of(&mut inner.lines, &shard), call, now, &mut hints)
        };
        self.tell(&shard, &hints);
        answer
    }
}

fn check(call: &EnqueueCall) -> Result<(), StorageError> {
    let EnqueueCall { jobs, shard, .. } = call;
    if jobs.len() > MAX_ENQUEUE {
        return Err(StorageError::invalid(format!("{} jobs in one call, the limit is {MAX_ENQUEUE}", jobs.len())));
    }
    let edges: usize = jobs.iter().map(|job| job.waits_for.len()).sum();
    if edges > MAX_WAITS_FOR {
        return Err(StorageError::invalid(format!("{edges} dependencies in one call, the limit is {MAX_WAITS_FOR}")));
    }
    match jobs.iter().find(|job| job.id.home_tag() != shard.tag()) {
        Some(job) => Err(StorageError::invalid(format!("job {} was made for another shard than {shard}", job.id))),
        None => Ok(()),
    }
}

fn take_in(
    line: &mut Line,
    call: EnqueueCall,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Vec<Admission>, StorageError> {
    if let Some(last) = line.callers.get(&call.caller) {
        if call.number == last.number {
            return Ok(last.answer.clone());
        }
        if call.number < last.number {
            let message = format!("call {} of {} was overtaken by {}", call.number, call.caller, last.number);
            return Err(StorageError::superseded(message));
        }
    }
    let answer: Vec<Admission> =
        call.jobs.into_iter().map(|job| admit(line, job, now, hints)).collect::<Result<_, _>>()?;
    let last = LastCall { number: call.number, answer: answer.clone(), seen: now };
    line.callers.insert(call.caller, last);
    Ok(answer)
}

fn admit(line: &mut Line, new: NewJob, now: Timestamp, hints: &mut Hints) -> Result<Admission, StorageError> {
    let stored = |id: &JobId| line.jobs.get(id).map(|job| job.state);
    if let Some(state) = stored(&new.id) {
        return Ok(Admission::Duplicate(state));
    }
    if let Some(unknown) = new.waits_for.iter().find(|id| stored(id).is_none()) {
        return Ok(Admission::UnknownDependency(*unknown));
    }
    let mut job = Job::admitted(new, line.shard.clone(), now);
    if job.state == State::Ready {
        job.sequence = Some(line.next_sequence());
    }
    let state = job.state;
    let id = job.id;
    line.admit(job, hints);
    line.follow_back(id, now, hints)?;
    Ok(Admission::Added(line.jobs.get(&id).map_or(state, |job| job.state)))
}
