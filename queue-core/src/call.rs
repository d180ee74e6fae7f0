//! A task with its arguments and options, not yet stored.

use std::fmt;
use std::marker::PhantomData;

use queue_storage::model::JobId;

use crate::draft::{Draft, modifiers};
use crate::task::Task;

/// A task with its arguments and options: what `send_email::new(..)` returns. Modifiers build it; one verb ends it:
/// [`enqueue`](Self::enqueue).
///
/// Its id is made with it, so that enqueueing the same call again, after a lost answer say, makes one job. A clone is
/// the same call with the same id; [`renewed`](Self::renewed) makes it another.
#[must_use = "a call does nothing until `.enqueue(&client).await`"]
pub struct Call<T> {
    pub(crate) draft: Draft,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> Call<T> {
    /// A call of `T` with these arguments and the task's own options. The arguments are encoded here; if that fails,
    /// [`enqueue`](Self::enqueue) says so.
    #[expect(clippy::needless_pass_by_value, reason = "a call owns its arguments: they are gone once it is made")]
    pub fn new(args: T) -> Self {
        Self { draft: Draft::new::<T>(&args), task: PhantomData }
    }

    /// Another call with the same arguments and options: it has an id of its own and makes a job of its own.
    pub fn renewed(mut self) -> Self {
        self.draft.id = JobId::new(&self.draft.shard());
        self
    }
}

impl<T> Clone for Call<T> {
    fn clone(&self) -> Self {
        Self { draft: self.draft.clone(), task: PhantomData }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.draft, f)
    }
}

modifiers!(Call<T>);
