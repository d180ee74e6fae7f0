//! Taking jobs in: what is stored, what is refused, and in what order jobs become ready.

use bytes::Bytes;

use super::actors::ids;
use super::stage::{HOUR, Stage, completed, died, returned, shard, task};
use crate::model::{JobId, NewJob, Shard, State, Timestamp, When};
use crate::storage::{Admission, Lookup, MAX_ENQUEUE, MAX_WAITS_FOR};

/// A job is stored as it was handed in, to the last byte.
pub(super) async fn a_job_is_stored_as_it_came(stage: &Stage) {
    let everything: Bytes = (0..=255).cycle().take(70_000).collect();
    let new = NewJob {
        task: task("évènement/nächtlich:v1.2-b"),
        priority: -7,
        when: When::In(HOUR),
        at_most_once: true,
        needs: 3,
        envelope: everything,
        ..stage.job()
    };
    let [id] = stage.enqueue([new.clone()]).await;
    let job = stage.get(id).await;
    assert_eq!((job.id, &job.shard), (id, stage.shard()));
    assert_eq!((job.task, job.priority, job.when), (new.task, -7, new.when));
    assert_eq!((job.at_most_once, job.needs, job.envelope), (true, 3, new.envelope));
    assert_eq!((job.state, job.sequence), (State::Scheduled, None));
    assert_eq!(job.due_at, Some(job.enqueued_at + HOUR));
    assert_eq!((job.attempts, job.crashes, job.lapses, job.suspect), (0, 0, 0, false));
    assert_eq!((job.started_at, job.failure, job.result), (None, None, None));
}

/// A job with nothing inside is a job.
pub(super) async fn an_empty_envelope_is_kept(stage: &Stage) {
    let [id] = stage.enqueue([NewJob { envelope: Bytes::new(), ..stage.job() }]).await;
    assert_eq!(stage.worker().await.claim_one().await.job.envelope, Bytes::new());
    assert_eq!(stage.get(id).await.envelope, Bytes::new());
}

/// The answer tells in what state each job begins its life.
pub(super) async fn the_answer_tells_the_state(stage: &Stage) {
    let first = stage.job();
    let jobs = vec![
        first.clone(),
        stage.job_at(When::In(HOUR)),
        stage.job_at(When::At(Timestamp::EPOCH)),
        stage.job_after([first.id]),
    ];
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let states = [State::Ready, State::Scheduled, State::Ready, State::Waiting];
    assert_eq!(stage.caller().enqueue(jobs).await, states.map(Admission::Added));
    for (id, state) in ids.into_iter().zip(states) {
        assert_eq!(stage.state(id).await, state);
    }
}

/// Jobs of a call become ready in its order, after everything before.
pub(super) async fn a_call_keeps_its_order(stage: &Stage) {
    let mut expected = stage.enqueue_many(5).await;
    expected.extend(stage.enqueue_many(5).await);
    let sequences = sequences(stage, &expected).await;
    assert!(sequences.is_sorted() && sequences[0] < sequences[9], "{sequences:?}");
    assert_eq!(stage.worker().await.claim_ids(10).await, expected);
}

/// The order is that of the calls, not that in which the ids were made.
pub(super) async fn ids_do_not_order(stage: &Stage) {
    let (older, newer) = (stage.job(), stage.job());
    let expected = stage.enqueue([newer, older]).await;
    assert_eq!(stage.worker().await.claim_ids(2).await, expected);
}

/// A job that is stored is taken in once, whoever sends it again and in whatever state it is.
pub(super) async fn a_stored_job_is_a_duplicate(stage: &Stage) {
    let job = stage.job();
    stage.enqueue([job.clone()]).await;
    let mut worker = stage.worker().await;
    let again = async |state| {
        let changed = NewJob { priority: 9, envelope: Bytes::new(), ..job.clone() };
        assert_eq!(stage.caller().enqueue_one(changed).await, Admission::Duplicate(state));
        assert_eq!(stage.get(job.id).await.priority, 0);
    };
    again(State::Ready).await;
    let run = worker.claim_one().await;
    again(State::Running).await;
    worker.finish(&run, completed()).await;
    again(State::Completed).await;
    let counts = stage.counts().await;
    assert_eq!((counts.enqueued, counts.ended.completed), (1, 1));
}

/// A job that comes twice in a call is taken in once, the first time.
pub(super) async fn twice_in_a_call_is_once(stage: &Stage) {
    let job = stage.job_with(1);
    let twin = NewJob { priority: 2, ..job.clone() };
    let answer = stage.caller().enqueue(vec![job.clone(), twin]).await;
    assert_eq!(answer, [Admission::Added(State::Ready), Admission::Duplicate(State::Ready)]);
    assert_eq!(stage.get(job.id).await.priority, 1);
    assert_eq!(stage.counts().await.enqueued, 1);
}

/// Whether a job is stored is looked at before what it waits for.
pub(super) async fn a_duplicate_is_told_first(stage: &Stage) {
    let job = stage.job();
    stage.enqueue([job.clone()]).await;
    let orphan = NewJob { waits_for: vec![JobId::new(stage.shard())], ..job };
    assert_eq!(stage.caller().enqueue_one(orphan).await, Admission::Duplicate(State::Ready));
}

/// A job that waits for one that is not stored here is not taken in, nor is one that waits for it.
pub(super) async fn an_unknown_dependency_is_refused(stage: &Stage) {
    let elsewhere = stage.beside("elsewhere");
    let [foreign] = elsewhere.enqueue([elsewhere.job()]).await;
    let nowhere = JobId::new(stage.shard());
    let orphan = stage.job_after([nowhere]);
    let (orphan_id, innocent) = (orphan.id, stage.job());
    let jobs = vec![orphan, stage.job_after([orphan_id]), stage.job_after([foreign]), innocent];
    let refused: Vec<_> = jobs[..3].iter().map(|job| job.id).collect();
    let answer = stage.caller().enqueue(jobs).await;
    let unknown = [nowhere, orphan_id, foreign].map(Admission::UnknownDependency);
    assert_eq!((&answer[..3], answer[3]), (&unknown[..], Admission::Added(State::Ready)));
    for id in refused {
        assert_eq!(stage.storage().get(id).await.unwrap(), Lookup::Unknown);
    }
    assert_eq!(stage.counts().await.enqueued, 1);
}

/// A job can wait for one that comes earlier in its call, not for a later one and not for itself.
pub(super) async fn a_dependency_comes_first(stage: &Stage) {
    let (later, mut itself) = (stage.job(), stage.job());
    itself.waits_for = vec![itself.id];
    let (later_id, itself_id) = (later.id, itself.id);
    let early = stage.job_after([later_id]);
    let fine = stage.job_after([later_id]);
    let answer = stage.caller().enqueue(vec![early, itself, later, fine]).await;
    assert_eq!(
        answer,
        [
            Admission::UnknownDependency(later_id),
            Admission::UnknownDependency(itself_id),
            Admission::Added(State::Ready),
            Admission::Added(State::Waiting),
        ]
    );
}

/// A call may carry as many jobs as the contract says and not one more; one too many changes nothing.
pub(super) async fn a_call_has_a_largest_size(stage: &Stage) {
    let mut caller = stage.caller();
    let many: Vec<_> = (0..=MAX_ENQUEUE).map(|_| stage.job()).collect();
    let too_many = caller.next(many.clone());
    assert!(caller.make(too_many).await.unwrap_err().is_invalid());
    assert_eq!(stage.counts().await.enqueued, 0);
    caller.add(many[1..].to_vec()).await;
    assert_eq!(stage.counts().await.of(State::Ready), MAX_ENQUEUE as u64);
}

/// The jobs of a call wait for as many others, added up, as the contract says and not one more.
pub(super) async fn a_call_has_a_largest_number_of_edges(stage: &Stage) {
    let mut caller = stage.caller();
    let roots = stage.enqueue_many(MAX_WAITS_FOR / 2).await;
    let waiter = || stage.job_after(roots.clone());
    let one_more = stage.job_after([roots[0]]);
    let too_many = caller.next(vec![waiter(), waiter(), one_more]);
    assert!(caller.make(too_many).await.unwrap_err().is_invalid());
    assert_eq!(stage.counts().await.of(State::Waiting), 0);
    caller.add(vec![waiter(), waiter()]).await;
    assert_eq!(stage.counts().await.of(State::Waiting), 2);
}

/// A job whose id names another home refuses the whole call.
pub(super) async fn a_foreign_job_is_invalid(stage: &Stage) {
    let mut caller = stage.caller();
    let foreign = stage.job();
    let foreign = NewJob { id: foreign.id.at_home(&other_home(stage.shard())), ..foreign };
    let call = caller.next(vec![stage.job(), foreign]);
    assert!(caller.make(call).await.unwrap_err().is_invalid());
    assert_eq!(stage.counts().await.enqueued, 0);
    caller.add(vec![stage.job()]).await;
}

/// A call without jobs is answered without answers, and remembered.
pub(super) async fn an_empty_call_is_a_call(stage: &Stage) {
    let mut caller = stage.caller();
    assert_eq!(caller.enqueue(vec![]).await, []);
    let late = caller.last.clone();
    assert_eq!(caller.enqueue(vec![]).await, []);
    assert!(stage.storage().enqueue(late).await.unwrap_err().is_superseded());
    assert_eq!(stage.storage().shards().await.unwrap(), []);
}

/// A job whose dependencies have all completed does not wait.
pub(super) async fn what_it_waits_for_may_be_done_already(stage: &Stage) {
    let mut worker = stage.worker().await;
    stage.enqueue_many(2).await;
    let done = [worker.run_one(returned(b"one", HOUR)).await, worker.run_one(completed()).await];
    let at_once = stage.job_after(done);
    let later = NewJob { when: When::In(HOUR), ..stage.job_after(done) };
    let (at_once_id, later_id) = (at_once.id, later.id);
    let answer = stage.caller().enqueue(vec![at_once, later]).await;
    assert_eq!(answer, [State::Ready, State::Scheduled].map(Admission::Added));
    assert_eq!(ids(&worker.claim(2).await), [at_once_id]);
    let later = stage.get(later_id).await;
    assert_eq!(later.due_at, Some(later.enqueued_at + HOUR));
}

/// A job that is reached by the call that brings it takes its place in the order of the call.
pub(super) async fn what_is_reached_at_once_keeps_the_order(stage: &Stage) {
    let mut worker = stage.worker().await;
    stage.enqueue_many(1).await;
    let done = worker.run_one(completed()).await;
    let jobs = [stage.job(), stage.job_after([done]), stage.job(), stage.job_after([done]), stage.job()];
    let expected = stage.enqueue(jobs).await;
    assert_eq!(worker.claim_ids(9).await, expected);
}

/// However many jobs of a call wait for what has ended already, none of them is left waiting.
pub(super) async fn a_whole_call_may_be_reached_at_once(stage: &Stage) {
    let mut worker = stage.worker().await;
    stage.enqueue_many(2).await;
    let done = [worker.run_one(completed()).await, worker.run_one(died()).await];
    for (first, state) in done.into_iter().zip([State::Ready, State::Cancelled]) {
        let jobs = (0..MAX_WAITS_FOR).map(|_| stage.job_after([first])).collect();
        let answer = stage.caller().enqueue(jobs).await;
        let others = answer.iter().filter(|one| **one != Admission::Added(state)).count();
        assert_eq!(others, 0, "not {state} at once");
        assert_eq!(stage.counts().await.of(state), MAX_WAITS_FOR as u64);
    }
}

/// A job that waits for one that ended otherwise is taken in and cancelled at once.
pub(super) async fn what_it_waits_for_may_have_failed_already(stage: &Stage) {
    let mut worker = stage.worker().await;
    stage.enqueue_many(2).await;
    let good = worker.run_one(completed()).await;
    let bad = worker.run_one(died()).await;
    let [waiting] = stage.enqueue([stage.job()]).await;
    let doomed = stage.job_after([good, waiting, bad]);
    let id = doomed.id;
    let next = stage.job_after([id]);
    let next_id = next.id;
    let answer = stage.caller().enqueue(vec![doomed, next]).await;
    assert_eq!(answer, [State::Cancelled, State::Cancelled].map(Admission::Added));
    assert_eq!(stage.get(id).await.culprit, Some(bad));
    assert_eq!(stage.get(next_id).await.culprit, Some(bad));
    assert_eq!(stage.counts().await.ended.cancelled, 2);
}

/// Ten thousand jobs, sent in the largest calls, come out in the order they went in.
pub(super) async fn ten_thousand_keep_their_order(stage: &Stage) {
    let mut expected = Vec::new();
    for _ in 0..10 {
        expected.extend(stage.enqueue_many(MAX_ENQUEUE).await);
    }
    let mut worker = stage.worker().await;
    let mut claimed = Vec::new();
    loop {
        let runs = worker.claim(256).await;
        worker.complete_all(&runs).await;
        claimed.extend(ids(&runs));
        if runs.is_empty() {
            break;
        }
    }
    assert!(claimed == expected, "claimed in another order, or not all");
}

/// A shard whose tag differs from this one's.
fn other_home(home: &Shard) -> Shard {
    let names = ["elsewhere", "somewhere"].map(shard);
    names.into_iter().find(|other| other.tag() != home.tag()).expect("tags differ")
}

async fn sequences(stage: &Stage, ids: &[JobId]) -> Vec<u64> {
    let mut sequences = Vec::new();
    for id in ids {
        sequences.push(stage.get(*id).await.sequence.expect("ready jobs have one"));
    }
    sequences
}
