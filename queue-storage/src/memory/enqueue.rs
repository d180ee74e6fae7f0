//! Taking jobs in.

use async_trait::async_trait;

use super::line::{LastCall, Line};
use super::{Hints, MemoryStorage, line_of};
use crate::model::{Conflict, Job, JobId, NewJob, Parked, State, Timestamp};
use crate::storage::{Admission, Edit, Enqueue, EnqueueCall, StorageError};

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

/// Takes one job in.
pub(super) fn admit(
    line: &mut Line,
    new: NewJob,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Admission, StorageError> {
    let stored = |id: &JobId| line.jobs.get(id).map(|job| job.state);
    if let Some(state) = stored(&new.id) {
        return Ok(Admission::Duplicate(state));
    }
    if let Some(unknown) = new.waits_for.iter().find(|id| stored(id).is_none()) {
        return Ok(Admission::UnknownDependency(*unknown));
    }
    if let Some(answer) = keep_out(line, &new, now, hints)? {
        return Ok(answer);
    }
    let mut job = Box::new(Job::admitted(new, line.shard.clone(), now));
    if job.state == State::Ready {
        job.sequence = Some(line.next_sequence());
        job.parked_for = line.limits.full_for(&job);
        job.parked = job.parked_for.as_ref().map(|_| Parked::LimitFull);
        job.parked_at = job.parked_for.as_ref().map(|_| now);
    }
    if let Some(unique) = &job.unique {
        line.limits.own(unique, job.id, now);
    }
    let state = job.state;
    let id = job.id;
    line.admit(job, hints);
    line.follow_back(id, now, hints)?;
    Ok(Admission::Added(line.jobs.get(&id).map_or(state, |job| job.state)))
}

/// What becomes of a job whose unique key another holds; `None` if nobody does.
fn keep_out(
    line: &mut Line,
    new: &NewJob,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Option<Admission>, StorageError> {
    let Some(unique) = &new.unique else { return Ok(None) };
    let Some(owner) = line.limits.owner(unique, now) else { return Ok(None) };
    let state = |line: &Line| line.jobs.get(&owner).map(|job| job.state);
    let before = state(line);
    let edit = match unique.conflict {
        Conflict::Reject => return Ok(Some(Admission::Rejected(owner, before))),
        Conflict::Existing => None,
        Conflict::Replace => Some(Edit::new().envelope(new.envelope.clone()).priority(new.priority)),
        Conflict::Debounce => Some(Edit::new().envelope(new.envelope.clone()).when(new.when)),
    };
    match edit.filter(|_| before.is_some_and(|state| !state.is_end() && state != State::Running)) {
        Some(edit) => {
            line.edit(owner, &edit, now, hints)?;
            Ok(state(line).map(|state| Admission::Replaced(owner, state)))
        }
        None => Ok(Some(Admission::Existing(owner, before))),
    }
}
