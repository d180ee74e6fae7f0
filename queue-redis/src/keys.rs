//! Every key, and what is in it. `docs/wire-format.md` tells the same to other languages.
//!
//! | key | type | what |
//! |---|---|---|
//! | `<ns>:layout` | string | the layout, `major.minor` |
//! | `<ns>:shards` | set | every shard that was ever written to, as `queue` or `queue#index` |
//! | `<ns>:workers` | hash | worker id → its record |
//! | `<ns>:watch` | string | there while anyone watches: whoever lists a shard marks it then |
//! | `<ns>:{<shard>}:…` | | one shard; the braces keep its keys in one slot of a cluster |
//!
//! The channel `<ns>:news` is none of them: what is sent there is not kept.
//!
//! Of a shard, in the order in which every script gets them:
//!
//! | key | type | what |
//! |---|---|---|
//! | `meta` | hash | counters, the last times, `rules` that people gave, until when it is `watch`ed, `w:` terms and `n:` numbers of workers, `c:` numbers of callers |
//! | `jobs` | hash | id → record: what changes by hand only |
//! | `marks` | hash | id → mark: what has changed, absent while nothing has |
//! | `notes` | hash | `f` + id → failure, `r` + id → result, `h` + id → history, `p` + id → progress, `l` + id → limits |
//! | `ready` | zset | −priority; member sequence + id |
//! | `suspects` | zset | the same for jobs whose last worker vanished |
//! | `parked` | zset | by bytes: task, level, suspect, priority, sequence, id |
//! | `delayed` | zset | due time; member id + priority + number of admission + flags |
//! | `retrying` | zset | the same for jobs whose last attempt failed |
//! | `leased` | zset | end of the lease; member id: these are the running jobs |
//! | `dead` | zset | time of death; member id |
//! | `traces` | zset | end of the keep of completed jobs without a result |
//! | `kept` | zset | end of the keep of all other ended jobs |
//! | `edges` | zset | by bytes: who waits for whom |
//! | `follow` | list | ended jobs whose edges are still to be followed |
//! | `blocks` | hash | ids in the order of admission, up to 63 a field |
//! | `index` | zset | the numbers of the blocks |
//! | `idle` | zset | when each worker and caller last called |
//! | `sleepers` | zset | when workers to wake fell asleep; member ear + worker |
//! | `interest` | hash | id → ears of the processes that wait for its end |
//! | `expiring` | zset | when a job that does not run expires; member id |
//! | `strangers` | zset | since when a job is parked because nobody knows its task; member id |
//! | `slots` | zset | by bytes: key, id of a running job that holds a slot of it |
//! | `blocked` | zset | by bytes: key, priority, sequence, id of a job parked for a slot of it |
//! | `throttled` | zset | the same for jobs parked for its rate |
//! | `windows` | zset | when jobs parked for a rate are looked at next; member key |
//! | `rates` | zset | when all that has started under a rate is paid for; member key |
//! | `unique` | hash | unique key → the job that keeps others out, and until when |
//! | `passing` | zset | until when such a job does, where a time says so; member key |
//! | `outbox` | zset | 0; member sequence + id of a relay whose parcel is to be delivered |
//! | `schedules` | hash | name of a schedule → version, when it is due, data |
//! | `calendar` | zset | by bytes: when each schedule is due and its name; the name of each |

use std::sync::Arc;

use bytes::Bytes;
use queue_storage::model::{Namespace, Shard};

/// The keys of a shard, as scripts get them.
const PARTS: [&str; 32] = [
    "meta",
    "jobs",
    "marks",
    "notes",
    "ready",
    "suspects",
    "parked",
    "delayed",
    "retrying",
    "leased",
    "dead",
    "traces",
    "kept",
    "edges",
    "follow",
    "blocks",
    "index",
    "idle",
    "sleepers",
    "interest",
    "expiring",
    "strangers",
    "slots",
    "blocked",
    "throttled",
    "windows",
    "rates",
    "unique",
    "passing",
    "outbox",
    "schedules",
    "calendar",
];

/// The keys that no shard owns.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    namespace: Namespace,
}

impl Keys {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self { namespace }
    }

    pub(crate) fn layout(&self) -> Bytes {
        format!("{}:layout", self.namespace).into()
    }

    pub(crate) fn shards(&self) -> Bytes {
        format!("{}:shards", self.namespace).into()
    }

    pub(crate) fn workers(&self) -> Bytes {
        format!("{}:workers", self.namespace).into()
    }

    /// There while anyone watches.
    pub(crate) fn watch(&self) -> Bytes {
        format!("{}:watch", self.namespace).into()
    }

    /// The channel on which everyone who watches hears news.
    pub(crate) fn news(&self) -> String {
        format!("{}:news", self.namespace)
    }

    pub(crate) fn of(&self, shard: &Shard) -> ShardKeys {
        let prefix = format!("{}:{{{shard}}}:", self.namespace);
        let all = PARTS.iter().map(|part| Bytes::from(format!("{prefix}{part}"))).collect();
        ShardKeys { prefix: prefix.into(), all }
    }
}

/// The keys of one shard.
#[derive(Clone, Debug)]
pub(crate) struct ShardKeys {
    prefix: Arc<str>,
    all: Arc<[Bytes]>,
}

impl ShardKeys {
    /// All of them, in the order of the scripts.
    pub(crate) fn all(&self) -> &[Bytes] {
        &self.all
    }

    pub(crate) fn meta(&self) -> Bytes {
        self.all[0].clone()
    }

    pub(crate) fn idle(&self) -> Bytes {
        self.all[17].clone()
    }

    /// The channel on which a process hears what concerns this shard.
    pub(crate) fn channel(&self, ear: &str) -> String {
        format!("{}ear:{ear}", self.prefix)
    }
}

/// The shard of a member of the set of shards.
pub(crate) fn shard(member: &str) -> Option<Shard> {
    let (queue, index) = match member.rsplit_once('#') {
        Some((queue, index)) => (queue, index.parse().ok()?),
        None => (member, 0),
    };
    Some(Shard { queue: queue.parse().ok()?, index })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_slot_and_namespaces_are_apart() {
        let keys = Keys::new("shop".parse().unwrap());
        let mail = Shard::of("mail".parse().unwrap());
        let third = Shard { index: 3, ..mail.clone() };
        assert_eq!(keys.of(&mail).meta(), "shop:{mail}:meta");
        assert_eq!(keys.of(&mail).idle(), "shop:{mail}:idle");
        assert_eq!(keys.of(&third).channel("E"), "shop:{mail#3}:ear:E");
        assert_eq!([shard("mail"), shard("mail#3")], [Some(mail), Some(third)]);
        assert_eq!(shard("mail#x"), None);
    }
}
