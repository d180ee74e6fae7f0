//! Task names, what runs for them, and what their errors mean.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use queue_storage::model::{QueueName, TaskName};

use crate::classes::Classes;
use crate::context::Requirements;
use crate::data::DataMap;
use crate::handler::Registered;

/// The tasks of a worker by every name they go by.
#[derive(Debug)]
pub(crate) struct Registry {
    tasks: Vec<Registered>,
    by_name: HashMap<String, usize>,
    classes: Arc<Classes>,
}

impl Registry {
    /// Checks the tasks against each other and against what the worker was given.
    pub(crate) fn new(tasks: Vec<Registered>, data: &DataMap, problems: &mut Vec<String>) -> Self {
        let mut by_name: HashMap<String, usize> = HashMap::new();
        for (index, task) in tasks.iter().enumerate() {
            for name in std::iter::once(&task.name).chain(task.aliases) {
                if let Err(error) = TaskName::new(name) {
                    problems.push(error.to_string());
                }
                if let Some(other) = by_name.insert((*name).to_owned(), index) {
                    problems.push(twice(name, &tasks[other], task));
                }
            }
            if let Err(error) = QueueName::new(task.options.queue) {
                problems.push(format!("task `{}`: {error}", task.name));
            }
            let mut requirements = Requirements::default();
            (task.requires)(&mut requirements);
            for missing in requirements.missing_in(data) {
                problems.push(format!(
                    "task `{}`{} takes `Data<{missing}>`, which the worker was not given: call `.data(..)` with a `{missing}`",
                    task.name,
                    Place(task)
                ));
            }
        }
        Self { tasks, by_name, classes: Arc::default() }
    }

    /// The same, where errors that say nothing are judged by these classes.
    pub(crate) fn judging_by(self, classes: Classes) -> Self {
        Self { classes: Arc::new(classes), ..self }
    }

    pub(crate) fn classes(&self) -> Arc<Classes> {
        Arc::clone(&self.classes)
    }

    pub(crate) fn get(&self, name: &TaskName) -> Option<&Registered> {
        self.by_name.get(name.as_str()).map(|&index| &self.tasks[index])
    }

    /// Every name, aliases among them.
    pub(crate) fn names(&self) -> BTreeSet<TaskName> {
        self.by_name.keys().filter_map(|name| TaskName::new(name).ok()).collect()
    }

    pub(crate) fn tasks(&self) -> &[Registered] {
        &self.tasks
    }
}

fn twice(name: &str, first: &Registered, second: &Registered) -> String {
    format!(
        "two tasks go by the name `{name}`: `{}`{} and `{}`{}; register each task once, and give one of two different \
         tasks another name with `#[task(name = \"…\")]`",
        first.name,
        Place(first),
        second.name,
        Place(second)
    )
}

/// ` (src/mail.rs:12)`, or nothing when it is not known.
struct Place<'a>(&'a Registered);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.place.is_empty() { Ok(()) } else { write!(f, " ({})", self.0.place) }
    }
}
