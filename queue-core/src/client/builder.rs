//! Settings of a client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use queue_storage::clock::Clock;
use queue_storage::storage::Storage;

use super::{Client, ClientConfig, Inlines, Passes};

/// Builds a [`Client`] with settings of your own.
#[must_use = "a builder does nothing until `.build()`"]
pub struct ClientBuilder {
    storage: Arc<dyn Storage>,
    clock: Option<Arc<dyn Clock>>,
    config: ClientConfig,
    inline: Option<Inlines>,
    pub(crate) passes: Passes,
}

impl ClientBuilder {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, clock: None, config: ClientConfig::default(), inline: None, passes: None }
    }

    pub(super) fn like(client: &Client) -> Self {
        let inner = &client.0;
        Self {
            storage: Arc::clone(&inner.storage),
            clock: Some(Arc::clone(&inner.clock)),
            config: inner.config,
            inline: inner.inline.clone(),
            passes: client.1.clone(),
        }
    }

    /// Refuses calls whose encoded arguments are larger than this many bytes. Default 1 MiB.
    pub fn payload_limit(mut self, bytes: usize) -> Self {
        self.config.payload_limit = bytes;
        self
    }

    /// Warns of calls whose encoded arguments are larger than this many bytes. Default 64 KiB.
    pub fn payload_warning(mut self, bytes: usize) -> Self {
        self.config.payload_warning = bytes;
        self
    }

    /// How long an `enqueue` may take before it gives up with an error, repeats included. Default 5 s.
    pub fn enqueue_timeout(mut self, timeout: Duration) -> Self {
        self.config.enqueue_timeout = timeout;
        self
    }

    /// How long jobs are kept, to be looked at, that this client cancels. Default 1 h.
    pub fn keep_cancelled(mut self, keep: Duration) -> Self {
        self.config.keep_cancelled = keep;
        self
    }

    /// The clock by which this client and its workers wait. Default the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Runs each job at once, inside `enqueue`, with the tasks of the worker that is built on this client, which then
    /// only waits to be stopped. So a program turns to immediate mode by how it connects, and in nothing else. Give it
    /// a storage of its own. See [`Client::immediate`].
    pub fn immediate(mut self) -> Self {
        self.inline.get_or_insert_default();
        self
    }

    /// The client.
    #[must_use]
    pub fn build(self) -> Client {
        Client::assemble(self.storage, self.clock, self.config, self.inline, self.passes)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}
