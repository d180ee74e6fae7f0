//! Steps that follow others, checked by the compiler.

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
    message = "`{Self}` is not a step that takes `{In}`",
    label = "not a step whose first argument is `{In}`",
    note = "a step is `next::after(rest..)`: the task `next` with its arguments but the first, which is what comes before it, here \
            `{In}`; `rest` is left out where there is no other",
    note = "a step that takes nothing from the one before is a whole call: `next::new(..)`",
    note = "a group or a flow can't follow a step: clone the call that its members begin with, as in \
            `group([a.clone().then(b::after()), a.then(c::after())])`"
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
