//! What ties a job to others, to and from bytes: whom it waits for, for what of them, and what it is in its flow.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use queue_storage::model::{JobId, NewJob, Node, Trigger};

use crate::keys;
use crate::record::{micros, put_short, take_short};

/// Of how many jobs a record's ties tell.
const COUNT: u16 = 0xfff;

/// Whether a job has any.
pub(crate) fn are_there(job: &NewJob) -> bool {
    !job.waits_for.is_empty() || !job.node.is_task() || job.trigger != Trigger::Completed
}

/// What a job waits for and what it is in its flow: in two bits the trigger, in two the node, and in twelve how many jobs it
/// waits for; their ids; and what the node has.
pub(crate) fn put(out: &mut Vec<u8>, job: &NewJob) {
    let trigger = match job.trigger {
        Trigger::Ended => 1,
        Trigger::Failed => 2,
        _ => 0,
    };
    let node = match job.node {
        Node::Gather { .. } => 1,
        Node::Hold => 2,
        Node::Relay { .. } => 3,
        _ => 0,
    };
    out.put_u16(trigger << 14 | node << 12 | u16::try_from(job.waits_for.len()).unwrap_or(u16::MAX) & COUNT);
    job.waits_for.iter().for_each(|id| out.put_u128(id.as_u128()));
    match &job.node {
        Node::Gather { keep } => out.put_u64(micros(*keep)),
        Node::Relay { shard, to } => {
            put_short(out, &shard.to_string());
            out.put_u128(to.as_u128());
        }
        _ => {}
    }
}

/// What ties a job to others.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Ties {
    pub(crate) waits_for: Vec<JobId>,
    pub(crate) trigger: Trigger,
    pub(crate) node: Node,
}

/// Takes them off a record.
pub(crate) fn take(record: &mut Bytes) -> Option<Ties> {
    let bits = record.try_get_u16().ok()?;
    let waits_for =
        (0..bits & COUNT).map(|_| record.try_get_u128().ok().map(JobId::from_u128)).collect::<Option<_>>()?;
    let trigger = *[Trigger::Completed, Trigger::Ended, Trigger::Failed].get(usize::from(bits >> 14))?;
    let node = match bits >> 12 & 3 {
        0 => Node::Task,
        1 => Node::Gather { keep: Duration::from_micros(record.try_get_u64().ok()?) },
        2 => Node::Hold,
        _ => {
            let shard = keys::shard(&take_short(record)?)?;
            Node::Relay { shard, to: JobId::from_u128(record.try_get_u128().ok()?) }
        }
    };
    Some(Ties { waits_for, trigger, node })
}

#[cfg(test)]
mod tests {
    use queue_storage::model::Shard;

    use super::*;

    /// A job of each trigger and each node, and its ties.
    fn all() -> Vec<(NewJob, Ties)> {
        let there = Shard { queue: "there".parse().unwrap(), index: 3 };
        let keep = Duration::from_micros(7);
        let relay = Node::Relay { to: JobId::new(&there), shard: there.clone() };
        let mut all = Vec::new();
        for trigger in [Trigger::Completed, Trigger::Ended, Trigger::Failed] {
            for (node, count) in [(Node::Task, 0), (Node::Gather { keep }, 1_000), (Node::Hold, 0), (relay.clone(), 1)]
            {
                let waits_for: Vec<_> = (1..=count).map(JobId::from_u128).collect();
                let ties = Ties { waits_for: waits_for.clone(), trigger, node: node.clone() };
                let mut job = NewJob::new(JobId::new(&there), "t".parse().unwrap(), Bytes::new());
                (job.waits_for, job.trigger, job.node) = (waits_for, trigger, node);
                all.push((job, ties));
            }
        }
        all
    }

    #[test]
    fn ties_are_read_as_they_were_written() {
        for (at, (job, ties)) in all().into_iter().enumerate() {
            assert_eq!(are_there(&job), at > 0, "a plain job has none");
            let mut out = Vec::new();
            put(&mut out, &job);
            let mut bytes = Bytes::from([&out[..], b"rest"].concat());
            assert_eq!((take(&mut bytes), &bytes[..]), (Some(ties), &b"rest"[..]));
            for length in 0..out.len() {
                assert_eq!(take(&mut Bytes::copy_from_slice(&out[..length])), None);
            }
        }
    }
}
