//! Unique jobs: of a key there is one, for as long as it says, and who comes meanwhile gets what it asked for.

use bytes::Bytes;

use super::actors::ids;
use super::notify::sleeper;
use super::phases::{CONFLICTS, Phase, WINDOWS, come, is_free};
use super::stage::{DAY, HALF, HOUR, MINUTE, Stage, completed, hear, key, returned, slots, task};
use crate::model::{Conflict, Job, JobId, NewJob, Parked, State, Unique, When, Window};
use crate::storage::{Act, Admission, Edit, Lookup, Usage};

/// What makes a job unique is stored as it came, and the key tells who has it.
pub(super) async fn it_is_stored_as_it_came(stage: &Stage) {
    for window in WINDOWS.into_iter().chain([Window::For(std::time::Duration::from_micros(1))]) {
        for conflict in CONFLICTS {
            let name = format!("key/é:{window:?}-{conflict:?}").replace(['(', ')', 'µ'], ".");
            let unique = Unique::new(key(&name), window, conflict);
            let [id] = stage.enqueue([NewJob { unique: Some(unique.clone()), ..stage.job() }]).await;
            let job = stage.get(id).await;
            assert_eq!(job.unique, Some(unique));
            let until = if let Window::For(length) = window { Some(job.enqueued_at + length) } else { None };
            let usage = stage.usage(&name).await;
            assert_eq!((usage.unique, usage.unique_until), (Some(id), until));
            assert_eq!((usage.running, usage.waiting, usage.throttled, usage.paid_at), (0, 0, 0, None));
        }
    }
}

/// In each phase of its life, a job keeps others out as long as its window says, and not a step longer; and whoever
/// comes is answered as it asked.
pub(super) async fn who_comes_gets_what_it_asked_for(stage: &Stage) {
    for window in WINDOWS {
        for phase in Phase::ALL {
            for conflict in CONFLICTS {
                let stage = stage.beside(&format!("{window:?}-{phase:?}-{conflict:?}").replace(['(', ')'], "-"));
                let owner = phase.bring(&stage, stage.job_unique(window, Conflict::Existing)).await;
                let taken = stage.counts().await.enqueued;
                let answer = come(&stage, window, conflict).await;
                let what = format!("{window:?} {phase:?} {conflict:?}");
                if !phase.is_in(window) {
                    assert_eq!(answer, Admission::Added(State::Ready), "{what}");
                    continue;
                }
                let state = phase.state();
                let stays = state.is_none_or(|state| state.is_end() || state == State::Running);
                let after =
                    if conflict == Conflict::Debounce && phase != Phase::Waiting { Some(State::Ready) } else { state };
                let expected = match (conflict, after) {
                    (Conflict::Reject, _) => Admission::Rejected(owner, state),
                    (Conflict::Replace | Conflict::Debounce, Some(after)) if !stays => {
                        Admission::Replaced(owner, after)
                    }
                    _ => Admission::Existing(owner, state),
                };
                assert_eq!(answer, expected, "{what}");
                assert_eq!(stage.counts().await.enqueued, taken, "{what}: nothing was taken in");
                assert_eq!(stage.usage("u").await.unique, Some(owner), "{what}");
            }
        }
    }
}

/// A job that is kept out leaves nothing behind: it is not stored, and the other is as it was.
pub(super) async fn who_is_kept_out_leaves_nothing(stage: &Stage) {
    let [owner] = stage.enqueue([stage.job_unique(Window::Forever, Conflict::Existing)]).await;
    let mut worker = stage.worker().await;
    let mut run = None;
    for _ in 0..3 {
        let before = stage.get(owner).await;
        let stays = before.state != State::Ready;
        for conflict in
            CONFLICTS.into_iter().filter(|one| stays || matches!(one, Conflict::Existing | Conflict::Reject))
        {
            let comer = NewJob {
                priority: 9,
                when: When::In(DAY),
                envelope: Bytes::from_static(b"new"),
                limits: vec![slots("k", 1)],
                ..stage.job_unique(Window::Forever, conflict)
            };
            let id = comer.id;
            stage.caller().enqueue_one(comer).await;
            assert_eq!(stage.get(owner).await, before);
            assert_eq!(stage.storage().get(id).await.unwrap(), Lookup::Unknown);
        }
        match &run {
            None => run = Some(worker.claim_one().await),
            Some(run) => drop(worker.settle(run, returned(b"kept", DAY)).await),
        }
    }
    assert_eq!(stage.counts().await.enqueued, 1);
    assert_eq!(worker.claim(9).await, []);
}

/// Whoever replaces hands over envelope and priority, and nothing else.
pub(super) async fn replacing_hands_over_envelope_and_priority(stage: &Stage) {
    for phase in [Phase::Waiting, Phase::Scheduled, Phase::Ready, Phase::Parked, Phase::Retrying, Phase::Crashed] {
        let stage = stage.beside(&format!("{phase:?}"));
        let owner = phase.bring(&stage, stage.job_unique(Window::Forever, Conflict::Existing)).await;
        let before = stage.get(owner).await;
        let comer = NewJob {
            priority: 7,
            when: When::In(MINUTE),
            expires: Some(When::In(MINUTE)),
            envelope: Bytes::from_static(b"new"),
            limits: vec![slots("k", 1)],
            task: task("other"),
            ..stage.job_unique(Window::Started, Conflict::Replace)
        };
        assert_eq!(stage.caller().enqueue_one(comer).await, Admission::Replaced(owner, before.state));
        let expected = Job { priority: 7, envelope: Bytes::from_static(b"new"), ..before };
        assert_eq!(stage.get(owner).await, expected);
    }
}

/// A job that was replaced stands where its new priority says, and runs with what it was handed.
pub(super) async fn the_replaced_moves_up(stage: &Stage) {
    let [before, owner] = stage.enqueue([stage.job(), stage.job_unique(Window::Started, Conflict::Existing)]).await;
    let comer = |priority, envelope| NewJob {
        priority,
        envelope: Bytes::from_static(envelope),
        ..stage.job_unique(Window::Started, Conflict::Replace)
    };
    let mut caller = stage.caller();
    let answer = caller.enqueue(vec![comer(1, b"one"), comer(2, b"two")]).await;
    assert_eq!(answer, [Admission::Replaced(owner, State::Ready); 2]);
    let runs = stage.worker().await.claim(9).await;
    assert_eq!(ids(&runs), [owner, before]);
    assert_eq!((runs[0].job.priority, &runs[0].job.envelope[..]), (2, &b"two"[..]));
}

/// Each comer pushes the start out, again and again; then the job runs once, with what the last one brought.
pub(super) async fn each_comer_pushes_the_start_out(stage: &Stage) {
    let comer = |envelope: &[u8]| NewJob {
        when: When::In(MINUTE),
        envelope: Bytes::copy_from_slice(envelope),
        priority: 5,
        ..stage.job_unique(Window::Started, Conflict::Debounce)
    };
    let [owner] = stage.enqueue([NewJob { priority: 3, ..comer(b"first") }]).await;
    let mut worker = stage.worker().await;
    for n in 0..5_u8 {
        stage.advance_until_just_before(MINUTE).await;
        assert_eq!(worker.claim(9).await, []);
        assert_eq!(stage.caller().enqueue_one(comer(&[n])).await, Admission::Replaced(owner, State::Scheduled));
        stage.assert_same_time(stage.get(owner).await.due_at.unwrap(), stage.now().await + MINUTE);
    }
    stage.advance_until_just_before(MINUTE).await;
    assert_eq!(worker.claim(9).await, []);
    stage.advance(stage.tick()).await;
    let run = worker.claim_one().await;
    assert_eq!((run.job.id, &run.job.envelope[..], run.job.priority), (owner, &[4][..], 3));
    let next = comer(b"next");
    let id = next.id;
    assert_eq!(stage.caller().enqueue_one(next).await, Admission::Added(State::Scheduled), "it has started");
    worker.finish(&run, completed()).await;
    stage.advance(MINUTE).await;
    assert_eq!(worker.claim_ids(9).await, [id]);
    assert_eq!(stage.counts().await.enqueued, 2);
}

/// A comer may push the start of a ready job out, a parked one's too, and bring that of a scheduled one forward; who
/// sleeps hears of it.
pub(super) async fn a_comer_moves_the_start_as_an_edit_would(stage: &Stage) {
    let comer = |when| NewJob { when, ..stage.job_unique(Window::Finished, Conflict::Debounce) };
    let [owner] = stage.enqueue([comer(When::Now)]).await;
    let mut stranger = stage.worker_of(&["strange"]).await;
    assert_eq!(stranger.claim(1).await, []);
    assert_eq!(stage.get(owner).await.parked, Some(Parked::UnknownTask));
    let answer = stage.caller().enqueue_one(comer(When::In(HOUR))).await;
    assert_eq!(answer, Admission::Replaced(owner, State::Scheduled));
    assert_eq!((stage.get(owner).await.parked, stage.counts().await.parked), (None, 0));
    assert_eq!(stage.worker().await.claim(9).await, []);
    let (mut worker, ear) = sleeper(stage, &["t"]).await;
    assert_eq!(stage.caller().enqueue_one(comer(When::Now)).await, Admission::Replaced(owner, State::Ready));
    hear(&ear, "it is to start now").await;
    assert_eq!(worker.claim_ids(9).await, [owner]);
}

/// What expires a job that is pushed out is counted anew, as with any edit.
pub(super) async fn pushing_out_pushes_the_expiry_out(stage: &Stage) {
    let comer = || NewJob {
        when: When::In(MINUTE),
        expires: Some(When::In(MINUTE)),
        ..stage.job_unique(Window::Finished, Conflict::Debounce)
    };
    let [owner] = stage.enqueue([comer()]).await;
    for _ in 0..4 {
        stage.advance(HALF).await;
        stage.caller().enqueue_one(comer()).await;
    }
    stage.assert_same_time(stage.get(owner).await.expires_at.unwrap(), stage.now().await + MINUTE * 2);
    stage.advance(MINUTE).await;
    assert_eq!(stage.worker().await.claim_ids(9).await, [owner]);
}

/// The jobs of one call keep each other out like those of several.
pub(super) async fn within_a_call_too(stage: &Stage) {
    let job = |conflict| stage.job_unique(Window::Finished, conflict);
    let first = job(Conflict::Reject);
    let owner = first.id;
    let left_out = job(Conflict::Existing);
    let later = NewJob { when: When::In(HOUR), ..job(Conflict::Debounce) };
    let waits_for_owner = stage.job_after([owner]);
    let waits_for_nobody = stage.job_after([left_out.id]);
    let missing = left_out.id;
    let jobs = vec![
        first.clone(),
        left_out,
        job(Conflict::Reject),
        NewJob { priority: 5, ..job(Conflict::Replace) },
        later,
        first,
        waits_for_owner,
        waits_for_nobody,
        stage.job(),
    ];
    let answer = stage.caller().enqueue(jobs).await;
    use State::{Ready, Scheduled, Waiting};
    let expected = [
        Admission::Added(Ready),
        Admission::Existing(owner, Some(Ready)),
        Admission::Rejected(owner, Some(Ready)),
        Admission::Replaced(owner, Ready),
        Admission::Replaced(owner, Scheduled),
        Admission::Duplicate(Scheduled),
        Admission::Added(Waiting),
        Admission::UnknownDependency(missing),
        Admission::Added(Ready),
    ];
    assert_eq!(answer, expected);
    let states: Vec<_> = answer.iter().map(|one| one.state()).collect();
    let shown = [Ready, Ready, Ready, Ready, Scheduled, Scheduled, Waiting].map(Some);
    assert_eq!((&states[..7], states[7], states[8]), (&shown[..], None, Some(Ready)));
    assert_eq!((stage.get(owner).await.priority, stage.counts().await.enqueued), (5, 3));
}

/// A whole call of one key makes one job; a call of many keys makes one of each.
pub(super) async fn a_call_of_a_thousand(stage: &Stage) {
    let unique = |n: usize| NewJob {
        unique: Some(Unique::new(key(&format!("u{}", n % 100)), Window::Finished, Conflict::Existing)),
        ..stage.job()
    };
    let answer = stage.caller().enqueue((0..1_000).map(unique).collect()).await;
    assert!(answer[..100].iter().all(|one| *one == Admission::Added(State::Ready)));
    assert!(answer[100..].iter().all(|one| matches!(one, Admission::Existing(_, Some(State::Ready)))));
    assert_eq!(stage.counts().await.enqueued, 100);
}

/// An enqueue whose answer was lost is answered the same by its number, whatever has become of the key since, and
/// replaces nothing twice.
pub(super) async fn a_lost_answer_is_repeated(stage: &Stage) {
    let mut caller = stage.caller();
    let first = stage.job_unique(Window::Finished, Conflict::Existing);
    let owner = first.id;
    assert_eq!(caller.enqueue_one(first).await, Admission::Added(State::Ready));
    assert_eq!(caller.repeat().await, [Admission::Added(State::Ready)]);
    let mut other = stage.caller();
    let replace = NewJob { priority: 3, ..stage.job_unique(Window::Finished, Conflict::Replace) };
    assert_eq!(other.enqueue(vec![replace]).await, [Admission::Replaced(owner, State::Ready)]);
    stage.act(owner, &Act::Edit(Edit::new().priority(4))).await;
    assert_eq!(other.repeat().await, [Admission::Replaced(owner, State::Ready)]);
    assert_eq!(stage.get(owner).await.priority, 4);
    let mut third = stage.caller();
    let kept_out = stage.job_unique(Window::Finished, Conflict::Existing);
    assert_eq!(third.enqueue(vec![kept_out]).await, [Admission::Existing(owner, Some(State::Ready))]);
    stage.cancel(owner).await;
    for caller in [&caller, &other, &third] {
        caller.repeat().await;
    }
    assert_eq!(third.repeat().await, [Admission::Existing(owner, Some(State::Ready))]);
    assert_eq!((stage.counts().await.enqueued, stage.usage("u").await), (1, Usage::new()));
}

/// Whether a job is stored already is looked at first: it is no conflict with itself, and takes no key by being sent again.
pub(super) async fn a_duplicate_is_told_first(stage: &Stage) {
    let job = stage.job_unique(Window::Forever, Conflict::Reject);
    stage.enqueue([job.clone()]).await;
    assert_eq!(stage.caller().enqueue_one(job.clone()).await, Admission::Duplicate(State::Ready));
    stage.worker().await.run_one(completed()).await;
    assert_eq!(stage.caller().enqueue_one(job).await, Admission::Duplicate(State::Completed));
    let plain = stage.job();
    stage.enqueue([plain.clone()]).await;
    let unique = Some(Unique::new(key("v"), Window::Forever, Conflict::Reject));
    assert_eq!(stage.caller().enqueue_one(NewJob { unique, ..plain }).await, Admission::Duplicate(State::Ready));
    assert_eq!(stage.usage("v").await, Usage::new());
}

/// A job that is not taken in takes no key: one that waits for a stranger, and one in a call that is invalid.
pub(super) async fn who_is_refused_takes_no_key(stage: &Stage) {
    let stranger = JobId::new(stage.shard());
    let orphan = NewJob { waits_for: vec![stranger], ..stage.job_unique(Window::Forever, Conflict::Reject) };
    assert_eq!(stage.caller().enqueue_one(orphan).await, Admission::UnknownDependency(stranger));
    let mut caller = stage.caller();
    let impossible = stage.job_under([slots("k", 0)]);
    let call = caller.next(vec![stage.job_unique(Window::Forever, Conflict::Reject), impossible]);
    assert!(caller.make(call).await.unwrap_err().is_invalid());
    assert_eq!(stage.usage("u").await, Usage::new());
    assert_eq!(come(stage, Window::Forever, Conflict::Reject).await, Admission::Added(State::Ready));
}

/// Keys of another queue, other keys, and limits of the same key keep nobody out.
pub(super) async fn keys_are_apart(stage: &Stage) {
    let other = stage.beside("other");
    let unique = |name| Some(Unique::new(key(name), Window::Finished, Conflict::Reject));
    for stage in [stage, &other] {
        let jobs = [stage.job_under([slots("u", 1)]), stage.job_unique(Window::Finished, Conflict::Reject)];
        stage.enqueue(jobs).await;
        stage
            .enqueue([NewJob { unique: unique("U"), ..stage.job() }, NewJob { unique: unique("u."), ..stage.job() }])
            .await;
        assert!(!is_free(stage).await);
    }
}

/// A unique job may be limited too: it has its key while it waits for a slot.
pub(super) async fn who_waits_for_a_slot_has_its_key(stage: &Stage) {
    let limited = |conflict| NewJob { limits: vec![slots("k", 1)], ..stage.job_unique(Window::Finished, conflict) };
    stage.enqueue_under(&[slots("k", 1)], 1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let [owner] = stage.enqueue([limited(Conflict::Existing)]).await;
    assert_eq!(stage.get(owner).await.parked, Some(Parked::LimitFull));
    let answer = stage.caller().enqueue_one(NewJob { priority: 2, ..limited(Conflict::Replace) }).await;
    assert_eq!((answer, stage.usage("k").await.waiting), (Admission::Replaced(owner, State::Ready), 1));
    worker.finish(&run, completed()).await;
    assert_eq!(worker.claim_ids(9).await, [owner]);
}

/// Keys are kept by a storage that is opened anew.
pub(super) async fn opened_anew_it_keeps_out(stage: &Stage) {
    for (n, window) in WINDOWS.into_iter().enumerate() {
        let unique = Some(Unique::new(key(&format!("u{n}")), window, Conflict::Reject));
        stage.enqueue([NewJob { unique, ..stage.job() }]).await;
    }
    let before = stage.usage("u2").await;
    let Some(stage) = stage.reopen().await else { return };
    assert_eq!(stage.usage("u2").await, before);
    let mut caller = stage.caller();
    for (n, window) in WINDOWS.into_iter().enumerate() {
        let unique = Some(Unique::new(key(&format!("u{n}")), window, Conflict::Reject));
        let answer = caller.enqueue_one(NewJob { unique, ..stage.job() }).await;
        assert!(matches!(answer, Admission::Rejected(_, Some(State::Ready))), "{answer:?}");
    }
    stage.end().await;
}
