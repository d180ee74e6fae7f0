//! What the worker hands a task beside its arguments.

use std::any::TypeId;

use super::Context;
use crate::data::{Data, DataMap};
use crate::task_error::TaskError;

/// What a task can take from its worker beside its arguments: [`Context`], [`Data`], and your own types, as parameters
/// marked `#[inject]`.
///
/// ```
/// use queue_core::{Context, FromContext, TaskError};
///
/// struct Tenant(String);
///
/// impl FromContext for Tenant {
///     fn from_context(ctx: &Context) -> Result<Self, TaskError> {
///         Ok(Self(ctx.header("tenant").ok_or("the job has no `tenant` header")?.to_owned()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be handed in by the worker",
    label = "does not implement `FromContext`",
    note = "take `Data<{Self}>` and give the value to the worker with `.data(..)`, or implement `FromContext` for it",
    note = "a parameter that is an argument of the job has no `#[inject]`"
)]
pub trait FromContext: Sized + Send {
    /// Takes it.
    ///
    /// # Errors
    /// Why it can't be had; the attempt fails with it.
    fn from_context(ctx: &Context) -> Result<Self, TaskError>;

    /// Names what the worker must have been given for [`from_context`](Self::from_context) to work. Default nothing.
    fn requires(requirements: &mut Requirements) {
        let _ = requirements;
    }
}

impl FromContext for Context {
    fn from_context(ctx: &Context) -> Result<Self, TaskError> {
        Ok(ctx.clone())
    }
}

impl<T: ?Sized + Send + Sync + 'static> FromContext for Data<T> {
    fn from_context(ctx: &Context) -> Result<Self, TaskError> {
        ctx.data().ok_or_else(|| {
            let name = std::any::type_name::<T>();
            TaskError::from(format!("the worker has no `Data<{name}>`: call `.data(..)` on its builder"))
        })
    }

    fn requires(requirements: &mut Requirements) {
        requirements.data::<T>();
    }
}

/// What a task needs from its worker, collected when the worker is built.
#[derive(Debug, Default)]
pub struct Requirements {
    data: Vec<(TypeId, &'static str)>,
}

impl Requirements {
    /// A `Data<T>` is needed.
    pub fn data<T: ?Sized + Send + Sync + 'static>(&mut self) {
        self.data.push((TypeId::of::<T>(), std::any::type_name::<T>()));
    }

    /// The type names of what `data` does not hold.
    pub(crate) fn missing_in(&self, data: &DataMap) -> Vec<&'static str> {
        self.data.iter().filter(|(id, _)| !data.holds(*id)).map(|(_, name)| *name).collect()
    }
}
