//! How far a job got, as it says itself.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream, StreamExt};
use queue_storage::model::Progress;
use queue_storage::storage::{Listener, Lookup, StorageError, Topic};

use super::{JobHandle, LOOK_EVERY, RETRY_AFTER};

impl<Out> JobHandle<Out> {
    /// How far the job's latest run got, by its own word ([`Context::progress`](crate::Context::progress)); `None` when it
    /// said nothing, or the job is not stored.
    ///
    /// # Errors
    /// The storage can't be asked.
    pub async fn progress(&self) -> Result<Option<Progress>, StorageError> {
        Ok(self.client.storage().get(self.id).await?.found().and_then(|job| job.progress))
    }

    /// Each step the job says it has got to, from where it is now, until it has ended; words that follow each other quickly
    /// are left out, the last one is not. While the storage can't be asked it goes on trying.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, tasks};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Resize {}
    /// # impl Task for Resize { type Output = (); const NAME: &'static str = "resize";
    /// #   async fn run(self, ctx: Context) -> Result<(), TaskError> { ctx.progress(9, 9, "done"); Ok(()) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::immediate(tasks![Resize]).build()?;
    /// let job = Call::new(Resize {}).enqueue(&client).await?;
    /// let mut steps = job.progress_stream();
    /// while let Some(step) = steps.next().await {
    ///     let step = step?;
    ///     println!("{} of {}: {}", step.done, step.total, step.message);
    /// #   assert_eq!(step.done, 9);
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn progress_stream(&self) -> ProgressStream {
        let listener = self.client.storage().listen(Topic::Progress(self.id));
        let handle = JobHandle::<()>::new(self.client.clone(), self.id);
        let watch = Watch { handle, listener, last: None, ready: VecDeque::new(), over: false };
        ProgressStream(Box::pin(stream::unfold(watch, Watch::next)))
    }
}

/// How far a job gets: what [`JobHandle::progress_stream`] returns. A [`Stream`], with a [`next`](Self::next) of its own
/// for whoever has no crate for streams. It ends with the job, or with its first error.
pub struct ProgressStream(Pin<Box<dyn Stream<Item = Result<Progress, StorageError>> + Send>>);

impl ProgressStream {
    /// Waits for the next step; `None` when the job has ended.
    ///
    /// # Errors
    /// The storage can't be asked, and asking again can't help.
    ///
    /// # Cancel safety
    /// Dropping the future loses no step.
    pub async fn next(&mut self) -> Option<Result<Progress, StorageError>> {
        StreamExt::next(&mut self.0).await
    }
}

impl Stream for ProgressStream {
    type Item = Result<Progress, StorageError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for ProgressStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressStream")
    }
}

struct Watch {
    handle: JobHandle<()>,
    /// It listened before the first look, so that nothing falls between look and listening.
    listener: Listener,
    last: Option<Progress>,
    ready: VecDeque<Result<Progress, StorageError>>,
    over: bool,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Progress, StorageError>, Self)> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some((step, self));
            }
            if self.over {
                return None;
            }
            let again = self.look().await;
            if self.ready.is_empty() && !self.over {
                let clock = self.handle.client.clock();
                tokio::select! {
                    () = self.listener.changed() => {}
                    () = clock.sleep_until(clock.now() + again) => {}
                }
            }
        }
    }

    /// Notes what is new; after how long to look again although nobody tells.
    async fn look(&mut self) -> std::time::Duration {
        match self.handle.client.storage().get(self.handle.id).await {
            Ok(Lookup::Found(job)) => {
                self.over = job.state.is_end();
                if job.progress != self.last {
                    self.last.clone_from(&job.progress);
                    self.ready.extend(job.progress.map(Ok));
                }
            }
            Ok(_) => self.over = true,
            Err(error) if error.is_unavailable() => return RETRY_AFTER,
            Err(error) => {
                self.over = true;
                self.ready.push_back(Err(error));
            }
        }
        LOOK_EVERY
    }
}
