//! The exact sentence of every reason.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{
    EndReason, Failure, FailureKind, Fence, Job, JobId, Lease, Limit, NewJob, Node, Parked, Progress, Rate, Shard,
    State, Timestamp, Trigger, When, WhenFull, WorkerId,
};
use queue_storage::storage::{Control, Controls, LeaseTerms, Revocation, Scope, Usage, WorkerRecord};

use super::why::{Evidence, why};
use super::{Blocker, Explanation, Why};

const ID: &str = "01M82CPPHQE7PAX6BS1MZEJDWH";
const OTHER: &str = "01M82CPPHQE7PAX6BS1TWNXSWH";
const HOUR: Duration = Duration::from_secs(3_600);

fn noon() -> Timestamp {
    Timestamp::from_micros(1_795_348_800_000_000)
}

fn shard(name: &str) -> Shard {
    Shard::of(name.parse().unwrap())
}

fn worker() -> WorkerRecord {
    WorkerRecord {
        id: WorkerId::from_u128(7),
        host: "box:42".into(),
        version: None,
        shards: vec![shard("q")],
        tasks: BTreeSet::from(["mail".parse().unwrap()]),
        understands: 1,
        lease: LeaseTerms::default(),
        concurrency: 20,
        started_at: noon() - HOUR,
        seen_at: noon() - Duration::from_secs(10),
    }
}

fn evidence() -> Evidence {
    let (controls, usage) = (Controls::default(), Usage::new());
    Evidence { controls, workers: vec![worker()], ready: 1, running: 0, usage, blockers: Vec::new(), now: noon() }
}

fn job(change: impl FnOnce(&mut NewJob)) -> Job {
    let mut new = NewJob::new(ID.parse().unwrap(), "mail".parse().unwrap(), Bytes::new());
    change(&mut new);
    Job::admitted(new, shard("q"), noon() - HOUR)
}

fn ready() -> Job {
    job(|_| {})
}

/// The sentence after the job's name.
fn says(job: &Job, evidence: &Evidence) -> String {
    let explanation = Explanation::new(job, why(job, evidence));
    assert_eq!(explanation.to_string(), explanation.text);
    let start = format!("job {ID} of task `mail` ");
    explanation.text.strip_prefix(&start).unwrap_or_else(|| panic!("{explanation}")).to_owned()
}

fn with(change: impl FnOnce(&mut Evidence)) -> Evidence {
    let mut evidence = evidence();
    change(&mut evidence);
    evidence
}

fn controlled(change: &Control) -> Evidence {
    with(|evidence| assert!(evidence.controls.apply(change, noon() - HOUR)))
}

#[test]
fn what_is_in_the_way_of_a_ready_job() {
    let until = Some(noon() + HOUR);
    let mail = || Scope::Task("mail".parse().unwrap());
    let mut revoked = Revocation::default();
    revoked.task = Some("mail".parse().unwrap());
    let mut next = revoked.clone();
    (next.until, next.next_only) = (until, true);
    let cases = [
        (evidence(), "is ready: nothing is before it; 1 live worker with 20 slots can run it"),
        (
            with(|e| {
                (e.ready, e.workers) = (9, vec![worker(), WorkerRecord { id: WorkerId::from_u128(8), ..worker() }]);
            }),
            "is ready: 9 jobs are ready in queue `q`, itself among them; 2 live workers with 40 slots can run it",
        ),
        (
            controlled(&Control::Pause(Scope::Queue, None)),
            "is ready, but queue `q` is paused since 2026-11-22T11:00:00.000Z, until someone resumes it",
        ),
        (
            controlled(&Control::Pause(mail(), until)),
            "is ready, but task `mail` is paused in queue `q` since 2026-11-22T11:00:00.000Z, until \
             2026-11-22T13:00:00.000Z",
        ),
        (
            controlled(&Control::Pause(mail(), Some(noon()))),
            "is ready: nothing is before it; 1 live worker with 20 slots can run it",
        ),
        (
            controlled(&Control::Revoke(revoked)),
            "is ready, but it is revoked: it will be cancelled when a worker takes it",
        ),
        (
            controlled(&Control::Revoke(next)),
            "is ready, but it is revoked until 2026-11-22T13:00:00.000Z, as the next of its sort: it will be cancelled when \
             a worker takes it",
        ),
        (with(|e| e.workers.clear()), "is ready, but no live worker serves queue `q`: start one"),
        (
            with(|e| e.workers[0].seen_at = noon() - Duration::from_secs(61)),
            "is ready, but no live worker serves queue `q`: start one",
        ),
        (
            with(|e| e.workers[0].tasks.clear()),
            "is ready, but 1 live worker serves queue `q` and none knows task `mail`; no live worker does: add it to a \
             worker's `.tasks(tasks![…])`",
        ),
        (
            with(|e| {
                e.workers.push(WorkerRecord { shards: vec![shard("a"), shard("b")], ..worker() });
                e.workers[0].tasks.clear();
                e.workers.push(e.workers[0].clone());
            }),
            "is ready, but 2 live workers serve queue `q` and none knows task `mail`; workers that serve `a`, `b` do",
        ),
        (
            controlled(&Control::Pause(Scope::Worker(worker().id), None)),
            "is ready, but every live worker that could run it is paused (1)",
        ),
    ];
    for (evidence, text) in cases {
        assert_eq!(says(&ready(), &evidence), text);
    }
}

#[test]
fn what_is_special_about_a_job() {
    let mut suspect = ready();
    suspect.suspect = true;
    let cases = [
        (
            job(|new| new.needs = 2),
            "is ready, but a newer program stored it: it needs a worker of level 2, and those that know task `mail` are of \
             level 1; upgrade them",
        ),
        (
            suspect,
            "is ready: nothing is before it; 1 live worker with 20 slots can run it; its last worker vanished while it ran, \
             so it is run when no other such job runs in that process",
        ),
        (
            job(|new| new.expires = Some(When::In(Duration::from_secs(60)))),
            "is ready, but its time to start passed at 2026-11-22T11:01:00.000Z: the next worker that looks expires it",
        ),
        (
            job(|new| new.deadline = Some(When::At(noon()))),
            "is ready, but its deadline passed at 2026-11-22T12:00:00.000Z: the next worker that looks expires it",
        ),
        (job(|new| new.when = When::In(HOUR * 2)), "is scheduled until 2026-11-22T13:00:00.000Z"),
        (job(|new| new.when = When::In(HOUR)), "is due: nothing is before it; 1 live worker with 20 slots can run it"),
    ];
    for (job, text) in cases {
        assert_eq!(says(&job, &evidence()), text);
    }
}

#[test]
fn what_a_job_waits_for() {
    let waits = |count: u128| job(|new| new.waits_for = (0..count).map(JobId::from_u128).collect());
    let blocker =
        Blocker { id: OTHER.parse().unwrap(), task: Some("fetch".parse().unwrap()), state: Some(State::Retrying) };
    let gone = Blocker { id: OTHER.parse().unwrap(), task: None, state: None };
    let cases = [
        (1, vec![blocker.clone()], format!("waits for job {OTHER} of task `fetch` (retrying)")),
        (
            2,
            vec![blocker.clone(), gone],
            format!("waits for job {OTHER} of task `fetch` (retrying) and job {OTHER} (gone)"),
        ),
        (12, vec![blocker], format!("waits for job {OTHER} of task `fetch` (retrying) and 2 more")),
        (1, vec![], "waits for jobs that have just ended".to_owned()),
    ];
    for (count, blockers, text) in cases {
        assert_eq!(says(&waits(count), &with(|e| e.blockers = blockers)), text);
    }
}

#[test]
fn what_a_job_of_a_flow_waits_for() {
    let blocker =
        Blocker { id: OTHER.parse().unwrap(), task: Some("fetch".parse().unwrap()), state: Some(State::Retrying) };
    let gone = Blocker { id: OTHER.parse().unwrap(), task: None, state: None };
    let evidence = with(|e| e.blockers = vec![blocker, gone]);
    let waits = |node: Node, trigger| {
        job(|new| {
            new.waits_for = [1, 2].map(JobId::from_u128).to_vec();
            (new.node, new.trigger) = (node, trigger);
        })
    };
    let relay = || Node::Relay { shard: shard("b"), to: OTHER.parse().unwrap() };
    let both = format!("job {OTHER} of task `fetch` (retrying) and job {OTHER} (gone)");
    let cases = [
        (Node::Task, Trigger::Ended, format!("waits for the end, whatever it is, of {both}")),
        (
            Node::Task,
            Trigger::Failed,
            format!(
                "runs only if one of these does not complete: job {OTHER} of task `fetch` (retrying), job {OTHER} (gone)"
            ),
        ),
        (Node::Gather { keep: HOUR }, Trigger::Completed, format!("gathers: it waits for {both}")),
        (
            relay(),
            Trigger::Ended,
            format!("waits for the end, whatever it is, of {both}, and then tells queue `b` of it"),
        ),
    ];
    for (node, trigger, text) in cases {
        assert_eq!(says(&waits(node, trigger), &evidence), text);
    }

    let hold = job(|new| new.node = Node::Hold);
    assert_eq!(says(&hold, &evidence), "stands for a job in another queue, and waits for the end of that");
    let seal = job(|new| (new.node, new.expires) = (Node::Hold, Some(When::In(HOUR * 2))));
    let text = "stands for the rest of its flow, which is not stored whole yet; if that is not there by \
                2026-11-22T13:00:00.000Z, it expires";
    assert_eq!(says(&seal, &evidence), text);

    let mut carried = waits(relay(), Trigger::Ended);
    (carried.state, carried.parked) = (State::Ready, Some(Parked::Outbox));
    let way = format!("hands on what it waited for, which is on its way to job {OTHER} in queue `b`");
    let pairs = [
        (vec![], "no live worker serves queue `q`, which would carry it: start one"),
        (vec![worker()], "1 live worker serves queue `q` and carries it"),
        (vec![worker(), worker()], "2 live workers serve queue `q`, and one of them carries it"),
    ];
    for (workers, by) in pairs {
        assert_eq!(says(&carried, &with(|e| e.workers = workers)), format!("{way}; {by}"));
    }
}

#[test]
fn what_a_run_does() {
    let mut runs = ready();
    (runs.state, runs.worker, runs.started_at) = (State::Running, Some(worker().id), Some(noon() - HOUR));
    let until = noon() + Duration::from_secs(5);
    runs.lease = Some(Lease { worker: worker().id, fence: Fence(1), until, delivered: true });
    let on = "runs on worker 00000000000000000000000007 (box:42) since 2026-11-22T11:00:00.000Z";
    assert_eq!(says(&runs, &evidence()), on);
    runs.progress = Some(Progress::new(3, 10, "resizing"));
    runs.cancel_requested = true;
    assert_eq!(says(&runs, &evidence()), format!("{on}; it got to 3 of 10, resizing; it was asked to stop"));
    runs.cancel_requested = false;
    runs.progress = Some(Progress::new(3, 0, ""));
    let lost = "; its lease ran out at 2026-11-22T12:00:05.000Z: the next worker that looks takes it back";
    assert_eq!(says(&runs, &with(|e| e.now = until)), format!("{on}; it got to 3 done{lost}"));
    (runs.state, runs.due_at, runs.attempts) = (State::Retrying, Some(noon() + HOUR), 2);
    runs.failure = Some(Failure::new(FailureKind::Panic, "boom"));
    assert_eq!(says(&runs, &evidence()), "is retrying until 2026-11-22T13:00:00.000Z, after attempt 2: panicked: boom");
}

#[test]
fn how_each_job_ended() {
    let reasons = [
        (EndReason::Exhausted, "it failed, and no retry was left"),
        (EndReason::Fatal, "its task said that another run can't help"),
        (EndReason::Undecodable, "its envelope or arguments could not be decoded"),
        (EndReason::Unstorable, "its task succeeded, but the result could not be stored"),
        (EndReason::Crashed, "its workers vanished too often while it ran"),
        (EndReason::Interrupted, "its worker vanished while it ran, and it runs at most once"),
        (EndReason::UnknownTask, "no worker that looked at it knew its task, for too long"),
        (EndReason::NotNeeded, "it was there for the case that a job fails, and none did"),
        (EndReason::Full, "no slot was free when it came to run, and it was not to wait for one"),
        (EndReason::Requested, "someone cancelled it"),
        (EndReason::Revoked, "it came to run while jobs like it were revoked"),
        (EndReason::CalledOff, "its own task called it off"),
        (EndReason::Overdue, "its first run did not start in time"),
        (EndReason::Deadline, "it had not ended by its deadline"),
        (EndReason::from("eclipse"), "`eclipse`, which a newer program knows"),
    ];
    let mut ended = ready();
    ended.ended_at = Some(noon());
    for (state, verb) in [(State::Dead, "died"), (State::Cancelled, "was cancelled"), (State::Expired, "expired")] {
        for (reason, words) in &reasons {
            (ended.state, ended.reason) = (state, Some(reason.clone()));
            assert_eq!(says(&ended, &evidence()), format!("{verb} at 2026-11-22T12:00:00.000Z: {words}"));
        }
    }
    (ended.state, ended.reason, ended.culprit) =
        (State::Cancelled, Some(EndReason::Dependency), Some(OTHER.parse().unwrap()));
    let text = format!("was cancelled at 2026-11-22T12:00:00.000Z: a job it waited for did not complete (job {OTHER})");
    assert_eq!(says(&ended, &evidence()), text);
    (ended.state, ended.reason, ended.culprit) = (State::Dead, Some(EndReason::Exhausted), None);
    ended.failure = Some(Failure::new(FailureKind::Error, "no route"));
    assert_eq!(
        says(&ended, &evidence()),
        "died at 2026-11-22T12:00:00.000Z: it failed, and no retry was left: no route"
    );
    (ended.state, ended.reason) = (State::Completed, None);
    assert_eq!(says(&ended, &evidence()), "completed at 2026-11-22T12:00:00.000Z", "what failed before is past");
}

#[test]
fn what_is_not_stored() {
    let id: JobId = ID.parse().unwrap();
    assert_eq!(Explanation::of_none(id, Why::Unknown).text, format!("job {ID} was never stored"));
    assert_eq!(Explanation::of_none(id, Why::Gone).text, format!("job {ID} ended, and the time it is kept has passed"));
}

#[test]
fn as_data() {
    let explanation = Explanation::new(&ready(), why(&ready(), &controlled(&Control::Pause(Scope::Queue, None))));
    let text = "job 01M82CPPHQE7PAX6BS1MZEJDWH of task `mail` is ready, but queue `q` is paused since \
                2026-11-22T11:00:00.000Z, until someone resumes it";
    assert_eq!(
        serde_json::to_string(&explanation).unwrap(),
        format!(
            r#"{{"id":"{ID}","task":"mail","queue":"q","state":"ready","why":{{"reason":"queue_paused","since":"2026-11-22T11:00:00.000Z","until":null}},"text":"{text}"}}"#
        )
    );
}

/// A ready job that is parked for a limit of its.
fn held_back(limit: Limit, parked: Parked) -> Job {
    let key = limit.key().clone();
    let mut job = job(|new| new.limits = vec![limit]);
    (job.parked, job.parked_at, job.parked_for) = (Some(parked), Some(noon()), Some(key));
    job
}

#[test]
fn what_holds_a_job_back_for_the_sake_of_others() {
    let key = || "arg:mail:tenant:acme".parse().unwrap();
    let full = held_back(Limit::Slots { key: key(), most: 5, full: WhenFull::Wait }, Parked::LimitFull);
    let used = with(|evidence| (evidence.usage.running, evidence.usage.waiting) = (5, 3));
    let text = "is ready, but 5 jobs run under `arg:mail:tenant:acme` and 5 may at once; 2 others wait for the same";
    assert_eq!(says(&full, &used), text);
    let structured = Why::LimitFull { key: Some(key()), most: 5, running: 5, waiting: 2 };
    assert_eq!(why(&full, &used), structured);

    let rate = Rate::per(Duration::from_secs(1), 100);
    let mut early = held_back(Limit::Rate { key: key(), rate, cost: 1 }, Parked::RateWindow);
    early.opens_at = Some(noon() + HOUR);
    let used = with(|evidence| evidence.usage.throttled = 2);
    let text = "is ready, but the rate of `arg:mail:tenant:acme` admits no start before 2026-11-22T13:00:00.000Z; 1 other \
                waits for the same";
    assert_eq!(says(&early, &used), text);

    let crowded = with(|evidence| {
        evidence.controls.apply(&Control::Slots(Some(2)), noon());
        (evidence.running, evidence.ready) = (2, 1);
    });
    assert_eq!(says(&ready(), &crowded), "is ready, but 2 jobs run in queue `q` and 2 may at once");
}
