//! Taking jobs in.

use async_trait::async_trait;

use super::line::{LastCall, Line};
use super::{Hints, MemoryStorage, line_of};
use crate::model::{Job, JobId, NewJob, State, Timestamp};
use crate::storage::{Admission, Enqueue, EnqueueCall, StorageError};

#[async_trait]
impl Enqueue for MemoryStorage {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        call.check()?;
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
