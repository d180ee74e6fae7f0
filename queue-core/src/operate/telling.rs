//! What is told of what people do.

use queue_storage::model::{JobId, Shard, State, Timestamp};
use queue_storage::storage::{Act, Acted, Control, Scope};

use crate::client::Client;
use crate::events::{Event, EventKind, Fate, News};

impl Client {
    /// Tells of what was done to jobs, and waits until that is told.
    pub(crate) async fn tell_acts(&self, shard: &Shard, ids: &[JobId], act: &Act, acted: &[Acted]) {
        self.tell_acted(shard, ids, act, acted);
        self.has_told(Timestamp::MAX).await;
    }

    /// Tells of what was done to jobs.
    pub(crate) fn tell_acted(&self, shard: &Shard, ids: &[JobId], act: &Act, acted: &[Acted]) {
        let now = self.clock().now();
        let news = ids.iter().zip(acted).filter_map(|(&id, acted)| match (act, acted) {
            (Act::Cancel { .. }, Acted::Done(_)) => {
                Some(News::Fate(Fate { shard: shard.clone(), id, became: State::Cancelled }))
            }
            (Act::Revive(_) | Act::Rearm, Acted::Done(_)) => {
                let mut event = Event::new(EventKind::Enqueued, now.into());
                (event.queue, event.job) = (Some(shard.queue.to_string()), Some(id));
                Some(event.into())
            }
            _ => None,
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
