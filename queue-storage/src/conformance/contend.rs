//! Races for slots, rates and keys: many callers at once, and never one more than may.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::actors::{TestWorker, ids, settled};
use super::races::{views, workers};
use super::stage::{HALF, MINUTE, Stage, cancel, completed, pace, rate, retry_in, secs, slots};
use crate::model::{Conflict, JobId, NewJob, Settlement, State, Window};
use crate::storage::{Acted, Admission, Control, SettleAnswer, Usage};

/// What workers that contend for slots count together.
#[derive(Default)]
struct Tally {
    running: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
}

impl Tally {
    fn start(&self, runs: usize) {
        let now = self.running.fetch_add(runs, Ordering::SeqCst) + runs;
        self.most.fetch_max(now, Ordering::SeqCst);
    }
}

/// Claims and completes, now and then by way of a retry, until as many jobs are done as there are.
async fn work(mut worker: TestWorker, tally: Arc<Tally>, all: usize) {
    let mut runs = Vec::new();
    while tally.done.load(Ordering::SeqCst) < all {
        let again = |_: &_| fastrand::u8(..4) == 0;
        let (again, over): (Vec<_>, Vec<_>) = std::mem::take(&mut runs).into_iter().partition(again);
        let mut settlements: Vec<_> = over.iter().map(|run| settled(run, completed())).collect();
        settlements.extend(again.iter().map(|run| settled(run, retry_in(secs(0)))));
        tally.running.fetch_sub(settlements.len(), Ordering::SeqCst);
        let answer = worker.exchange(settlements, 5, 5).await;
        assert!(answer.settled.iter().all(|one| *one == SettleAnswer::Applied));
        tally.done.fetch_add(over.len(), Ordering::SeqCst);
        tally.start(answer.claimed.len());
        runs = answer.claimed;
        tokio::task::yield_now().await;
    }
}

async fn all_work(stage: &Stage, all: usize) -> Arc<Tally> {
    let tally = Arc::new(Tally::default());
    let mut tasks = JoinSet::new();
    for worker in workers(stage, 8).await {
        tasks.spawn(work(worker, tally.clone(), all));
    }
    tasks.join_all().await;
    assert_eq!(stage.counts().await.ended.completed, all as u64);
    tally
}

/// Of many workers that claim, settle and give back at once, no more run jobs of a key than it has slots, and none of
/// the jobs is left behind.
pub(super) async fn many_workers_few_slots(stage: &Stage) {
    const ALL: usize = 150;
    stage.enqueue_under(&[slots("k", 3)], ALL / 3).await;
    let mixed = (0..ALL - ALL / 3).map(|n| stage.job_under([slots("k", 3), slots(&format!("k{}", n % 5), 1)]));
    stage.enqueue_all(mixed.collect()).await;
    let tally = all_work(stage, ALL).await;
    assert!(tally.most.load(Ordering::SeqCst) <= 3, "{:?} ran at once", tally.most);
    assert_eq!(stage.usage("k").await, Usage::new());
}

/// Of many workers no more run than a queue has slots.
pub(super) async fn many_workers_one_queue(stage: &Stage) {
    stage.control(Control::Slots(Some(3))).await;
    stage.enqueue_many(150).await;
    let tally = all_work(stage, 150).await;
    assert!(tally.most.load(Ordering::SeqCst) <= 3, "{:?} ran at once", tally.most);
}

/// Of many workers that ask at one moment no more start jobs of a key, or of a queue, than its rate admits.
pub(super) async fn many_workers_one_rate(stage: &Stage) {
    for whole in [false, true] {
        let stage = stage.beside(if whole { "whole" } else { "key" });
        let limits = if whole { vec![] } else { vec![rate("r", MINUTE, 5)] };
        if whole {
            stage.control(Control::Rate(Some(pace(MINUTE, 5)))).await;
        }
        stage.enqueue_under(&limits, 40).await;
        let mut crew = workers(&stage, 8).await;
        for expected in [5, 1, 2, 0, 3] {
            let mut tasks = JoinSet::new();
            for mut worker in crew {
                tasks.spawn(async move {
                    let runs = worker.claim(2).await;
                    worker.complete_all(&runs).await;
                    (worker, runs.len())
                });
            }
            let (back, started): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
            crew = back;
            assert_eq!(started.iter().sum::<usize>(), expected, "whole: {whole}");
            let next = match expected {
                5 => MINUTE,
                1 => MINUTE * 2,
                2 => secs(59),
                _ => secs(1) + MINUTE * 2,
            };
            stage.advance(next).await;
        }
    }
}

/// Of many clients that bring a job of one key at once, exactly one has it taken in, and the others are told of it.
pub(super) async fn many_clients_one_key(stage: &Stage) {
    let views = views(stage).await;
    for round in 0..12 {
        let stage = stage.beside(&format!("round-{round}"));
        let conflict = [Conflict::Existing, Conflict::Reject, Conflict::Replace, Conflict::Debounce][round % 4];
        let mut tasks = JoinSet::new();
        for n in 0..8 {
            let (mut caller, job) = (stage.caller(), stage.job_unique(Window::Finished, conflict));
            caller.storage = views[n % views.len()].clone();
            tasks.spawn(async move { (job.id, caller.enqueue_one(job).await) });
        }
        let answers = tasks.join_all().await;
        let added: Vec<_> = answers.iter().filter(|one| one.1 == Admission::Added(State::Ready)).collect();
        let [(owner, _)] = added[..] else { panic!("{} were taken in", added.len()) };
        let expected = match conflict {
            Conflict::Existing => Admission::Existing(*owner, Some(State::Ready)),
            Conflict::Reject => Admission::Rejected(*owner, Some(State::Ready)),
            _ => Admission::Replaced(*owner, State::Ready),
        };
        assert!(answers.iter().all(|one| one.0 == *owner || one.1 == expected), "{answers:?}");
        assert_eq!((stage.counts().await.enqueued, stage.usage("u").await.unique), (1, Some(*owner)));
    }
}

/// Of an end and a comer of the same key that meet, the comer is taken in after the end or kept out before it.
pub(super) async fn end_or_keep_out(stage: &Stage) {
    for round in 0..20 {
        let stage = stage.beside(&format!("round-{round}"));
        let [owner] = stage.enqueue([stage.job_unique(Window::Finished, Conflict::Existing)]).await;
        let [mut worker]: [TestWorker; 1] = workers(&stage, 1).await.try_into().unwrap();
        let run = worker.claim_one().await;
        let (mut caller, job) = (stage.caller(), stage.job_unique(Window::Finished, Conflict::Existing));
        let id = job.id;
        let end = tokio::spawn(async move { worker.finish(&run, completed()).await });
        let come = tokio::spawn(async move { caller.enqueue_one(job).await });
        end.await.unwrap();
        let owns = match come.await.unwrap() {
            Admission::Added(State::Ready) => Some(id),
            Admission::Existing(told, Some(State::Running)) if told == owner => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(stage.usage("u").await.unique, owns);
    }
}

/// Of a start and a comer that replaces, the start has the new envelope or the comer is told that it runs.
pub(super) async fn start_or_replace(stage: &Stage) {
    for round in 0..20 {
        let stage = stage.beside(&format!("round-{round}"));
        let [owner] = stage.enqueue([stage.job_unique(Window::Finished, Conflict::Existing)]).await;
        let [mut worker]: [TestWorker; 1] = workers(&stage, 1).await.try_into().unwrap();
        let mut caller = stage.caller();
        let job = NewJob { priority: 7, ..stage.job_unique(Window::Finished, Conflict::Replace) };
        let claim = tokio::spawn(async move { worker.claim_one().await });
        let come = tokio::spawn(async move { caller.enqueue_one(job).await });
        let (run, answer) = (claim.await.unwrap(), come.await.unwrap());
        let expected = match run.job.priority {
            7 => Admission::Replaced(owner, State::Ready),
            _ => Admission::Existing(owner, Some(State::Running)),
        };
        assert_eq!((answer, stage.get(owner).await.priority), (expected, run.job.priority));
    }
}

/// Of a settlement and a taking back that meet, one frees the slot, and one job gets it.
pub(super) async fn one_slot_is_freed_once(stage: &Stage) {
    for round in 0..20 {
        let stage = stage.beside(&format!("round-{round}"));
        let jobs = stage.enqueue_under(&[slots("k", 1)], 4).await;
        let [mut owner, mut other, mut third]: [TestWorker; 3] = workers(&stage, 3).await.try_into().unwrap();
        let run = owner.receive_one().await;
        stage.advance(HALF).await;
        other.upkeep().await;
        stage.advance(HALF).await;
        let settle = tokio::spawn(async move { (owner.settle(&run, completed()).await, owner) });
        let reclaim = tokio::spawn(async move { other.claim(9).await });
        let look = tokio::spawn(async move { third.claim(9).await });
        let ((answer, _), mut claimed) = (settle.await.unwrap(), reclaim.await.unwrap());
        claimed.extend(look.await.unwrap());
        let usage = stage.usage("k").await;
        assert_eq!((usage.running, claimed.len()), (claimed.len() as u64, 1), "{answer:?}");
        let expected = if answer == SettleAnswer::Applied { jobs[1] } else { jobs[0] };
        assert_eq!(claimed[0].job.id, expected);
    }
}

/// Whoever takes the first in line away while a worker claims it: the slot goes to the first or to the next.
pub(super) async fn make_way_or_run(stage: &Stage) {
    for round in 0..20 {
        let stage = stage.beside(&format!("round-{round}"));
        let jobs = stage.enqueue_under(&[slots("k", 1)], 3).await;
        let [mut owner, mut other]: [TestWorker; 2] = workers(&stage, 2).await.try_into().unwrap();
        let run = owner.claim_one().await;
        assert_eq!(other.claim(9).await, []);
        owner.finish(&run, completed()).await;
        let (storage, shard, first) = (stage.storage().clone(), stage.shard().clone(), jobs[1]);
        let act = tokio::spawn(async move { storage.act(&shard, &[first], &cancel()).await.unwrap()[0] });
        let claim = tokio::spawn(async move { ids(&other.claim(9).await) });
        let (acted, claimed) = (act.await.unwrap(), claim.await.unwrap());
        let expected = match acted {
            Acted::Asked => vec![jobs[1]],
            Acted::Done(State::Cancelled) => vec![jobs[2]],
            other => panic!("{other:?}"),
        };
        assert_eq!((claimed, stage.usage("k").await.running), (expected, 1));
    }
}

/// Of one exchange that is sent several times at once, the slots and the prices are taken once.
pub(super) async fn repeats_that_meet_take_once(stage: &Stage) {
    let views = views(stage).await;
    stage.enqueue_under(&[slots("k", 4), rate("r", MINUTE, 9)], 9).await;
    let mut worker = stage.worker().await;
    for round in 1..=2_u32 {
        worker.last = worker.next(vec![], 2, 2);
        let mut exchanges = JoinSet::new();
        for n in 0..6 {
            let (storage, call) = (views[n % views.len()].clone(), worker.last.clone());
            exchanges.spawn(async move { ids(&storage.exchange(call).await.unwrap().claimed) });
        }
        let answers: BTreeSet<Vec<JobId>> = exchanges.join_all().await.into_iter().collect();
        assert_eq!((answers.len(), stage.usage("k").await.running), (1, u64::from(round * 2)));
        stage.assert_same_time(stage.usage("r").await.paid_at.unwrap(), stage.now().await + MINUTE * round * 2);
    }
    let runs = worker.repeat().await.claimed;
    assert_eq!(worker.settle(&runs[0], Settlement::Release).await, SettleAnswer::Applied);
    assert_eq!(stage.usage("k").await.running, 3);
}
