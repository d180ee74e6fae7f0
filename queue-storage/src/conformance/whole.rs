//! The storage as a whole: closing, opening anew, namespaces, runtimes, dropped calls.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::actors::{TestCaller, TestWorker, ids, settled};
use super::check::all_jobs;
use super::stage::{DAY, HOUR, MINUTE, Stage, cancel, completed, died, retry_in, returned, tag};
use crate::model::{NewJob, Progress, Shard, State, When};
use crate::storage::{
    Acted, Admission, Control, Controls, JobQuery, Lookup, Renewed, Retention, Scope, SettleAnswer, Storage,
    StorageError,
};

/// An open storage answers, and says where it is.
pub(super) async fn it_answers(stage: &Stage) {
    stage.storage().ping().await.unwrap();
    assert!(!stage.storage().location().is_empty());
    assert!(!format!("{:?}", stage.storage()).is_empty());
}

/// A closed storage refuses every call as unavailable, and closing twice is closing once.
pub(super) async fn a_closed_storage_refuses(stage: &Stage) {
    let [id] = stage.enqueue([stage.job()]).await;
    let (mut worker, mut caller) = (stage.worker().await, stage.caller());
    let run = worker.claim_one().await;
    stage.close().await;
    stage.close().await;
    let storage = stage.storage();
    let (call, renewal) = (caller.next(vec![stage.job()]), worker.renewal(vec![(id, run.fence)]));
    let exchange = worker.next(vec![], 1, 1);
    let refusals: Vec<Option<StorageError>> = vec![
        storage.ping().await.err(),
        caller.make(call).await.err(),
        storage.register(worker.record.clone()).await.err(),
        storage.deregister(worker.id()).await.err(),
        worker.make(exchange).await.err(),
        storage.renew(renewal).await.err(),
        storage.prune(stage.shard(), Retention::default()).await.err(),
        storage.outbox(stage.shard(), &[]).await.err(),
        storage.deliver(stage.shard(), &[]).await.err(),
        storage.get(id).await.err(),
        storage.inputs(id).await.err(),
        storage.list(&JobQuery::default()).await.err(),
        storage.act(stage.shard(), &[id], &cancel()).await.err(),
        storage.control(stage.shard(), &Control::Pause(Scope::Queue, None)).await.err(),
        storage.controls(stage.shard()).await.err(),
        storage.counts(stage.shard()).await.err(),
        storage.shards().await.err(),
        storage.workers().await.err(),
    ];
    for (at, refusal) in refusals.into_iter().enumerate() {
        assert!(refusal.is_some_and(|error| error.is_unavailable()), "call {at} of a closed storage");
    }
}

/// A worker and a client as they were, at a storage that was opened anew.
fn at(storage: &Arc<dyn Storage>, worker: &TestWorker, caller: &TestCaller) -> (TestWorker, TestCaller) {
    let (mut worker, mut caller) = (worker.clone(), caller.clone());
    worker.storage = storage.clone();
    caller.storage = storage.clone();
    (worker, caller)
}

/// A storage that is opened anew knows everything: jobs, counts, workers, and the last answer of each number.
pub(super) async fn opened_anew_it_knows_everything(stage: &Stage) {
    let (mut worker, mut caller) = (stage.worker().await, stage.caller());
    let admitted = caller.enqueue(vec![stage.job(), stage.job_of("s"), stage.job_at(When::In(HOUR))]).await;
    stage.enqueue_many(3).await;
    worker.run_one(returned(b"kept", HOUR)).await;
    let run = worker.claim_one().await;
    let last = worker.exchange(vec![settled(&run, retry_in(HOUR))], 1, 1).await;
    let before = all_jobs(&**stage.storage()).await;
    let (counts, workers) = (stage.counts().await, stage.storage().workers().await.unwrap());
    let Some(stage) = stage.reopen().await else { return };
    assert_eq!(all_jobs(&**stage.storage()).await, before);
    assert_eq!((stage.counts().await, stage.storage().workers().await.unwrap()), (counts, workers));
    let (mut worker, caller) = at(stage.storage(), &worker, &caller);
    assert_eq!(caller.repeat().await, admitted);
    let again = worker.repeat().await;
    assert_eq!((again.settled, ids(&again.claimed)), (last.settled, ids(&last.claimed)));
    worker.complete_all(&again.claimed).await;
    stage.end().await;
}

/// A storage that is opened anew goes on: edges still noted are followed, places and fences rise, leases run out.
pub(super) async fn opened_anew_it_goes_on(stage: &Stage) {
    let mut worker = stage.worker().await;
    let [first] = stage.enqueue([stage.job_with(1)]).await;
    let waiting = stage.enqueue_all((0..250).map(|_| stage.job_after([first])).collect()).await;
    worker.run_one(completed()).await;
    let run = worker.claim_one().await;
    let caller = stage.caller();
    let Some(stage) = stage.reopen().await else { return };
    let (mut worker, _) = at(stage.storage(), &worker, &caller);
    let [last] = stage.enqueue([stage.job_with(-1)]).await;
    let mut claimed = ids(std::slice::from_ref(&run));
    while claimed.len() < 251 {
        let runs = worker.claim(100).await;
        assert!(runs.iter().all(|next| next.fence > run.fence));
        claimed.extend(ids(&runs));
        worker.complete_all(&runs).await;
    }
    assert_eq!(claimed.pop(), Some(last));
    assert_eq!(BTreeSet::from_iter(claimed), BTreeSet::from_iter(waiting));
    stage.run_out(&mut stage.worker_of(&[]).await).await;
    assert_eq!(stage.get(run.job.id).await.crashes, 1);
    stage.end().await;
}

/// A storage that is opened anew ends what is to end, and remembers runs, tags, the dead in their order, and strangers.
pub(super) async fn opened_anew_it_ends_what_is_to_end(stage: &Stage) {
    let when = |delay| Some(When::In(delay));
    let limited = NewJob { deadline: when(HOUR), tags: vec![tag("a")], ..stage.job() };
    let expiring = NewJob { expires: when(HOUR), priority: -1, ..stage.job() };
    let [limited, first, last, expiring] = stage.enqueue([limited, stage.job(), stage.job(), expiring]).await;
    let [strange] = stage.enqueue([NewJob { priority: 1, ..stage.job_of("strange") }]).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    worker.tell(&run, Progress::new(1, 2, "half")).await;
    worker.finish(&run, retry_in(DAY)).await;
    for _ in [first, last] {
        stage.advance(MINUTE).await;
        worker.run_one(died()).await;
    }
    let Some(stage) = stage.reopen().await else { return };
    let job = stage.get(limited).await;
    assert_eq!((job.tags, job.history.len(), job.progress), (vec![tag("a")], 1, Some(Progress::new(1, 2, "half"))));
    let query = JobQuery { state: Some(State::Dead), ..JobQuery::default() };
    let dead = stage.storage().list(&query).await.unwrap().jobs;
    assert_eq!(dead.iter().map(|job| job.id).collect::<Vec<_>>(), [last, first]);
    stage.advance(HOUR).await;
    stage.worker().await.upkeep().await;
    assert_eq!((stage.state(limited).await, stage.state(expiring).await), (State::Expired, State::Expired));
    let retention = Retention { unknown: Some(MINUTE), ..Retention::default() };
    assert_eq!(stage.prune(retention).await.died, [strange]);
    stage.end().await;
}

/// What is said of a shard, and done to its jobs, is seen from everywhere, and nowhere else.
pub(super) async fn what_people_do_is_seen_everywhere(stage: &Stage) {
    let ids = stage.enqueue_many(2).await;
    stage.pause(Scope::Queue).await;
    if let Some(second) = stage.world().second().await {
        let there = stage.through(second);
        assert_eq!(there.controls().await, stage.controls().await);
        assert_eq!(there.worker().await.claim(9).await, []);
        there.cancel(ids[0]).await;
        assert_eq!(stage.state(ids[0]).await, State::Cancelled);
        there.resume(Scope::Queue).await;
        assert_eq!(stage.worker().await.claim_ids(9).await, ids[1..]);
        stage.pause(Scope::Queue).await;
    }
    if let Some(neighbour) = stage.world().neighbour().await {
        let there = stage.through(neighbour);
        assert_eq!(there.controls().await, Controls::default());
        assert_eq!(there.cancel(ids[1]).await, Acted::Missing);
        there.enqueue_many(1).await;
        assert_eq!(there.worker().await.claim(9).await.len(), 1);
    }
}

/// Two storages on the same data are one: what one writes the other sees.
pub(super) async fn two_views_are_one(stage: &Stage) {
    let Some(second) = stage.world().second().await else { return };
    let there = stage.through(second);
    let [id] = stage.enqueue([stage.job()]).await;
    assert_eq!(there.state(id).await, State::Ready);
    let mut worker = there.worker().await;
    let run = worker.claim_one().await;
    assert_eq!(stage.state(id).await, State::Running);
    worker.storage = stage.storage().clone();
    assert_eq!(worker.renew(&[&run]).await, [Renewed::Held]);
    worker.finish(&run, completed()).await;
    assert_eq!(there.counts().await, stage.counts().await);
    there.storage().close().await;
    stage.storage().ping().await.unwrap();
}

/// Namespaces of one place see nothing of each other, though queues, jobs and workers bear the same names.
pub(super) async fn namespaces_are_apart(stage: &Stage) {
    let Some(neighbour) = stage.world().neighbour().await else { return };
    let there = stage.through(neighbour);
    let job = stage.job();
    let mut worker = stage.worker().await;
    stage.enqueue([job.clone()]).await;
    assert_eq!(there.storage().get(job.id).await.unwrap(), Lookup::Unknown);
    assert_eq!(there.storage().shards().await.unwrap(), Vec::<Shard>::new());
    assert_eq!(there.storage().workers().await.unwrap(), []);
    let mut next_door = worker.clone();
    next_door.storage = there.storage().clone();
    assert_eq!(there.caller().enqueue_one(job).await, Admission::Added(State::Ready));
    let call = next_door.next(vec![], 1, 1);
    assert!(next_door.make(call).await.unwrap_err().is_unknown_worker());
    next_door.register().await;
    let (here, next) = (worker.claim_one().await, next_door.claim_one().await);
    worker.finish(&here, completed()).await;
    assert_eq!(there.state(next.job.id).await, State::Running);
    next_door.finish(&next, died()).await;
    assert_eq!((stage.counts().await.ended.completed, there.counts().await.ended.dead), (1, 1));
    there.end().await;
}

/// A storage may be called from several runtimes at once, and outlives each of them.
pub(super) async fn any_runtime_will_do(stage: &Stage) {
    let callers = (0..4).map(|_| {
        let (mut caller, job) = (stage.caller(), stage.job());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(caller.add(vec![job]));
        })
    });
    let callers: Vec<_> = callers.collect();
    for caller in callers {
        tokio::task::spawn_blocking(|| caller.join().expect("it was taken in")).await.unwrap();
    }
    assert_eq!(stage.worker().await.claim(9).await.len(), 4);
}

/// Polls a call once and drops it.
async fn drop_early<T>(call: impl Future<Output = T>) {
    tokio::select! {
        biased;
        _ = call => {}
        () = std::future::ready(()) => {}
    }
}

/// A call that is dropped half-way is done or not done, and its repeat says which.
pub(super) async fn dropped_calls_are_repeated(stage: &Stage) {
    let (mut caller, mut worker) = (stage.caller(), stage.worker().await);
    for _ in 0..20 {
        let call = caller.next(vec![stage.job(), stage.job()]);
        drop_early(stage.storage().enqueue(call.clone())).await;
        assert_eq!(caller.make(call).await.unwrap(), [Admission::Added(State::Ready); 2]);
        let call = worker.next(vec![], 2, 2);
        drop_early(stage.storage().exchange(call.clone())).await;
        let runs = worker.make(call).await.unwrap().claimed;
        assert_eq!(runs.len(), 2);
        drop_early(worker.renew(&[&runs[0]])).await;
        let call = worker.next(runs.iter().map(|run| settled(run, completed())).collect(), 0, 0);
        drop_early(stage.storage().exchange(call.clone())).await;
        assert_eq!(worker.make(call).await.unwrap().settled, [SettleAnswer::Applied; 2]);
    }
    assert_eq!(stage.counts().await.ended.completed, 40);
}
