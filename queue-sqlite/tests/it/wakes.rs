//! Who is woken by what is paused, left or soon overdue, and who is let sleep.

use std::time::Duration;

use queue_sqlite::SqliteStorage;
use queue_storage::clock::{Clock, SystemClock};
use queue_storage::model::{JobId, NewJob, Settlement, State, When, WorkerId};
use queue_storage::storage::{Act, Control, Listener, MAX_UPKEEP, Maintain, Notify, Operate, Retention, Scope, Topic};
use tempfile::TempDir;

use crate::kit::{Caller, Hand, job, jobs, mail};
use crate::shared::{hears, quiet};

const HOUR: Duration = Duration::from_secs(3_600);

async fn one() -> (TempDir, SqliteStorage) {
    let folder = TempDir::new().unwrap();
    let storage = SqliteStorage::open(folder.path().join("jobs.db")).await.unwrap();
    (folder, storage)
}

/// Someone who sleeps, and has heard all that was told so far.
async fn sleeper(storage: &SqliteStorage) -> Listener {
    let listener = storage.listen(Topic::Worker(WorkerId::generate(), mail()));
    quiet(&listener).await;
    listener
}

/// Takes in a job and so many that wait for it.
async fn parent(storage: &SqliteStorage, parent: NewJob, children: usize) -> JobId {
    let id = parent.id;
    let waiting = jobs(children).into_iter().map(|mut child| {
        child.waits_for = vec![id];
        child
    });
    Caller::new().enqueue(storage, [parent].into_iter().chain(waiting).collect()).await;
    id
}

#[tokio::test]
async fn the_paused_let_each_other_sleep() {
    let (_folder, storage) = one().await;
    let (mut here, mut there) = (Hand::new(&storage).await, Hand::new(&storage).await);
    let one = Control::Pause(Scope::Worker(here.id), None);
    let other = Control::Pause(Scope::Worker(there.id), None);
    for pauses in [vec![Control::Pause(Scope::Queue, None)], vec![one, other]] {
        for pause in &pauses {
            storage.control(&mail(), pause).await.unwrap();
        }
        Caller::new().enqueue(&storage, jobs(3)).await;
        let listener = sleeper(&storage).await;
        for _ in 0..3 {
            assert_eq!(here.exchange(&storage, 2).await.claimed, []);
            assert_eq!(there.exchange(&storage, 2).await.claimed, []);
        }
        assert!(!quiet(&listener).await, "a paused worker woke another under {pauses:?}");
        storage.control(&mail(), &Control::Resume(Scope::Queue)).await.unwrap();
    }
}

#[tokio::test]
async fn what_an_act_leaves_to_follow_wakes_someone() {
    let (folder, storage) = one().await;
    let id = parent(&storage, job(), MAX_UPKEEP as usize + 1).await;
    let listener = sleeper(&storage).await;
    storage.act(&mail(), &[id], &Act::Cancel { keep: HOUR }).await.unwrap();
    assert_eq!(storage.counts(&mail()).await.unwrap().of(State::Waiting), 1);
    hears(&listener).await;
    Hand::new(&storage).await.exchange(&storage, 0).await;
    assert_eq!(storage.counts(&mail()).await.unwrap().live(), 0);
    crate::books::check(&folder.path().join("jobs.db"));
}

#[tokio::test]
async fn the_death_of_a_stranger_wakes_who_follows_it() {
    let (_folder, storage) = one().await;
    let mut strange = job();
    strange.task = "strange".parse().unwrap();
    let id = parent(&storage, strange, 1).await;
    let mut hand = Hand::new(&storage).await;
    assert_eq!(hand.exchange(&storage, 1).await.parked.len(), 1);
    let listener = sleeper(&storage).await;
    let retention = Retention { unknown: Some(Duration::ZERO), ..Retention::default() };
    assert_eq!(storage.prune(&mail(), retention).await.unwrap().died, [id]);
    hears(&listener).await;
    hand.exchange(&storage, 0).await;
    assert_eq!(storage.counts(&mail()).await.unwrap().live(), 0);
}

#[tokio::test]
async fn a_limit_that_comes_first_wakes_someone() {
    let (_folder, storage) = one().await;
    let at = |after: Duration, limit: Option<Duration>| {
        let mut late = job();
        late.when = When::In(after);
        late.deadline = limit.map(|limit| When::At(SystemClock.now() + limit));
        vec![late]
    };
    Caller::new().enqueue(&storage, at(HOUR * 2, None)).await;
    let listener = sleeper(&storage).await;
    Caller::new().enqueue(&storage, at(HOUR * 24, Some(HOUR * 3))).await;
    assert!(!quiet(&listener).await, "sleepers look before that anyway");
    Caller::new().enqueue(&storage, at(HOUR * 24, Some(HOUR))).await;
    hears(&listener).await;
    let again = Hand::new(&storage).await.exchange(&storage, 1).await.look_again;
    assert!(again.is_some_and(|again| again <= HOUR && again > HOUR / 2), "{again:?}");
}

#[tokio::test]
async fn runs_go_with_their_job() {
    let (folder, storage) = one().await;
    let [pruned, deleted] = Caller::new().enqueue(&storage, jobs(2)).await[..] else { unreachable!() };
    let mut hand = Hand::new(&storage).await;
    for settlement in [Settlement::Release, Settlement::Complete { result: None, keep: Duration::ZERO }] {
        hand.exchange(&storage, 2).await;
        hand.settlements.iter_mut().for_each(|settled| settled.settlement = settlement.clone());
    }
    hand.exchange(&storage, 0).await;
    let job = storage.get(deleted).await.unwrap().found().unwrap();
    assert_eq!((job.history.len(), job.attempts_made().len()), (1, 2));
    storage.act(&mail(), &[deleted], &Act::Delete).await.unwrap();
    assert_eq!(storage.prune(&mail(), Retention::default()).await.unwrap().done, 1);
    assert!(storage.get(pruned).await.unwrap().found().is_none());
    crate::books::check(&folder.path().join("jobs.db"));
}
