//! All schedules, page by page.

use std::collections::VecDeque;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use queue_storage::model::{ScheduleName, Shard};
use queue_storage::storage::{ScheduleQuery, StorageError};

use super::facts::ScheduleFacts;
use crate::client::Client;
use crate::operate::Listing;
use crate::periodic::{Entry, Source};

impl Client {
    /// The schedules of every queue, those of a queue by name. One that a newer program stored and this one can't read is
    /// left out, with a warning in the log.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = queue_core::Client::memory();
    /// let mut schedules = client.schedules();
    /// while let Some(schedule) = schedules.next().await {
    ///     let schedule = schedule?;
    ///     println!("{}: {}, next {:?}", schedule.name, schedule.timing, schedule.preview(1));
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn schedules(&self) -> Listing<ScheduleFacts> {
        let client = self.clone();
        let pages = stream::once(async move {
            let shards: VecDeque<Shard> = client.storage().shards().await?.into();
            Ok::<_, StorageError>(stream::try_unfold(Walk { client, shards, after: None }, Walk::page))
        });
        let each = |page: Vec<ScheduleFacts>| stream::iter(page.into_iter().map(Ok));
        Listing::of(pages.try_flatten().map_ok(each).try_flatten().boxed())
    }
}

struct Walk {
    client: Client,
    shards: VecDeque<Shard>,
    after: Option<ScheduleName>,
}

impl Walk {
    async fn page(mut self) -> Result<Option<(Vec<ScheduleFacts>, Self)>, StorageError> {
        let Some(shard) = self.shards.front() else { return Ok(None) };
        let page = self.client.storage().schedules(shard, &ScheduleQuery::After(self.after.take(), 0)).await?;
        let facts = page.schedules.into_iter().filter_map(|record| match Entry::decode(&record.data) {
            Ok(entry) if matches!(entry.source, Source::Removed(_)) => None,
            Ok(entry) => Some(ScheduleFacts::of(shard, &record.name, entry)),
            Err(why) => {
                tracing::warn!(schedule = %record.name, queue = %shard, why, "a schedule can't be read: it is left out");
                None
            }
        });
        let facts = facts.collect();
        self.after = page.next;
        if self.after.is_none() {
            self.shards.pop_front();
        }
        Ok(Some((facts, self)))
    }
}
