//! A call on its way into the storage.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use queue_storage::model::{JobId, When};

use crate::draft::{Draft, Eta};
use crate::json;
use crate::task_error::BoxError;

/// A call on its way into the storage, as a [`Middleware`](crate::Middleware) sees it and may change it. The call itself
/// stays as it is: enqueued again, it passes anew.
///
/// Its id, its task, its queue and its arguments stay: handles, and the other jobs of its flow, know it by them.
#[derive(Clone)]
pub struct Outgoing {
    pub(crate) draft: Draft,
}

impl Outgoing {
    /// The job's id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.draft.id
    }

    /// The name of its task.
    #[must_use]
    pub fn task(&self) -> &str {
        self.draft.task
    }

    /// The name of its queue.
    #[must_use]
    pub fn queue(&self) -> String {
        self.draft.shard().queue.to_string()
    }

    /// A header that travels with the job.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.draft.headers.get(name).map(String::as_str)
    }

    /// Every header that travels with the job.
    #[must_use]
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.draft.headers
    }

    /// Sets a header; the task reads it with `ctx.header(name)`.
    pub fn set_header(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.draft.headers.insert(name.into(), value.into());
    }

    /// Takes a header away.
    pub fn remove_header(&mut self, name: &str) -> Option<String> {
        self.draft.headers.remove(name)
    }

    /// Its priority: higher runs first.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.draft.priority
    }

    /// Sets its priority.
    pub fn set_priority(&mut self, priority: i32) {
        self.draft.priority = priority;
    }

    /// When it may start.
    #[must_use]
    pub fn when(&self) -> When {
        self.draft.when
    }

    /// Starts it no earlier than `delay` from when the storage takes it in (a step: from when it is reached).
    pub fn set_delay(&mut self, delay: Duration) {
        self.draft.when = When::In(delay);
    }

    /// Starts it no earlier than `eta`: a moment, or a [`Duration`] from now.
    pub fn set_schedule(&mut self, eta: impl Into<Eta>) {
        self.draft.when = eta.into().when();
    }

    /// The labels to find it by.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.draft.tags()
    }

    /// Adds a label to find it by, as [`Call::tag`](crate::Call::tag) does.
    pub fn add_tag(&mut self, tag: impl Into<String>) {
        self.draft.tag(tag);
    }

    /// Its arguments, by name, decoded each time it is called; without what jobs before it hand on.
    ///
    /// # Errors
    /// They could not be encoded, or can't be told as JSON.
    pub fn arguments(&self) -> Result<serde_json::Value, BoxError> {
        Ok(json::to_value(self.draft.args()?)?)
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.draft, f)
    }
}
