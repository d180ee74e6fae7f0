//! What probes ask.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use queue_core::{Counts, QueueName, StorageError};
use serde_json::{Value, json};

use crate::answer::{Answer, Reply};
use crate::known;
use crate::problem::Problem;
use crate::route::Kind::{Count, Text};
use crate::route::{Asked, Field, field};
use crate::view::scheduled;
use crate::web::Web;

/// The guide's words for too many pending jobs.
const BACKLOG: &str = "Queue backlog too large";

/// How many queues are asked about at once: of thousands one by one there would be no answer in time.
const AT_ONCE: usize = 16;

pub(crate) const STATUS: &[Field] = &[field("status", Text)];
pub(crate) const UNREADY: &[Field] = &[field("status", Text), field("reason", Text)];
pub(crate) const TASKS: &[Field] =
    &[field("status", Text), field("pending_tasks", Count), field("scheduled_tasks", Count)];
pub(crate) const TASKS_UNHEALTHY: &[Field] = &[
    field("status", Text),
    field("reason", Text),
    field("pending_tasks", Count).optional(),
    field("scheduled_tasks", Count).optional(),
];
pub(crate) const QUEUE: &[Field] = &[field("status", Text), field("pending", Count), field("scheduled", Count)];
pub(crate) const QUEUE_UNHEALTHY: &[Field] = &[
    field("status", Text),
    field("reason", Text),
    field("pending", Count).optional(),
    field("scheduled", Count).optional(),
];

/// The process answers. It asks nobody else: a storage that is away is no reason to start this process again.
pub(crate) async fn alive(_: Asked) -> Reply {
    Ok(Answer::ok(json!({ "status": "alive" })))
}

pub(crate) async fn ready(asked: Asked) -> Reply {
    let web = &asked.web;
    let checked = web.settings.checks.iter().try_for_each(|check| check());
    let ready = match checked {
        Ok(()) => in_time(web, web.client.ping()).await,
        Err(reason) => Err(reason),
    };
    Ok(match ready {
        Ok(()) => Answer::ok(json!({ "status": "ready" })),
        Err(reason) => unwell(json!({ "status": "unready", "reason": reason })),
    })
}

pub(crate) async fn tasks(asked: Asked) -> Reply {
    health(asked, "pending_tasks", "scheduled_tasks").await
}

pub(crate) async fn queue(asked: Asked) -> Reply {
    health(asked, "pending", "scheduled").await
}

async fn health(asked: Asked, pending: &str, scheduled_name: &str) -> Reply {
    let web = &asked.web;
    let only = asked.query.queue()?;
    let counts = match in_time(web, totals(web, only.as_ref())).await {
        Ok(counts) => counts?,
        Err(reason) => return Ok(unwell(json!({ "status": "unhealthy", "reason": reason }))),
    };
    let numbers = [(pending, counts.pending()), (scheduled_name, scheduled(&counts))];
    let with = |mut body: Value| {
        numbers.iter().for_each(|(name, number)| body[*name] = json!(number));
        body
    };
    Ok(match counts.pending() > web.settings.health_limit {
        true => unwell(with(json!({ "status": "unhealthy", "reason": BACKLOG }))),
        false => Answer::ok(with(json!({ "status": "healthy" }))),
    })
}

fn unwell(body: Value) -> Answer {
    Answer::Json(StatusCode::SERVICE_UNAVAILABLE, body)
}

/// The counts of a queue that somebody knows, or of all together.
async fn totals(web: &Web, only: Option<&QueueName>) -> Result<Result<Counts, Problem>, StorageError> {
    let storage = web.client.storage();
    let mut shards = storage.shards().await?;
    if let Some(queue) = only {
        shards.retain(|shard| shard.queue == *queue);
        if shards.is_empty() && !known::is_expected(&web.client, queue).await? {
            return Ok(Err(known::unknown(queue)));
        }
    }
    let asked = shards.into_iter().map(|shard| async move { storage.counts(&shard).await });
    let mut told = stream::iter(asked).buffer_unordered(AT_ONCE);
    let mut counts = Counts::default();
    while let Some(one) = told.try_next().await? {
        counts.add(&one);
    }
    Ok(Ok(counts))
}

/// What the storage says, or why it says nothing; where it is, the log tells.
async fn in_time<T>(web: &Web, asking: impl Future<Output = Result<T, StorageError>>) -> Result<T, String> {
    let patience = web.settings.health_timeout;
    match tokio::time::timeout(patience, asking).await {
        Ok(answer) => answer.map_err(|error| Problem::from(error).without_place(&web.client.location()).message),
        Err(_) => {
            tracing::warn!(storage = web.client.location(), ?patience, "the storage does not answer");
            Err(format!("the storage does not answer: timed out after {patience:?}"))
        }
    }
}
