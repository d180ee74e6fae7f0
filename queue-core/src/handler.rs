//! The one seam at which user types end: from a typed task to a handler the engine can call.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use queue_storage::model::{Failure, FailureKind, Outcome};

use crate::classes::Classes;
use crate::codec;
use crate::context::{Context, Requirements};
use crate::draft::Draft;
use crate::middleware::{Done, Run};
use crate::task::{Task, TaskOptions};

/// A task without its type.
pub(crate) trait Handler: Send + Sync {
    /// Decodes the arguments and begins a run, whose errors are judged by `classes` where nobody else did.
    ///
    /// # Errors
    /// The arguments are not this task's.
    fn begin(&self, args: &[u8], ctx: Context, classes: Arc<Classes>) -> Result<Run, Failure>;
}

struct Typed<T>(PhantomData<fn() -> T>);

impl<T: Task> Handler for Typed<T> {
    fn begin(&self, args: &[u8], ctx: Context, classes: Arc<Classes>) -> Result<Run, Failure> {
        let args: T = codec::decode(args).map_err(|why| {
            let message = format!(
                "the stored arguments are not those of task `{}`: {why}; an argument whose type changes wants a new name, \
                 with `#[serde(default)]`",
                T::NAME
            );
            Failure::new(FailureKind::Decode, message)
        })?;
        Ok(Box::pin(async move {
            match args.run(ctx).await {
                Ok(output) => Ok(Done(stored(&output))),
                Err(error) => Err(classes.judge(error)),
            }
        }))
    }
}

fn is_nothing<T: 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<()>()
}

/// The outcome of a success; nothing is stored for a task that returns nothing.
fn stored<T: serde::Serialize + 'static>(output: &T) -> Outcome {
    if is_nothing::<T>() {
        return Outcome::Succeeded(None);
    }
    match codec::encode(output) {
        Ok(bytes) => Outcome::Succeeded(Some(bytes)),
        Err(why) => Outcome::Unstorable(Failure::new(
            FailureKind::Encode,
            format!("the task succeeded, but its result can't be stored: {why}"),
        )),
    }
}

/// The call of a task whose arguments all have defaults; else which has none.
fn alone<T: Task>() -> Result<Draft, String> {
    codec::decode::<T>(codec::NO_ENTRIES).map(|args| Draft::new::<T>(&args))
}

/// A task as a worker knows it.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) place: &'static str,
    pub(crate) options: TaskOptions,
    /// Whether it returns anything.
    pub(crate) returns: bool,
    pub(crate) requires: fn(&mut Requirements),
    pub(crate) handler: Arc<dyn Handler>,
    /// Its call with every argument left out.
    pub(crate) alone: fn() -> Result<Draft, String>,
}

impl Registered {
    pub(crate) fn of<T: Task>() -> Self {
        Self {
            name: T::NAME,
            aliases: T::ALIASES,
            place: T::PLACE,
            options: T::OPTIONS,
            returns: !is_nothing::<T::Output>(),
            requires: T::requires,
            handler: Arc::new(Typed::<T>(PhantomData)),
            alone: alone::<T>,
        }
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("name", &self.name).field("options", &self.options).finish_non_exhaustive()
    }
}
