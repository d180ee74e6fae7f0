//! All schedules, page by page.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use queue_storage::model::{ScheduleName, Shard};
use queue_storage::storage::{ScheduleQuery, StorageError};

use super::facts::ScheduleFacts;
use crate::client::Client;
use crate::operate::Listing;
use crate::periodic::{Entry, Source};

/// Queues whose schedules are read ahead: most have none, and one by one thousands take long.
const AT_ONCE: usize = 16;

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
            let shards = client.storage().shards().await?;
            let first = move |shard| Walk { client: client.clone(), shard, after: Some(None) }.page();
            let each = stream::iter(shards).map(first).buffered(AT_ONCE);
            let pages = |begun: Option<(Vec<ScheduleFacts>, Walk)>| match begun {
                None => stream::empty().left_stream(),
                Some((page, walk)) => {
                    stream::once(async { Ok(page) }).chain(stream::try_unfold(walk, Walk::page)).right_stream()
                }
            };
            Ok::<_, StorageError>(each.map_ok(pages).try_flatten())
        });
        let each = |page: Vec<ScheduleFacts>| stream::iter(page.into_iter().map(Ok));
        Listing::of(pages.try_flatten().map_ok(each).try_flatten().boxed())
    }
}

/// The schedules of a shard.
struct Walk {
    client: Client,
    shard: Shard,
    /// Behind which schedule the next page begins, if there is one.
    after: Option<Option<ScheduleName>>,
}

impl Walk {
    async fn page(mut self) -> Result<Option<(Vec<ScheduleFacts>, Self)>, StorageError> {
        let (Some(after), shard) = (self.after.take(), &self.shard) else { return Ok(None) };
        let page = self.client.storage().schedules(shard, &ScheduleQuery::After(after, 0)).await?;
        let facts = page.schedules.into_iter().filter_map(|record| match Entry::decode(&record.data) {
            Ok(entry) if matches!(entry.source, Source::Removed(_)) => None,
            Ok(entry) => Some(ScheduleFacts::of(shard, &record.name, entry)),
            Err(why) => {
                tracing::warn!(schedule = %record.name, queue = %shard, why, "a schedule can't be read: it is left out");
                None
            }
        });
        let facts = facts.collect();
        self.after = page.next.map(Some);
        Ok(Some((facts, self)))
    }
}
