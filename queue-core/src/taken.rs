//! What is told of jobs that are stored.

use std::time::Duration;

use queue_storage::model::{JobId, NewJob, Shard, State, TaskName, Timestamp, When};
use queue_storage::storage::Admission;

use crate::client::Client;
use crate::events::{Event, EventKind};

/// What is told of a job once it is stored, kept while it is on its way.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) id: JobId,
    task: TaskName,
    when: When,
    is_task: bool,
}

impl Taken {
    pub(crate) fn of(job: &NewJob) -> Self {
        Self { id: job.id, task: job.task.clone(), when: job.when, is_task: job.node.is_task() }
    }
}

/// How long a client waits until what it did is told.
const TELL_WITHIN: Duration = Duration::from_secs(1);

impl Client {
    /// Waits until what this client did is told, but not for long: its program may end at once, and what it has to tell with
    /// it. Not where a worker runs on it, which ends well.
    pub(crate) async fn has_told(&self, deadline: Timestamp) {
        if self.teller().is_staying() {
            return;
        }
        let late = self.clock().sleep_until(deadline.min(self.clock().now() + TELL_WITHIN));
        tokio::select! {
            () = self.teller().carried() => {}
            () = late => {}
        }
    }

    /// Tells of jobs that were taken in.
    pub(crate) fn tell_taken(&self, shard: &Shard, taken: &[Taken], admissions: &[Admission]) {
        if !self.teller().has_ears(shard) {
            return;
        }
        let now = self.clock().now();
        let events = taken.iter().zip(admissions).filter(|(job, _)| job.is_task).flat_map(|(job, admission)| {
            let Admission::Added(state) = *admission else { return [None, None] };
            let event = |kind| {
                let mut event = Event::new(kind, now.into());
                event.queue = Some(shard.queue.to_string());
                (event.job, event.task) = (Some(job.id), Some(job.task.to_string()));
                event
            };
            let scheduled = (state == State::Scheduled).then(|| {
                let mut event = event(EventKind::Scheduled);
                event.due = Some(job.when.resolve(now).into());
                event
            });
            [Some(event(EventKind::Enqueued)), scheduled]
        });
        self.teller().tell_of(shard, events.flatten().map(Into::into));
    }
}
