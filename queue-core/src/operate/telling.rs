//! What is told of what people do.

use queue_storage::model::{EndReason, JobId, Shard, State, TaskName, Timestamp};
use queue_storage::storage::{Act, Acted, Control, Scope};

use crate::client::Client;
use crate::events::{Event, EventKind, Fate, News};

impl Client {
    /// Tells of what was done to jobs; of each its task, and whether it is one, as far as that is known.
    pub(crate) fn tell_acted(
        &self,
        shard: &Shard,
        (ids, acted): (&[JobId], &[Acted]),
        act: &Act,
        known: impl Fn(JobId) -> Option<(TaskName, bool)>,
    ) {
        let now = self.clock().now();
        let news = ids.iter().zip(acted).filter_map(|(&id, acted)| {
            let (kind, reason) = match (act, acted) {
                (Act::Cancel { .. }, Acted::Done(_)) => (EventKind::Cancelled, Some(EndReason::Requested)),
                (Act::Revive(_) | Act::Rearm, Acted::Done(_)) => (EventKind::Enqueued, None),
                _ => return None,
            };
            let Some((task, is_task)) = known(id) else {
                let fate = Fate { shard: shard.clone(), id, became: State::Cancelled };
                return (kind == EventKind::Cancelled).then_some(News::Fate(fate));
            };
            let mut event = Event::new(kind, now.into());
            (event.queue, event.job) = (Some(shard.queue.to_string()), Some(id));
            (event.task, event.reason) = (Some(task.to_string()), reason);
            is_task.then(|| event.into())
        });
        // People act rarely, and their process may not have called the shard before: it can't know whether anyone watches.
        self.teller().tell(news, true);
    }

    /// Tells of a queue that was paused or resumed, and waits until that is told.
    pub(super) async fn tell_control(&self, shard: &Shard, change: &Control) {
        let (kind, until) = match change {
            Control::Pause(Scope::Queue, until) => (EventKind::QueuePaused, *until),
            Control::Resume(Scope::Queue) => (EventKind::QueueResumed, None),
            _ => return,
        };
        let now = self.clock().now();
        let mut event = Event::new(kind, now.into());
        event.queue = Some(shard.queue.to_string());
        event.due = until.map(Into::into);
        self.teller().tell([event.into()], true);
        self.has_told(Timestamp::MAX).await;
    }
}
