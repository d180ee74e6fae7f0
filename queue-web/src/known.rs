//! Which queues there are.

use http::StatusCode;
use queue_core::{Client, Controls, QueueName, StorageError};

use crate::problem::Problem;

/// Whether a queue that has never taken anything in is one all the same: a worker serves it, or it is paused or limited.
pub(crate) async fn is_expected(client: &Client, queue: &QueueName) -> Result<bool, StorageError> {
    let serves = |worker: &queue_core::WorkerRecord| worker.shards.iter().any(|shard| shard.queue == *queue);
    if client.workers().await?.iter().any(serves) {
        return Ok(true);
    }
    Ok(client.queue(queue).overview().await?.controls != Controls::default())
}

/// Nobody knows this queue.
pub(crate) fn unknown(queue: &QueueName) -> Problem {
    let message = format!("no queue `{queue}` was ever used, and no worker serves it");
    Problem::new(StatusCode::NOT_FOUND, "unknown", message, "check the name; `/queues` lists those that were used")
}
