//! Every kind of call, each with something to do, and what must have come of it however often it was made.

use std::sync::Arc;

use queue_redis::{RedisOptions, RedisStorage};
use queue_servers::Redis;
use queue_storage::model::{Input, JobId, Lease, Namespace, Node, Shard, State, Trigger};
use queue_storage::storage::{
    Act, Claim, Control, Enqueue, EnqueueCall, Exchange, JobQuery, Lookup, Maintain, Notify, Operate, Receipt, Renewal,
    Renewed, Retention, ScheduleChange, ScheduleQuery, Scope, Storage, StorageError, WorkerRecord,
};

use crate::consistent::all_is_well;
use crate::kit::{Caller, Hand, KEEP, insist, job_in, jobs, mail, namespace, options, shard};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Enqueue,
    Exchange,
    Renew,
    Register,
    Deregister,
    Prune,
    Outbox,
    Deliver,
    Tick,
    Act,
    Control,
    Controls,
    Usage,
    Schedules,
    Get,
    Inputs,
    List,
    Counts,
    Shards,
    Workers,
    Ping,
    Watch,
    Announce,
}

pub(crate) const KINDS: [Kind; 23] = [
    Kind::Enqueue,
    Kind::Exchange,
    Kind::Renew,
    Kind::Register,
    Kind::Deregister,
    Kind::Prune,
    Kind::Outbox,
    Kind::Deliver,
    Kind::Tick,
    Kind::Act,
    Kind::Control,
    Kind::Controls,
    Kind::Usage,
    Kind::Schedules,
    Kind::Get,
    Kind::Inputs,
    Kind::List,
    Kind::Counts,
    Kind::Shards,
    Kind::Workers,
    Kind::Ping,
    Kind::Watch,
    Kind::Announce,
];

/// A queue in which three jobs have ended, three run and five are ready, and beside it one with a schedule, a hold and a
/// relay that has something to deliver; and one call of each kind, not made yet.
pub(crate) struct Scene {
    pub(crate) namespace: Namespace,
    pub(crate) storage: Arc<RedisStorage>,
    /// By the straight way: what came of the call is looked at by it.
    straight: RedisStorage,
    enqueue: EnqueueCall,
    exchange: Exchange,
    renewal: Renewal,
    newcomer: WorkerRecord,
    leaver: WorkerRecord,
    ended: JobId,
    ready: JobId,
    hold: JobId,
    relay: Receipt,
    tick: ScheduleChange,
}

fn side() -> Shard {
    shard("side")
}

/// A hold, and a relay that is reached at once.
async fn flow(storage: &RedisStorage) -> (JobId, Receipt) {
    let [mut gather, mut hold, mut relay] = [(); 3].map(|()| job_in(&side()));
    gather.node = Node::Gather { keep: KEEP };
    hold.node = Node::Hold;
    (relay.trigger, relay.waits_for) = (Trigger::Ended, vec![gather.id]);
    relay.node = Node::Relay { shard: side(), to: hold.id };
    let hold_id = hold.id;
    Caller::of(side()).enqueue(storage, vec![gather, hold, relay]).await;
    (hold_id, storage.outbox(&side(), &[]).await.unwrap().parcels[0].receipt())
}

/// Stores a schedule; the change of it that brings a job.
async fn schedule(storage: &RedisStorage) -> ScheduleChange {
    let name = "nightly".parse().unwrap();
    let stores = ScheduleChange::new(name, None, Some((None, "first".into())));
    storage.tick(&side(), std::slice::from_ref(&stores)).await.unwrap();
    let page = storage.schedules(&side(), &ScheduleQuery::After(None, 0)).await.unwrap();
    let mut change = stores;
    (change.version, change.to) = (Some(page.schedules[0].version), Some((None, "second".into())));
    change.jobs = vec![job_in(&side())];
    change
}

impl Scene {
    /// Prepared by the straight way; calls go by the other, which may be troubled from then on.
    pub(crate) async fn set(straight: &str, by: &str) -> Self {
        Self::with(straight, options(by)).await
    }

    pub(crate) async fn with(straight: &str, by: RedisOptions) -> Self {
        let namespace = namespace();
        // Whoever gives calls up soon may give up those of a connect.
        let by = by.namespace(namespace.clone());
        let storage = Arc::new(insist(|| by.clone().connect()).await);
        let straight = options(straight).namespace(namespace.clone()).connect().await.unwrap();
        let mut caller = Caller::new();
        let ids = caller.enqueue(&straight, jobs(11)).await;
        let mut hand = Hand::new(&straight).await;
        hand.exchange(&straight, 3).await;
        hand.exchange(&straight, 3).await;
        let renewal = Renewal { worker: hand.id, shard: mail(), leases: hand.leases(), progress: Vec::new() };
        let leaver = Hand::new(&straight).await.record();
        let (hold, relay) = flow(&straight).await;
        let tick = schedule(&straight).await;
        Self {
            namespace,
            storage,
            straight,
            enqueue: caller.call(jobs(2)),
            exchange: hand.call(3),
            renewal,
            newcomer: Hand::stranger(mail()).record(),
            leaver,
            ended: ids[0],
            ready: ids[10],
            hold,
            relay,
            tick,
        }
    }

    /// Makes the call; what it answered, as far as a repeat must answer the same.
    pub(crate) async fn call(&self, kind: Kind) -> Result<String, StorageError> {
        let storage = &*self.storage;
        Ok(match kind {
            Kind::Enqueue => format!("{:?}", storage.enqueue(self.enqueue.clone()).await?),
            Kind::Exchange => {
                let answer = storage.exchange(self.exchange.clone()).await?;
                let claims: Vec<_> = answer.claimed.iter().map(|one| (one.job.id, one.fence)).collect();
                format!("{:?} {claims:?}", answer.settled)
            }
            Kind::Renew => format!("{:?}", storage.renew(self.renewal.clone()).await?),
            Kind::Register => format!("{:?}", storage.register(self.newcomer.clone()).await?),
            Kind::Deregister => format!("{:?}", storage.deregister(self.leaver.id).await?),
            Kind::Prune => storage
                .prune(&mail(), Retention { traces: 0, dead: 0, ..Retention::default() })
                .await
                .map(|_| String::new())?,
            Kind::Outbox => format!("{:?}", storage.outbox(&side(), &[self.relay]).await?),
            Kind::Deliver => format!("{:?}", storage.deliver(&side(), &[(self.hold, Input::Nothing)]).await?),
            Kind::Tick => {
                let change = std::slice::from_ref(&self.tick);
                storage.tick(&side(), change).await.map(|_| String::new())?
            }
            Kind::Act => {
                storage.act(&mail(), &[self.ready], &Act::Cancel { keep: KEEP }).await.map(|_| String::new())?
            }
            Kind::Control => {
                let pause = Control::Pause(Scope::Queue, None);
                storage.control(&mail(), &pause).await.map(|_| String::new())?
            }
            Kind::Controls => format!("{:?}", storage.controls(&mail()).await?),
            Kind::Usage => format!("{:?}", storage.usage(&mail(), &"k".parse().unwrap()).await?),
            Kind::Schedules => {
                let query = ScheduleQuery::Named(vec![self.tick.name.clone()]);
                format!("{:?}", storage.schedules(&side(), &query).await?.schedules)
            }
            Kind::Get => format!("{:?}", storage.get(self.ended).await?),
            Kind::Inputs => format!("{:?}", storage.inputs(self.relay.relay).await?),
            Kind::List => format!("{:?}", storage.list(&JobQuery::default()).await?),
            Kind::Counts => {
                let mut counts = storage.counts(&mail()).await?;
                // Time passes.
                counts.oldest = None;
                format!("{counts:?}")
            }
            Kind::Shards => format!("{:?}", storage.shards().await?),
            Kind::Workers => format!("{:?}", storage.workers().await?),
            Kind::Ping => format!("{:?}", storage.ping().await?),
            Kind::Watch => storage.watch().await.map(|_| String::new())?,
            Kind::Announce => format!("{:?}", storage.announce("news".into()).await?),
        })
    }

    /// The call has been answered: it was carried out, and once.
    pub(crate) async fn done_once(&self, kind: Kind, nodes: &[&Redis], answer: &str) {
        assert_eq!(insist(|| self.call(kind)).await, answer, "{kind:?} answers otherwise when it is made again");
        let counts = self.straight.counts(&mail()).await.unwrap();
        let workers: Vec<_> = self.straight.workers().await.unwrap().into_iter().map(|worker| worker.id).collect();
        let settled = if kind == Kind::Exchange { 3 } else { 0 };
        assert_eq!(counts.enqueued, if kind == Kind::Enqueue { 13 } else { 11 }, "{kind:?}: {counts:?}");
        assert_eq!(counts.ended.completed, 3 + settled, "{kind:?}: {counts:?}");
        assert_eq!(counts.of(State::Running), 3, "{kind:?}: {counts:?}");
        assert_eq!(counts.ended.cancelled, u64::from(kind == Kind::Act), "{kind:?}: {counts:?}");
        let controls = self.straight.controls(&mail()).await.unwrap();
        assert_eq!(controls.queue.is_some(), kind == Kind::Control, "{kind:?}");
        assert_eq!(counts.of(State::Completed), if kind == Kind::Prune { 0 } else { 3 + settled }, "{kind:?}");
        assert_eq!(workers.contains(&self.newcomer.id), kind == Kind::Register, "{kind:?}");
        assert_eq!(workers.contains(&self.leaver.id), kind != Kind::Deregister, "{kind:?}");
        let counts = self.straight.counts(&side()).await.unwrap();
        assert_eq!(counts.enqueued, 3 + u64::from(kind == Kind::Tick), "{kind:?}: {counts:?}");
        let beside = counts.ended.completed;
        assert_eq!(beside, 1 + u64::from(kind == Kind::Outbox || kind == Kind::Deliver), "{kind:?}");
        self.held_once(kind, answer).await;
        all_is_well(&self.straight, nodes, &self.namespace).await;
    }

    /// What runs is held as it was told, and was never taken back.
    async fn held_once(&self, kind: Kind, answer: &str) {
        let jobs = self.straight.list(&JobQuery::default()).await.unwrap().jobs;
        assert!(jobs.iter().all(|job| job.lapses == 0 && job.crashes == 0), "{kind:?}: {jobs:?}");
        let running = jobs.iter().filter_map(|job| job.lease.map(|lease| (job.id, lease)));
        let leases: Vec<(JobId, Lease)> = running.collect();
        let held: Vec<_> = leases.iter().map(|(id, lease)| (*id, lease.fence)).collect();
        match kind {
            Kind::Exchange => assert!(answer.ends_with(&format!("{held:?}")), "{answer}, and holds {held:?}"),
            _ => assert_eq!(held, self.renewal.leases, "{kind:?}"),
        }
        if kind == Kind::Renew {
            assert_eq!(answer, format!("{:?}", [Renewed::Held; 3]));
            assert!(leases.iter().all(|(_, lease)| lease.delivered));
        }
        let found = self.straight.get(self.ended).await.unwrap();
        assert_eq!(matches!(found, Lookup::Found(_)), kind != Kind::Prune, "{found:?}");
    }
}
