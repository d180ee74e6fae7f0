//! Long lists, page by page.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use queue_storage::model::Job;
use queue_storage::storage::{JobQuery, StorageError};

use crate::client::Client;

/// What [`Selection::jobs`](crate::Selection::jobs) and [`Selection::letters`](crate::Selection::letters) return: a
/// [`Stream`] that asks the storage for a page when it needs one, with a [`next`](Self::next) of its own for whoever has
/// no crate for streams. It ends with its first error.
pub struct Listing<T>(Pin<Box<dyn Stream<Item = Result<T, StorageError>> + Send>>);

impl<T> Listing<T> {
    /// The next one; `None` at the end.
    ///
    /// # Errors
    /// The storage can't be asked.
    ///
    /// # Cancel safety
    /// Dropping the future may lose a place on the list: a page that was asked for is asked for again.
    pub async fn next(&mut self) -> Option<Result<T, StorageError>> {
        StreamExt::next(&mut self.0).await
    }
}

impl<T: Send + 'static> Listing<T> {
    /// What this stream gives.
    pub(crate) fn of(stream: Pin<Box<dyn Stream<Item = Result<T, StorageError>> + Send>>) -> Self {
        Self(stream)
    }

    /// Nothing but an error.
    pub(super) fn failed(error: StorageError) -> Self {
        Self(Box::pin(stream::once(std::future::ready(Err(error)))))
    }
}

impl<T> Stream for Listing<T> {
    type Item = Result<T, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listing")
    }
}

/// Goes through queries, one after the other.
#[derive(Debug)]
pub(super) struct Walk {
    client: Client,
    queries: VecDeque<JobQuery>,
}

impl Walk {
    pub(super) fn new(client: Client, queries: Vec<JobQuery>) -> Self {
        Self { client, queries: queries.into() }
    }

    /// The jobs of the next page, maybe none; `None` at the end.
    pub(super) async fn next_page(&mut self) -> Result<Option<Vec<Job>>, StorageError> {
        let Some(query) = self.queries.front_mut() else { return Ok(None) };
        let page = self.client.storage().list(query).await?;
        query.after = page.next;
        if query.after.is_none() {
            self.queries.pop_front();
        }
        Ok(Some(page.jobs))
    }

    /// Each job, as `view` shows it.
    pub(super) fn listing<T: Send + 'static>(self, view: fn(Job) -> T) -> Listing<T> {
        let pages = stream::try_unfold(self, async move |mut walk| {
            Ok::<_, StorageError>(walk.next_page().await?.map(|jobs| (jobs, walk)))
        });
        let each = move |jobs: Vec<Job>| stream::iter(jobs.into_iter().map(move |job| Ok(view(job))));
        Listing(Box::pin(pages.map_ok(each).try_flatten()))
    }
}
