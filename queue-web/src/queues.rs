//! Queues and workers.

use queue_core::{Counts, Pause, QueueName, QueueOverview, WorkerOverview};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, Reply};
use crate::known;
use crate::route::Kind::{Count, Flag, List, Object, Text};
use crate::route::{Asked, Field, field};
use crate::view;

pub(crate) const STATS: &[Field] =
    &[field("total", Object), field("queues", List), field("dead", Count), field("workers", Object)];
pub(crate) const QUEUES: &[Field] = &[field("queues", List)];
pub(crate) const WORKERS: &[Field] = &[field("workers", List)];
pub(crate) const PAUSED: &[Field] = &[field("queue", Text), field("paused", Flag)];
pub(crate) const QUEUE: &[Field] = &[
    field("name", Text),
    view::COUNTS[0],
    view::COUNTS[1],
    view::COUNTS[2],
    view::COUNTS[3],
    view::COUNTS[4],
    view::COUNTS[5],
    field("paused", Object).or_null(),
    field("paused_tasks", Object),
    field("paused_workers", Object),
    field("revocations", Count),
    field("limit", Count).or_null(),
    field("rate", Object).or_null(),
];

pub(crate) async fn stats(asked: Asked) -> Reply {
    let overview = asked.web.client.overview().await?;
    let mut total = Counts::default();
    overview.queues.iter().for_each(|queue| total.add(&queue.counts));
    let queues: Vec<_> = overview.queues.iter().map(|queue| counted(&queue.name, &queue.counts)).collect();
    let live = || overview.workers.iter().filter(|worker| worker.live);
    let slots: u64 = live().map(|worker| u64::from(worker.record.concurrency)).sum();
    let running: u64 = live().map(|worker| worker.running).sum();
    let workers =
        json!({ "live": live().count(), "known": overview.workers.len(), "slots": slots, "running": running });
    let dead = total.of(queue_core::State::Dead);
    let body = json!({ "total": view::counts(&total), "queues": queues, "dead": dead, "workers": workers });
    Ok(Answer::ok(body))
}

fn counted(name: &QueueName, counts: &Counts) -> Map<String, Value> {
    let mut shown = view::counts(counts);
    shown.insert("name".into(), json!(name.as_str()));
    shown
}

pub(crate) async fn list(asked: Asked) -> Reply {
    let overview = asked.web.client.overview().await?;
    let queues: Vec<_> = overview.queues.iter().map(queue).collect();
    Ok(Answer::ok(json!({ "queues": queues })))
}

pub(crate) async fn one(asked: Asked) -> Reply {
    let name: QueueName = asked.named()?;
    let client = &asked.web.client;
    let overview = client.queue(&name).overview().await?;
    let is_used = overview.counts.enqueued > 0 || client.queues().await?.contains(&name);
    if !is_used && !known::is_expected(client, &name).await? {
        return Err(known::unknown(&name));
    }
    Ok(Answer::ok(queue(&overview)))
}

fn queue(overview: &QueueOverview) -> Value {
    let controls = &overview.controls;
    let mut shown = counted(&overview.name, &overview.counts);
    let tasks: Map<_, _> = controls.tasks.iter().map(|(task, pause)| (task.to_string(), paused(pause))).collect();
    let workers: Map<_, _> = controls.workers.iter().map(|(id, pause)| (id.to_string(), paused(pause))).collect();
    let rate = controls.rate.map(|rate| json!({ "every_seconds": rate.every.as_secs_f64(), "burst": rate.burst }));
    let more = [
        ("paused", controls.queue.as_ref().map(paused).unwrap_or_default()),
        ("paused_tasks", Value::Object(tasks)),
        ("paused_workers", Value::Object(workers)),
        ("revocations", json!(controls.revocations.len())),
        ("limit", json!(controls.slots)),
        ("rate", json!(rate)),
    ];
    shown.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(shown)
}

fn paused(pause: &Pause) -> Value {
    json!({ "since": pause.since.to_string(), "until": pause.until.map(|until| until.to_string()) })
}

pub(crate) async fn pause(asked: Asked) -> Reply {
    let name: QueueName = asked.named()?;
    asked.web.client.queue(&name).pause().await?;
    Ok(Answer::ok(json!({ "queue": name.as_str(), "paused": true })))
}

pub(crate) async fn resume(asked: Asked) -> Reply {
    let name: QueueName = asked.named()?;
    asked.web.client.queue(&name).resume().await?;
    Ok(Answer::ok(json!({ "queue": name.as_str(), "paused": false })))
}

pub(crate) async fn workers(asked: Asked) -> Reply {
    let overview = asked.web.client.overview().await?;
    let workers: Vec<_> = overview.workers.iter().map(worker).collect();
    Ok(Answer::ok(json!({ "workers": workers })))
}

fn worker(worker: &WorkerOverview) -> Value {
    let record = &worker.record;
    let queues: Vec<_> = record.shards.iter().map(|shard| shard.queue.as_str()).collect();
    let tasks: Vec<_> = record.tasks.iter().map(|task| task.as_str()).collect();
    let paused_in: Vec<_> = worker.paused_in.iter().map(|queue| queue.as_str()).collect();
    json!({
        "worker": record.id.to_string(), "host": record.host, "version": record.version, "live": worker.live,
        "queues": queues, "tasks": tasks, "slots": record.concurrency, "running": worker.running, "paused_in": paused_in,
        "started_at": record.started_at.to_string(), "seen_at": record.seen_at.to_string(),
    })
}
