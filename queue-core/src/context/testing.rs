//! Contexts for unit tests of tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use queue_storage::model::{JobId, QueueName, Shard, TaskName};
use tokio_util::sync::CancellationToken;

use super::{Context, Inner};
use crate::client::Client;
use crate::data::{Data, DataMap};

/// Builds a [`Context`] for a unit test that needs more than [`Context::test`].
///
/// ```
/// use queue_core::TestContext;
///
/// let ctx = TestContext::new().attempt(3, 5).header("tenant", "acme").data(7_u32).build();
/// assert_eq!((ctx.retries_left(), ctx.header("tenant")), (2, Some("acme")));
/// assert_eq!(*ctx.data::<u32>().unwrap(), 7);
/// ```
#[derive(Debug, Default)]
pub struct TestContext {
    attempt: Option<(u32, u32)>,
    headers: BTreeMap<String, String>,
    data: DataMap,
    client: Option<Client>,
    cancelled: CancellationToken,
}

impl TestContext {
    /// As [`Context::test`] builds it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes it this attempt (from 1) of that many.
    #[must_use]
    pub fn attempt(mut self, attempt: u32, of: u32) -> Self {
        self.attempt = Some((attempt, of));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Hands in a value that tasks take as `Data<T>`.
    #[must_use]
    pub fn data<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.data.insert(Data::new(value));
        self
    }

    /// Sets the client.
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Cancels the run when `token` is cancelled.
    #[must_use]
    pub fn cancelled_by(mut self, token: CancellationToken) -> Self {
        self.cancelled = token;
        self
    }

    /// The context.
    #[must_use]
    pub fn build(self) -> Context {
        let (attempt, max_attempts) = self.attempt.unwrap_or((1, 1));
        let shard = Shard::of(QueueName::default());
        let client = self.client.unwrap_or_else(Client::memory);
        Context::new(Inner {
            id: JobId::new(&shard),
            shard,
            task: TaskName::new("test").unwrap_or_else(|_| unreachable!("a valid name")),
            attempt,
            max_attempts,
            fence: 1,
            enqueued_at: client.clock().now(),
            scheduled_for: None,
            deadline: None,
            headers: self.headers,
            client,
            data: Arc::new(self.data),
            cancelled: self.cancelled,
            told: Arc::default(),
        })
    }
}
