//! What a job is in its flow and what it waits for, as bytes: a byte for which of them, and what that has.

use std::time::Duration;

use queue_storage::model::{JobId, Node, Shard, Trigger};
use queue_storage::storage::StorageError;

use crate::error::{Error, Result};
use crate::job::cells::{duration, id_bytes, job_id, length};

const ENDED: u8 = 1;
const FAILED: u8 = 2;

const GATHER: u8 = 1;
const HOLD: u8 = 2;
const RELAY: u8 = 3;

/// What the job of this id waits for in others, unless it is that they complete.
pub(crate) fn trigger_bytes(id: JobId, trigger: Trigger) -> Result<[u8; 1]> {
    match trigger {
        Trigger::Ended => Ok([ENDED]),
        Trigger::Failed => Ok([FAILED]),
        other => Err(too_old(id, &format_args!("the trigger {other:?}"))),
    }
}

pub(crate) fn trigger(bytes: &[u8]) -> Option<Trigger> {
    match bytes {
        [ENDED] => Some(Trigger::Ended),
        [FAILED] => Some(Trigger::Failed),
        _ => None,
    }
}

/// What the job of this id is that is no task's: of a gather how long it is kept; of a relay the index of its shard, two
/// bytes, the hold, and the shard's queue.
pub(crate) fn bytes(id: JobId, node: &Node) -> Result<Vec<u8>> {
    match node {
        Node::Gather { keep } => Ok([&[GATHER], &length(*keep).to_be_bytes()[..]].concat()),
        Node::Hold => Ok(vec![HOLD]),
        Node::Relay { shard, to } => {
            Ok([&[RELAY], &shard.index.to_be_bytes()[..], &id_bytes(*to), shard.queue.as_str().as_bytes()].concat())
        }
        other => Err(too_old(id, &format_args!("the node {other:?}"))),
    }
}

pub(crate) fn node(bytes: &[u8]) -> Option<Node> {
    match bytes {
        [GATHER, keep @ ..] => Some(Node::Gather { keep: kept(i64::from_be_bytes(keep.try_into().ok()?)) }),
        [HOLD] => Some(Node::Hold),
        [RELAY, high, low, rest @ ..] => {
            let (to, queue) = rest.split_at_checked(16)?;
            let queue = std::str::from_utf8(queue).ok()?.parse().ok()?;
            let shard = Shard { queue, index: u16::from_be_bytes([*high, *low]) };
            Some(Node::Relay { shard, to: job_id(to).ok()? })
        }
        _ => None,
    }
}

/// A length of time that was stored; the longest there is stands for all that are longer.
fn kept(micros: i64) -> Duration {
    if micros == i64::MAX { Duration::MAX } else { duration(micros) }
}

fn too_old(id: JobId, what: &dyn std::fmt::Display) -> Error {
    Error::Refused(StorageError::invalid(format!("job {id}: this storage is too old for {what}")))
}
