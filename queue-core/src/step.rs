//! Steps of a pipeline, checked by the compiler.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;

use crate::call::Call;
use crate::draft::{Draft, modifiers};
use crate::task::Task;

/// A step that takes the previous step's output as its first argument: what `file_receipt::after("tips")` returns.
///
/// It has the options of a [`Call`]; its delay is counted from when it is reached.
#[must_use = "a step does nothing until it follows a call: `call.then(step)`"]
pub struct After<T, In> {
    pub(crate) draft: Draft,
    types: PhantomData<fn(In) -> T>,
}

impl<T: Task, In> After<T, In> {
    /// A step of task `T`: `first` is the name of the argument that the previous output becomes, `rest` the other
    /// arguments, as a struct or map by name. `#[task]` writes it as `T::after(rest..)`.
    pub fn new(first: &'static str, rest: &impl Serialize) -> Self {
        let mut draft = Draft::new::<T>(rest);
        draft.input = Some(first.to_owned());
        Self { draft, types: PhantomData }
    }
}

impl<T, In> Clone for After<T, In> {
    fn clone(&self) -> Self {
        Self { draft: self.draft.clone(), types: PhantomData }
    }
}

impl<T, In> fmt::Debug for After<T, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.draft, f)
    }
}

/// What can follow a task that returns `In`: an [`After`] whose first argument is an `In`, or a whole [`Call`], which
/// ignores it.
#[diagnostic::on_unimplemented(
    message = "this step can't follow a task that returns `{In}`",
    label = "its first argument is not `{In}`",
    note = "the output of one step is the first argument of the next: `.then(next::after(rest..))`",
    note = "a step that takes nothing from the one before is a whole call: `.then(next::new(..))`"
)]
pub trait IntoStep<In> {
    /// The task of the step.
    type Task: Task;

    #[doc(hidden)]
    fn into_draft(self) -> Draft;
}

impl<T: Task, In> IntoStep<In> for After<T, In> {
    type Task = T;
    fn into_draft(self) -> Draft {
        self.draft
    }
}

impl<T: Task, In> IntoStep<In> for Call<T> {
    type Task = T;
    fn into_draft(self) -> Draft {
        self.draft
    }
}

modifiers!(After<T, In>);

impl<T: Task> Call<T> {
    /// Adds a step that runs when this one has completed, with its output: `.then(next::after(rest..))`.
    pub fn then<S: IntoStep<T::Output>>(self, step: S) -> Pipeline<S::Task> {
        Pipeline::start(self.draft, step.into_draft())
    }
}

/// Steps that run one after the other: what `call.then(step)` returns. `T` is the last.
#[must_use = "a pipeline does nothing until `.enqueue(&client).await`"]
pub struct Pipeline<T> {
    pub(crate) drafts: Vec<Draft>,
    last: PhantomData<fn() -> T>,
}

impl<T: Task> Pipeline<T> {
    pub(crate) fn start(first: Draft, second: Draft) -> Self {
        Self { drafts: vec![first, second], last: PhantomData }
    }

    /// Adds a step that runs when the last has completed, with its output.
    pub fn then<S: IntoStep<T::Output>>(mut self, step: S) -> Pipeline<S::Task> {
        self.drafts.push(step.into_draft());
        Pipeline { drafts: self.drafts, last: PhantomData }
    }

    /// The ids of the steps, first to last; known before anything is enqueued.
    #[must_use]
    pub fn ids(&self) -> Vec<queue_storage::model::JobId> {
        self.drafts.iter().map(|draft| draft.id).collect()
    }
}

impl<T> Clone for Pipeline<T> {
    fn clone(&self) -> Self {
        Self { drafts: self.drafts.clone(), last: PhantomData }
    }
}

impl<T> fmt::Debug for Pipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.drafts).finish()
    }
}
