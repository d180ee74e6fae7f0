//! The shards a worker serves, from the queues that it was told.

use queue_storage::model::{QueueName, Shard};

/// A shard a worker serves, and its share.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) shard: Shard,
    pub(super) tier: usize,
    pub(super) weight: u32,
}

/// The shards to serve: each strict queue is a tier of its own, weighted ones named in a row share one.
pub(super) fn lines(queues: &[(String, Option<u32>)], problems: &mut Vec<String>) -> Vec<Line> {
    let default = [("default".to_owned(), None)];
    let queues = if queues.is_empty() { &default[..] } else { queues };
    let mut lines: Vec<Line> = Vec::new();
    let (mut tier, mut weighted) = (0, false);
    for (name, weight) in queues {
        let queue = match QueueName::new(name) {
            Ok(queue) => queue,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        if lines.iter().any(|line| line.shard.queue == queue) {
            problems.push(format!("queue `{queue}` is named twice"));
        }
        if *weight == Some(0) {
            problems.push(format!("queue `{queue}` has weight 0: it would never be served; give it at least 1"));
        }
        if !(lines.is_empty() || weighted && weight.is_some()) {
            tier += 1;
        }
        weighted = weight.is_some();
        lines.push(Line { shard: Shard::of(queue), tier, weight: weight.unwrap_or(1).max(1) });
    }
    lines
}
