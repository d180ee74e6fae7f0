//! Redis does what the reference in memory does, whatever is asked of both.
//!
//! Not compared: which suspects that fit nobody were parked, whether suspects are left where the claim was full.

use std::time::Duration;

use queue_redis::{RedisOptions, RedisStorage};
use queue_storage::conformance::{Leeway, Turn, Twin, twins};
use queue_storage::model::{Job, Namespace, Shard};
use queue_storage::storage::{Counts, Exchanged, Storage};

use crate::consistent::consistent;
use crate::kit::namespace;

struct RedisTwin {
    namespace: Namespace,
    storage: RedisStorage,
}

impl RedisTwin {
    fn has_to_follow(&self, shard: &Shard) -> bool {
        let key = format!("{}:{{{shard}}}:follow", self.namespace);
        queue_servers::shared().cli(&["EXISTS", &key]) == "1"
    }
}

impl Twin for RedisTwin {
    fn storage(&self) -> &dyn Storage {
        &self.storage
    }

    fn leeway(&self) -> Leeway {
        let mut leeway = Leeway::default();
        (leeway.follows_later, leeway.parks_early) = (true, true);
        leeway
    }

    fn plain(&self, mut job: Job) -> Job {
        if job.suspect {
            (job.parked, job.parked_at) = (None, None);
        }
        job.sequence = job.sequence.map(|_| 0);
        job
    }

    fn plain_counts(&self, counts: Counts) -> Counts {
        // Who is parked is not in line.
        Counts { parked: 0, oldest: None, ..counts }
    }

    fn level(&self, turn: &Turn<'_>, answer: &mut Exchanged, expected: &mut Exchanged) {
        assert!(turn.again || answer.suspects_left || !expected.suspects_left, "{:#?}", turn.call);
        answer.parked.clear();
        expected.parked.clear();
        // What comes due at the same time does in any order.
        answer.upkept.sort_unstable();
        expected.upkept.sort_unstable();
        let want = turn.call.want as usize;
        if turn.again || want == 0 || answer.claimed.len() == want {
            (answer.suspects_left, expected.suspects_left) = (false, false);
        }
        // Edges are followed to those that an ended job waited for, too, and the bound may be met by them.
        if answer.look_again == Some(Duration::ZERO) && self.has_to_follow(&turn.call.shard) {
            (answer.look_again, expected.look_again) = (None, None);
        }
    }

    fn check(&self, ids_return: bool) {
        // Blocks keep the ids of the pruned, which this reads as jobs once they are back.
        if !ids_return {
            consistent(&[queue_servers::shared()], &self.namespace);
        }
    }
}

#[tokio::test]
async fn redis_does_what_memory_does() {
    twins(async |clock| {
        let namespace = namespace();
        let options = RedisOptions::from_url(&queue_servers::shared().url()).unwrap().clock(clock);
        RedisTwin { storage: options.namespace(namespace.clone()).connect().await.unwrap(), namespace }
    })
    .await;
}
