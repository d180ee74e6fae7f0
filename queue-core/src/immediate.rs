//! Immediate mode: `enqueue` runs the job at once, with the same executor a worker uses.

use queue_storage::model::{JobId, Shard};

use crate::client::Client;

/// The tasks an immediate client runs, once a worker is built on it.
#[derive(Debug, Default)]
pub(crate) struct Immediate {}

impl Immediate {
    pub(crate) async fn run(&self, _client: &Client, _shard: &Shard, _ids: &[JobId]) -> Result<(), String> {
        Ok(())
    }
}
