//! Lists of tasks.

use crate::handler::Registered;
use crate::task::Task;

/// Tasks that a worker can run: what `tasks![a, b]` builds. Lists compose, so each module can offer its own.
///
/// ```
/// use queue_core::{Context, Task, TaskError, TaskList, tasks};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Ping {}
/// impl Task for Ping {
///     type Output = ();
///     const NAME: &'static str = "ping";
///     async fn run(self, _ctx: Context) -> Result<(), TaskError> { Ok(()) }
/// }
///
/// let all = tasks![Ping].and(TaskList::new());
/// assert_eq!(all.names().collect::<Vec<_>>(), ["ping"]);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a list of tasks does nothing until a worker is given it: `Worker::builder(&client).tasks(list)`"]
pub struct TaskList {
    pub(crate) tasks: Vec<Registered>,
}

impl TaskList {
    /// No tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task.
    pub fn with<T: Task>(mut self) -> Self {
        self.tasks.push(Registered::of::<T>());
        self
    }

    /// Adds another list.
    pub fn and(mut self, other: Self) -> Self {
        self.tasks.extend(other.tasks);
        self
    }

    /// The names of its tasks, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.tasks.iter().map(|task| task.name)
    }
}

/// A [`TaskList`](crate::TaskList) of the named tasks: `tasks![send_email, reports::build]`.
#[macro_export]
macro_rules! tasks {
    ($($task:ty),* $(,)?) => {
        $crate::TaskList::new()$(.with::<$task>())*
    };
}
