//! Looking: pages, counts, shards, workers; nothing here changes anything.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::check::all_jobs;
use super::stage::{HOUR, MINUTE, Stage, at_most, completed, died, retry_in, shard, snooze_in, task};
use crate::model::{Job, JobId, NewJob, Settlement, Shard, State, Timestamp, When};
use crate::storage::{Counts, Cursor, JobQuery, Lookup, MAX_PAGE, WorkerRecord};

/// Walks the pages of a query; every page within the limit.
pub(super) async fn walk(stage: &Stage, mut query: JobQuery) -> Vec<Job> {
    let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) };
    let mut jobs = Vec::new();
    for _ in 0..10_000 {
        let page = stage.storage().list(&query).await.unwrap();
        assert!(page.jobs.len() <= limit as usize);
        jobs.extend(page.jobs);
        query.after = page.next;
        if query.after.is_none() {
            return jobs;
        }
    }
    panic!("the pages never end");
}

pub(super) fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// Jobs in every state, of two tasks.
async fn fill(stage: &Stage) {
    let mut worker = stage.worker().await;
    let [first] = stage.enqueue([stage.job()]).await;
    stage.enqueue([stage.job_after([first])]).await;
    worker.run_one(died()).await;
    for settlement in [completed(), retry_in(HOUR), snooze_in(HOUR)] {
        stage.enqueue_many(1).await;
        worker.run_one(settlement).await;
    }
    let [running] = stage.enqueue([stage.job()]).await;
    worker.claim_one().await;
    stage.enqueue([stage.job_after([running])]).await;
    stage.enqueue_all((0..7).map(|_| stage.job_of("u")).collect()).await;
    stage.enqueue_many(3).await;
}

/// Those of the stage's shard, in the order in which they were shown.
fn of(stage: &Stage, jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().filter(|job| job.shard == *stage.shard()).map(|job| job.id).collect()
}

/// Jobs to enqueue, the youngest id first.
fn youngest_first(stage: &Stage, count: usize) -> Vec<NewJob> {
    let mut jobs: Vec<_> = (0..count).map(|_| stage.job()).collect();
    jobs.sort_by_key(|job| Reverse(job.id));
    jobs
}

/// Pages of any size show every job of every shard once, in each shard the first that came first.
pub(super) async fn pages_show_everything_once(stage: &Stage) {
    let other = stage.beside("other");
    let (first, second) = (stage.enqueue_many(1_000).await, other.enqueue_many(20).await);
    let expected = [first, stage.enqueue_many(50).await].concat();
    let expected_there = [second, other.enqueue_many(10).await].concat();
    for limit in [0, 1_000, 5_000, 7, 1] {
        let query = JobQuery { limit, ..JobQuery::default() };
        let jobs = walk(stage, query).await;
        assert_eq!(jobs.len(), expected.len() + expected_there.len(), "pages of {limit}");
        assert!(of(stage, &jobs) == expected && of(&other, &jobs) == expected_there, "pages of {limit}");
    }
}

/// The order is that of arrival, whatever the order of ids, and whatever has become of the jobs since.
pub(super) async fn pages_are_in_order_of_arrival(stage: &Stage) {
    let mut jobs = youngest_first(stage, 40);
    let (late, waiting) = (jobs.split_off(15), [stage.job_after([jobs[0].id])]);
    let expected = [stage.enqueue_all(jobs).await, stage.enqueue(waiting).await.into(), stage.enqueue_all(late).await];
    let expected = expected.concat();
    let in_order = async || {
        for limit in [0, 7, 1] {
            let query = JobQuery { limit, ..JobQuery::default() };
            assert_eq!(ids(&walk(stage, query).await), expected, "pages of {limit}");
        }
    };
    in_order().await;
    let mut worker = stage.worker().await;
    for settlement in [completed(), retry_in(MINUTE), snooze_in(HOUR), Settlement::Release, died()] {
        worker.run_one(settlement).await;
    }
    worker.claim(20).await;
    in_order().await;
    stage.advance(MINUTE).await;
    worker.upkeep().await;
    assert_eq!(stage.counts().await.stored.len(), 5, "ready, running, scheduled, completed, dead");
    in_order().await;
}

/// Filters by queue, task and state show what fits and nothing else, alone and together.
pub(super) async fn filters_fit(stage: &Stage) {
    let other = stage.beside("other");
    fill(stage).await;
    fill(&other).await;
    let all = walk(stage, JobQuery::default()).await;
    assert_eq!(all.len(), 34);
    let queues = [None, Some(stage.shard()), Some(other.shard())].map(|shard| shard.map(|s| s.queue.clone()));
    for queue in queues {
        for name in [None, Some("t"), Some("u"), Some("never")] {
            for state in State::ALL.map(Some).into_iter().chain([None]) {
                let task = name.map(task);
                let query = JobQuery { queue: queue.clone(), task, state, limit: 5, ..JobQuery::default() };
                let fits = |job: &&Job| {
                    query.queue.as_ref().is_none_or(|queue| *queue == job.shard.queue)
                        && query.task.as_ref().is_none_or(|task| *task == job.task)
                        && state.is_none_or(|state| state == job.state)
                };
                let expected: BTreeSet<_> = all.iter().filter(fits).map(|job| job.id).collect();
                let found = ids(&walk(stage, query.clone()).await);
                assert_eq!(found.len(), expected.len(), "{query:?}");
                assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{query:?}");
            }
        }
    }
}

/// A page shows a job as a look-up does.
pub(super) async fn pages_and_look_ups_agree(stage: &Stage) {
    fill(stage).await;
    let jobs = all_jobs(&**stage.storage()).await;
    assert_eq!(jobs.len(), 17);
    for job in jobs {
        assert_eq!(stage.get(job.id).await, job);
    }
}

/// Jobs that come, go or move between two pages disturb no other: who is stored throughout is shown once.
pub(super) async fn pages_bear_change(stage: &Stage) {
    let before = stage.enqueue_all(youngest_first(stage, 8)).await;
    let mut query = JobQuery { limit: 3, ..JobQuery::default() };
    let first = stage.storage().list(&query).await.unwrap();
    let shown = ids(&first.jobs);
    assert!(!shown.is_empty() && first.next.is_some(), "a first page, with more to come");
    let mut worker = stage.worker().await;
    let runs = worker.claim(8).await;
    for (n, run) in runs.iter().enumerate() {
        worker.finish(run, if n % 2 == 0 { completed() } else { retry_in(MINUTE) }).await;
    }
    stage.storage().prune(stage.shard(), at_most(0, 0)).await.unwrap();
    let added = stage.enqueue_many(1).await;
    stage.advance(MINUTE).await;
    worker.upkeep().await;
    let stays = |(n, id): (usize, JobId)| (n % 2 == 1 || shown.contains(&id)).then_some(id);
    let expected: Vec<_> = before.into_iter().enumerate().filter_map(stays).chain(added).collect();
    let mut seen = shown.clone();
    query.after = first.next;
    seen.extend(ids(&walk(stage, query).await));
    assert_eq!(seen, expected);
}

/// A job that was pruned and is enqueued anew is shown once, as the last that came.
pub(super) async fn who_comes_anew_comes_last(stage: &Stage) {
    let job = stage.job();
    let [first, again] = stage.enqueue([stage.job(), job.clone()]).await;
    let others = stage.enqueue_many(2).await;
    let mut worker = stage.worker().await;
    let runs = worker.claim(2).await;
    worker.finish(&runs[1], completed()).await;
    stage.storage().prune(stage.shard(), at_most(0, 0)).await.unwrap();
    stage.enqueue([job]).await;
    let jobs = walk(stage, JobQuery::default()).await;
    assert_eq!(ids(&jobs), [first, others[0], others[1], again]);
}

/// A cursor that no page gave is refused, not read as the start or the end.
pub(super) async fn a_strange_cursor_is_invalid(stage: &Stage) {
    stage.enqueue_many(2).await;
    for text in ["", "nowhere", "ü.ü.ü"] {
        let query = JobQuery { after: Some(Cursor(text.to_owned())), ..JobQuery::default() };
        assert!(stage.storage().list(&query).await.unwrap_err().is_invalid(), "`{text}`");
    }
}

/// An empty storage shows nothing.
pub(super) async fn nothing_is_empty(stage: &Stage) {
    assert_eq!(walk(stage, JobQuery::default()).await, []);
    assert_eq!(stage.counts().await, Counts::default());
    assert_eq!(stage.storage().shards().await.unwrap(), []);
    assert_eq!(stage.storage().workers().await.unwrap(), []);
    assert_eq!(stage.storage().get(JobId::new(stage.shard())).await.unwrap(), Lookup::Unknown);
}

/// Counts tell each state, what is parked and due, what came in and how it ended.
pub(super) async fn counts_tell(stage: &Stage) {
    fill(stage).await;
    stage.worker().await.claim(3).await;
    let counts = stage.counts().await;
    use State::{Cancelled, Completed, Dead, Ready, Retrying, Running, Scheduled, Waiting};
    let expected = [
        (Waiting, 1),
        (Scheduled, 1),
        (Ready, 7),
        (Running, 4),
        (Retrying, 1),
        (Completed, 1),
        (Cancelled, 1),
        (Dead, 1),
    ];
    assert_eq!(counts.stored, BTreeMap::from(expected));
    assert_eq!((counts.parked, counts.due, counts.enqueued), (7, 0, 17));
    assert_eq!((counts.pending(), counts.live(), counts.ended.total()), (7, 14, 3));
}

/// What is due and not promoted yet is counted as due, and still in its state.
pub(super) async fn due_jobs_are_counted(stage: &Stage) {
    let mut worker = stage.worker().await;
    stage.enqueue_many(1).await;
    worker.run_one(retry_in(MINUTE)).await;
    stage.enqueue([stage.job_at(When::In(MINUTE)), stage.job_at(When::In(HOUR))]).await;
    stage.advance(MINUTE).await;
    let counts = stage.counts().await;
    assert_eq!((counts.due, counts.of(State::Scheduled), counts.of(State::Retrying)), (2, 2, 1));
    assert_eq!((counts.pending(), counts.of(State::Ready)), (2, 0));
    worker.upkeep().await;
    let counts = stage.counts().await;
    assert_eq!((counts.due, counts.pending(), counts.of(State::Ready)), (0, 2, 2));
}

/// The oldest job that is ready or due tells for how long it has been so, whatever its priority and however late it was
/// promoted; parked ones, and those for later, do not.
pub(super) async fn the_oldest_tells_its_age(stage: &Stage) {
    let age = async || stage.counts().await.oldest;
    assert_eq!(age().await, None);
    let mut worker = stage.worker().await;
    let [_, _] = stage.enqueue([stage.job_of("strange"), stage.job_at(When::In(HOUR))]).await;
    stage.advance(MINUTE).await;
    let near = |age: Option<Duration>, expected: Duration| {
        let age = age.expect("a job is ready or due");
        assert!(age >= expected && age <= expected + stage.tick() * 50, "{age:?} is not {expected:?}");
    };
    near(age().await, MINUTE);
    assert_eq!(worker.claim(1).await.len(), 0);
    assert_eq!((age().await, stage.counts().await.parked), (None, 1));
    // The last in line has waited longest; the first of those above it is younger.
    stage.enqueue([stage.job_with(-7)]).await;
    stage.advance(MINUTE).await;
    stage.enqueue([stage.job_with(7), stage.job_with(0)]).await;
    stage.advance(MINUTE).await;
    near(age().await, MINUTE * 2);
    let claimed = worker.claim(2).await;
    assert_eq!(claimed.iter().map(|one| one.job.priority).collect::<Vec<_>>(), [7, 0]);
    near(age().await, MINUTE * 2);
    worker.claim_one().await;
    assert_eq!(age().await, None);
    // Due, and then promoted late: it is as old as if it had been promoted in time.
    stage.advance(HOUR).await;
    let due = MINUTE * 3;
    near(age().await, due);
    worker.upkeep().await;
    near(age().await, due);
    assert_eq!(stage.counts().await.due, 0);
}

/// Every shard that took a job in is shown, by name; being looked at makes no shard.
pub(super) async fn shards_are_shown(stage: &Stage) {
    let worker = stage.worker().await;
    for queue in ["zebra", "apfel", "mitte"] {
        let stage = stage.beside(queue);
        stage.enqueue_many(1).await;
    }
    let nowhere = stage.beside("nowhere");
    worker.at(nowhere.shard()).look(1).await;
    nowhere.caller().enqueue(vec![]).await;
    nowhere.caller().enqueue(vec![nowhere.job_after([JobId::new(nowhere.shard())])]).await;
    nowhere.counts().await;
    assert_eq!(stage.storage().shards().await.unwrap(), ["apfel", "mitte", "zebra"].map(shard));
}

/// Shards of one queue are several shards.
pub(super) async fn a_queue_may_have_several_shards(stage: &Stage) {
    let parts = [0, 1, 2].map(|index| Shard { index, ..shard("parts") });
    let worker = stage.worker().await;
    let mut made = Vec::new();
    for part in &parts {
        let mut caller = stage.caller();
        caller.last.shard = part.clone();
        let job = stage.job();
        made.push(job.id.at_home(part));
        caller.add(vec![NewJob { id: made[made.len() - 1], ..job }]).await;
    }
    assert_eq!(stage.storage().shards().await.unwrap(), parts);
    for (part, id) in parts.iter().zip(&made) {
        assert_eq!(stage.get(*id).await.shard, *part);
        assert_eq!(worker.at(part).claim_ids(9).await, [*id]);
    }
}

/// Two shards whose ids bear the same tag are told apart.
pub(super) async fn tags_may_collide(stage: &Stage) {
    let mut tags = BTreeMap::new();
    let twins = (0..).map(|n| shard(&format!("q{n}"))).find_map(|shard| {
        let earlier = tags.insert(shard.tag(), shard.clone());
        earlier.map(|earlier| [earlier, shard])
    });
    let [a, b] = twins.expect("there are more names than tags").map(|shard| stage.beside(shard.queue.as_str()));
    let ([in_a], [in_b]) = (a.enqueue([a.job()]).await, b.enqueue([b.job()]).await);
    assert_eq!(stage.get(in_a).await.shard, *a.shard());
    assert_eq!(stage.get(in_b).await.shard, *b.shard());
    assert_eq!(b.worker().await.claim_ids(9).await, [in_b]);
}

/// Workers are shown by id as they registered, with the time of their last call.
pub(super) async fn workers_are_shown(stage: &Stage) {
    let mut worker = stage
        .worker_with(&["t", "évènement"], |record| {
            record.lease.crash_limit = None;
            record.shards.push(shard("other"));
            record.host = "höst:42".into();
        })
        .await;
    let second = stage.worker().await;
    let registered = stage.now().await;
    let shown = stage.storage().workers().await.unwrap();
    assert_eq!(shown.iter().map(|one| one.id).collect::<Vec<_>>(), [worker.id(), second.id()]);
    assert_eq!(shown[0], WorkerRecord { seen_at: shown[0].seen_at, ..worker.record.clone() });
    stage.assert_same_time(shown[0].seen_at, registered);
    stage.enqueue_many(1).await;
    stage.advance(MINUTE).await;
    let run = worker.claim_one().await;
    stage.assert_same_time(seen(stage).await, registered + MINUTE);
    stage.advance(MINUTE).await;
    worker.renew(&[&run]).await;
    stage.assert_same_time(seen(stage).await, registered + MINUTE * 2);
}

/// When the worker with the lowest id last called.
async fn seen(stage: &Stage) -> Timestamp {
    stage.storage().workers().await.unwrap()[0].seen_at
}

/// Looking changes nothing.
pub(super) async fn looking_changes_nothing(stage: &Stage) {
    fill(stage).await;
    let before = all_jobs(&**stage.storage()).await;
    stage.advance(HOUR * 5).await;
    for job in &before {
        stage.get(job.id).await;
    }
    stage.counts().await;
    stage.storage().shards().await.unwrap();
    stage.storage().workers().await.unwrap();
    assert_eq!(all_jobs(&**stage.storage()).await, before);
}
