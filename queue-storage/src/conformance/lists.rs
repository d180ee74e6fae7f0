//! What people look for: tags, workers, reasons, times; and dead letters, the last first.

use std::collections::BTreeSet;

use super::operate::{ids, walk};
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, cancel, completed, died, retry_in, secs, tag, task};
use crate::model::{EndReason, Job, JobId, MAX_TAGS, NewJob, Settlement, State, Tag, Timestamp, When};
use crate::storage::{Act, Edit, JobQuery};

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| tag(name)).collect()
}

fn dead(limit: u32) -> JobQuery {
    JobQuery { state: Some(State::Dead), limit, ..JobQuery::default() }
}

/// A job keeps its tags and what was asked of its end, exactly; tags may be as many as the contract says.
pub(super) async fn what_was_asked_is_kept(stage: &Stage) {
    let names: Vec<_> = (0..MAX_TAGS).map(|n| format!("t-{n}/ü")).collect();
    let tags: Vec<Tag> = names.iter().rev().map(|name| tag(name)).collect();
    let moment = Timestamp::from_micros(9_000_000_000_000_001);
    let job = NewJob {
        tags: tags.clone(),
        expires: Some(When::In(DAY * 30_000)),
        deadline: Some(When::At(moment)),
        ..stage.job()
    };
    let [id, plain] = stage.enqueue([job, stage.job()]).await;
    let job = stage.get(id).await;
    assert_eq!((&job.tags, job.expires, job.deadline), (&tags, Some(When::In(DAY * 30_000)), Some(When::At(moment))));
    assert_eq!((job.expires_at, job.deadline_at), (Some(job.enqueued_at + DAY * 30_000), Some(moment)));
    let run = stage.worker().await.claim_one().await;
    assert_eq!((run.job.id, run.job.tags, run.job.expires), (id, tags, job.expires));
    let plain = stage.get(plain).await;
    assert_eq!((plain.tags, plain.expires_at, plain.deadline_at), (vec![], None, None));
}

/// More tags, or one twice, are invalid, and the whole call is refused.
pub(super) async fn tags_have_a_largest_number(stage: &Stage) {
    let too_many = (0..=MAX_TAGS).map(|n| tag(&format!("t{n}"))).collect();
    for tags in [too_many, tags(&["a", "b", "a"])] {
        let mut caller = stage.caller();
        let call = caller.next(vec![stage.job(), NewJob { tags, ..stage.job() }]);
        assert!(caller.make(call).await.unwrap_err().is_invalid());
    }
    assert_eq!(stage.counts().await.enqueued, 0);
}

/// Jobs of two workers, in many states, with tags, over some time; the moments of a first and a second half.
async fn fill(stage: &Stage) -> [Timestamp; 2] {
    let first = stage.now().await;
    let settlements = [completed(), died(), retry_in(HOUR), Settlement::Release];
    for (n, names) in [&["a"][..], &["a", "b"], &["b"], &[]].into_iter().enumerate() {
        let mut worker = stage.worker().await;
        for settlement in settlements.clone() {
            stage.enqueue([NewJob { priority: 1, tags: tags(names), ..stage.job() }]).await;
            worker.run_one(settlement).await;
        }
        stage.enqueue([NewJob { tags: tags(names), priority: 2, ..stage.job() }]).await;
        worker.claim_one().await;
        let more = [stage.job(), NewJob { expires: Some(When::Now), ..stage.job() }];
        let [off, _] = stage.enqueue(more.map(|job| NewJob { tags: tags(names), ..job })).await;
        stage.cancel(off).await;
        worker.upkeep().await;
        if n == 1 {
            stage.advance(MINUTE).await;
        }
    }
    [first, first + MINUTE]
}

/// Filters by tag, worker, reason and time show what fits and nothing else, alone and together, in pages of any size.
pub(super) async fn more_filters_fit(stage: &Stage) {
    let [_, half] = fill(stage).await;
    let queue = Some(stage.shard().queue.clone());
    let all = walk(stage, JobQuery { queue: queue.clone(), ..JobQuery::default() }).await;
    let mut workers: Vec<_> = all.iter().map(|job| job.worker).collect();
    workers.sort();
    workers.dedup();
    assert!((all.len(), workers.len()) == (28, 5), "four workers, and none");
    let reasons = [None, Some(EndReason::Requested), Some(EndReason::Fatal), Some(EndReason::Overdue)];
    for name in [None, Some("a"), Some("b"), Some("never")] {
        for worker in &workers {
            for reason in reasons.clone() {
                for (from, until) in [(None, None), (Some(half), None), (None, Some(half)), (Some(half), Some(half))] {
                    let tag = name.map(tag);
                    let (queue, reason) = (queue.clone(), reason.clone());
                    let query = JobQuery { queue, tag, worker: *worker, reason, from, until, ..dead(3) };
                    for state in [None, Some(State::Dead), Some(State::Running)] {
                        assert_fits(stage, &all, JobQuery { state, ..query.clone() }).await;
                    }
                }
            }
        }
    }
}

async fn assert_fits(stage: &Stage, all: &[Job], query: JobQuery) {
    let expected: BTreeSet<_> = all.iter().filter(|job| query.fits(job)).map(|job| job.id).collect();
    let found = ids(&walk(stage, query.clone()).await);
    assert_eq!(found.len(), expected.len(), "{query:?}");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{query:?}");
}

/// The moments of a span: a job that came at its beginning is in it, one that came at its end is not.
pub(super) async fn a_span_has_a_beginning_and_no_end(stage: &Stage) {
    let [early] = stage.enqueue([stage.job()]).await;
    stage.advance(MINUTE).await;
    let [late] = stage.enqueue([stage.job()]).await;
    let [at, end] = [stage.get(early).await.enqueued_at, stage.get(late).await.enqueued_at];
    let found = async |from, until| ids(&walk(stage, JobQuery { from, until, ..JobQuery::default() }).await);
    assert_eq!(found(Some(at), Some(end)).await, [early]);
    assert_eq!(found(Some(end), None).await, [late]);
    assert_eq!(found(None, Some(at)).await, []);
}

/// Ends jobs for good one after the other, in the order of their names.
async fn kill(stage: &Stage, ids: &[JobId]) {
    let mut worker = stage.worker().await;
    let mut runs = worker.claim(256).await;
    for id in ids {
        let at = runs.iter().position(|run| run.job.id == *id).expect("it was claimed");
        let run = runs.swap_remove(at);
        stage.advance(secs(1)).await;
        worker.finish(&run, died()).await;
    }
}

/// Dead letters are shown by their death, those that died last first, whatever the order of arrival and the page.
pub(super) async fn the_last_dead_come_first(stage: &Stage) {
    let [a, b, c, d, e] = stage.enqueue(std::array::from_fn(|_| stage.job())).await;
    kill(stage, &[c, a, e, b, d]).await;
    for limit in [0, 5, 4, 2, 1] {
        assert_eq!(ids(&walk(stage, dead(limit)).await), [d, b, e, a, c], "pages of {limit}");
    }
    let arrived = walk(stage, JobQuery::default()).await;
    assert_eq!(ids(&arrived), [a, b, c, d, e], "other lists are as they were");
}

/// The same with filters, and over shards, each on its own.
pub(super) async fn dead_letters_are_filtered(stage: &Stage) {
    let other = stage.beside("other");
    let here: Vec<_> =
        (0..12).map(|n| NewJob { tags: tags(if n % 3 == 0 { &["x"] } else { &[] }), ..stage.job() }).collect();
    let here = stage.enqueue_all(here).await;
    let there = other.enqueue_many(5).await;
    kill(stage, &here).await;
    kill(&other, &there).await;
    let backwards = |ids: &[JobId]| ids.iter().rev().copied().collect::<Vec<_>>();
    for limit in [0, 3, 1] {
        let query = JobQuery { tag: Some(tag("x")), ..dead(limit) };
        assert_eq!(ids(&walk(stage, query).await), [here[9], here[6], here[3], here[0]]);
        let all = walk(stage, dead(limit)).await;
        let of =
            |stage: &Stage| all.iter().filter(|job| job.shard == *stage.shard()).map(|job| job.id).collect::<Vec<_>>();
        assert_eq!((of(stage), of(&other)), (backwards(&here), backwards(&there)), "pages of {limit}");
        let queue = Some(other.shard().queue.clone());
        assert_eq!(ids(&walk(stage, JobQuery { queue, ..dead(limit) }).await), backwards(&there));
    }
    let none = JobQuery { task: Some(task("never")), ..dead(2) };
    assert_eq!(walk(stage, none).await, []);
}

/// Dead letters that are pruned, deleted or revived between two pages disturb no other.
pub(super) async fn dead_letters_bear_change(stage: &Stage) {
    let jobs = stage.enqueue_many(8).await;
    kill(stage, &jobs).await;
    let page = stage.storage().list(&dead(3)).await.unwrap();
    assert_eq!(ids(&page.jobs), [jobs[7], jobs[6], jobs[5]]);
    stage.act_on(&[jobs[5], jobs[3]], &Act::Revive(Edit::new())).await;
    stage.act(jobs[2], &Act::Delete).await;
    stage.prune(at_most(0, 4)).await;
    let [late] = stage.enqueue([NewJob { priority: 9, ..stage.job() }]).await;
    stage.advance(secs(1)).await;
    assert_eq!(stage.worker().await.run_one(died()).await, late);
    let rest = walk(stage, JobQuery { after: page.next, ..dead(3) }).await;
    assert_eq!(ids(&rest), [jobs[4], jobs[1]]);
    assert_eq!(ids(&walk(stage, dead(0)).await), [late, jobs[7], jobs[6], jobs[4], jobs[1]]);
}

/// Who died twice is shown once, by its last death.
pub(super) async fn who_died_twice_is_shown_once(stage: &Stage) {
    let jobs = stage.enqueue_many(3).await;
    kill(stage, &jobs).await;
    stage.act(jobs[0], &Act::Revive(Edit::new())).await;
    kill(stage, &jobs[..1]).await;
    assert_eq!(ids(&walk(stage, dead(1)).await), [jobs[0], jobs[2], jobs[1]]);
    assert_eq!(stage.act(jobs[1], &cancel()).await, crate::storage::Acted::Refused(State::Dead));
}
