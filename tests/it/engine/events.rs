//! What is told of what happens: the sequence of each outcome, to handlers in the process and to streams.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use queue::storage::model::{LEVEL, QueueName, Shard, WorkerId};
use queue::storage::storage::{Exchange, LeaseTerms, Renewal, WorkerRecord};
use queue::{
    Client, Context, Data, EndReason, Event, EventKind, EventStream, FailureKind, JobId, TaskError, TaskResultExt,
    Worker, group, task, tasks,
};
use tokio::sync::Semaphore;

use super::{Runs, worker};
use crate::support::saboteur::{Call, Lose, Saboteur};
use crate::support::{PATIENCE, Place, Timed, eventually, on_every_clock, on_every_storage};
use EventKind::{
    Cancelled, Died, Enqueued, Expired, Failed, Interrupted, Missed, Progressed, QueuePaused, QueueResumed, Reclaimed,
    Retrying, Scheduled, Snoozed, Stalled, Started, Succeeded, WorkerDraining, WorkerLost, WorkerStarted,
    WorkerStopped,
};

on_every_storage!(
    of_a_success,
    of_a_delay,
    of_a_retry_and_a_death,
    of_a_fatal_failure,
    of_a_timeout,
    of_a_panic,
    of_a_snooze,
    of_a_cancellation_at_rest,
    of_a_cancellation_of_a_run,
    of_an_expiry,
    of_a_crash,
    of_a_lease_that_is_lost,
    of_a_stop,
    of_what_waits_for_a_failure,
    of_progress,
    of_many_at_once,
    of_flows_and_revivals,
    of_queues,
    handlers_and_streams_are_told_the_same,
    a_handler_that_fails_or_is_slow_harms_nothing,
    filters_let_through_what_they_say,
    in_immediate_mode,
    nothing_is_announced_while_nobody_listens,
    handlers_hear_while_the_storage_takes_no_news,
);

on_every_clock!(of_a_worker_that_is_lost);

/// Short leases, for what is to be taken back.
const LEASE: Duration = Duration::from_millis(300);

#[task]
async fn succeeds() -> Result<u32, TaskError> {
    Ok(7)
}

#[task(retries = 1, backoff = fixed("10ms"))]
async fn fails() -> Result<(), std::io::Error> {
    Err(std::io::Error::other("no disk"))
}

#[task(retries = 9)]
async fn is_wrong() -> Result<(), TaskError> {
    Err("never").fatal()
}

#[task(timeout = "20ms")]
async fn takes_long() -> Result<(), TaskError> {
    std::future::pending().await
}

#[task]
async fn panics() -> Result<(), TaskError> {
    panic!("boom")
}

#[task]
async fn snoozes(runs: Data<Runs>) -> Result<(), TaskError> {
    if runs.count() == 1 { Err(TaskError::snooze(Duration::from_millis(20))) } else { Ok(()) }
}

#[task]
async fn waits(ctx: Context, begun: Data<Semaphore>) -> Result<(), TaskError> {
    begun.add_permits(1);
    ctx.cancelled().await;
    Err("told to stop".into())
}

#[task]
async fn hangs(begun: Data<Semaphore>) -> Result<(), TaskError> {
    begun.add_permits(1);
    std::future::pending().await
}

#[task]
async fn counts_up(ctx: Context) -> Result<(), TaskError> {
    ctx.progress(1, 2, "half");
    Ok(())
}

/// The next event of a job.
async fn next(events: &mut EventStream) -> Event {
    tokio::time::timeout(PATIENCE, events.next()).await.expect("an event comes").expect("the storage is open")
}

/// The kinds of the next events, as many as these; each of `id`.
async fn hears<const N: usize>(events: &mut EventStream, id: JobId, kinds: [EventKind; N]) -> [Event; N] {
    let mut heard = Vec::new();
    for kind in kinds {
        let event = next(events).await;
        assert_eq!((event.kind, event.job), (kind, Some(id)), "after {heard:?}: {event:?}");
        heard.push(event);
    }
    heard.try_into().expect("so many were heard")
}

/// A stream of all that happens to jobs.
async fn listen(client: &Client) -> EventStream {
    let kinds: Vec<_> = EventKind::ALL.iter().copied().filter(|kind| !kind.as_str().starts_with("worker")).collect();
    client.events().of(kinds).await.unwrap()
}

/// Runs a worker with every task until `story` has been told.
async fn told(place: &Place, story: impl Future<Output = ()>) {
    told_by(&place.client, story).await;
}

async fn told_by(client: &Client, story: impl Future<Output = ()>) {
    let all = tasks![succeeds, fails, is_wrong, takes_long, panics, snoozes, waits, hangs, counts_up];
    let worker = Worker::builder(client).tasks(all).data_arc(begun()).data(Runs::default()).lease(LEASE);
    // What hangs is let go of at once: a suspect that runs on would keep those of every other test from running.
    worker.grace(Duration::ZERO).build().unwrap().run_until(story).await.unwrap();
}

fn begun() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

async fn of_a_success(place: Place) {
    let mut events = listen(&place.client).await;
    let job = succeeds::new().enqueue(&place.client).await.unwrap();
    told(&place, async {
        let [stored, started, ended] = hears(&mut events, job.id(), [Enqueued, Started, Succeeded]).await;
        for event in [&stored, &started, &ended] {
            assert_eq!((event.queue.as_deref(), event.task.as_deref()), (Some("default"), Some("succeeds")));
        }
        assert_eq!((stored.worker, stored.attempt), (None, None));
        assert!(started.worker.is_some() && started.worker == ended.worker);
        assert_eq!((started.attempt, ended.attempt), (Some(1), Some(1)));
        assert!(started.waited.is_some() && ended.took.is_some() && ended.error.is_none());
        assert_eq!(job.result().await.unwrap(), Some(7), "what is told is true already");
    })
    .await;
}

async fn of_a_delay(place: Place) {
    let mut events = listen(&place.client).await;
    let job = succeeds::new().delay(Duration::from_millis(50)).enqueue(&place.client).await.unwrap();
    told(&place, async {
        let kinds = [Enqueued, Scheduled, Started, Succeeded];
        let [stored, scheduled, started, _] = hears(&mut events, job.id(), kinds).await;
        let due = scheduled.due.unwrap().duration_since(stored.at).unwrap();
        assert!(due >= Duration::from_millis(45) && started.waited.unwrap() < PATIENCE, "{due:?}");
    })
    .await;
}

async fn of_a_retry_and_a_death(place: Place) {
    let mut events = listen(&place.client).await;
    let job = fails::new().enqueue(&place.client).await.unwrap();
    told(&place, async {
        let kinds = [Enqueued, Started, Failed, Retrying, Started, Failed, Died];
        let heard = hears(&mut events, job.id(), kinds).await;
        assert_eq!(
            heard.each_ref().map(|event| event.attempt),
            [None, Some(1), Some(1), Some(1), Some(2), Some(2), Some(2)]
        );
        let error = heard[2].error.clone().unwrap();
        assert_eq!((error.kind, error.message.as_str()), (FailureKind::Error, "no disk"));
        assert!(error.error_type.unwrap().contains("io::"), "its type is told");
        assert!(heard[3].due.is_some() && heard[6].reason == Some(EndReason::Exhausted) && heard[6].error.is_some());
    })
    .await;
}

async fn of_a_fatal_failure(place: Place) {
    let mut events = listen(&place.client).await;
    let job = is_wrong::new().enqueue(&place.client).await.unwrap();
    told(&place, async {
        let [.., died] = hears(&mut events, job.id(), [Enqueued, Started, Failed, Died]).await;
        assert_eq!(died.reason, Some(EndReason::Fatal));
    })
    .await;
}

async fn of_a_timeout(place: Place) {
    let mut events = listen(&place.client).await;
    let job = takes_long::new().enqueue(&place.client).await.unwrap();
    told(&place, async {
        let [_, _, failed, _] = hears(&mut events, job.id(), [Enqueued, Started, Failed, Died]).await;
        assert_eq!(failed.error.unwrap().kind, FailureKind::Timeout);
        assert!(failed.took.unwrap() >= Duration::from_millis(20));
    })
    .await;
}

async fn of_a_panic(place: Place) {
    let mut events = listen(&place.client).await;
    let job = panics::new().enqueue(&place.client).await.unwrap();
    told(&place, async {
        let [_, _, failed, _] = hears(&mut events, job.id(), [Enqueued, Started, Failed, Died]).await;
        let error = failed.error.unwrap();
        assert_eq!((error.kind, error.message.as_str()), (FailureKind::Panic, "boom"));
    })
    .await;
}

async fn of_a_snooze(place: Place) {
    let mut events = listen(&place.client).await;
    let job = snoozes::new().enqueue(&place.client).await.unwrap();
    told(&place, async {
        let kinds = [Enqueued, Started, Snoozed, Started, Succeeded];
        let heard = hears(&mut events, job.id(), kinds).await;
        assert!(heard[2].due.is_some());
        assert_eq!((heard[1].attempt, heard[3].attempt), (Some(1), Some(1)), "a snooze burns none");
    })
    .await;
}

async fn of_a_cancellation_at_rest(place: Place) {
    let mut events = listen(&place.client).await;
    let job = succeeds::new().enqueue(&place.client).await.unwrap();
    job.cancel().await.unwrap();
    let [_, cancelled] = hears(&mut events, job.id(), [Enqueued, Cancelled]).await;
    assert_eq!((cancelled.reason, cancelled.task.as_deref()), (Some(EndReason::Requested), Some("succeeds")));
}

async fn of_a_cancellation_of_a_run(place: Place) {
    let mut events = listen(&place.client).await;
    let job = waits::new().enqueue(&place.client).await.unwrap();
    told(&place, async {
        hears(&mut events, job.id(), [Enqueued, Started]).await;
        job.cancel().await.unwrap();
        let [cancelled] = hears(&mut events, job.id(), [Cancelled]).await;
        assert_eq!(cancelled.reason, Some(EndReason::Requested));
        assert_eq!(cancelled.error.unwrap().message, "told to stop");
    })
    .await;
}

async fn of_an_expiry(place: Place) {
    let mut events = listen(&place.client).await;
    let job = succeeds::new().expires(Duration::from_millis(1)).enqueue(&place.client).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    told(&place, async {
        let [_, expired] = hears(&mut events, job.id(), [Enqueued, Expired]).await;
        assert_eq!(expired.reason, Some(EndReason::Overdue));
    })
    .await;
}

/// A worker that claims one job and is never heard of again.
async fn claim_and_vanish(client: &Client) -> WorkerId {
    let (id, shard) = (WorkerId::generate(), Shard::of(QueueName::default()));
    let now = std::time::SystemTime::UNIX_EPOCH.into();
    let record = WorkerRecord {
        id,
        host: "nowhere".to_owned(),
        version: None,
        shards: vec![shard.clone()],
        tasks: ["succeeds".parse().unwrap()].into(),
        understands: LEVEL,
        lease: LeaseTerms::of(LEASE),
        concurrency: 1,
        started_at: now,
        seen_at: now,
    };
    client.storage().register(record).await.unwrap();
    let call = Exchange { worker: id, shard: shard.clone(), number: 1, settlements: vec![], want: 1, suspects: 0 };
    let claimed = client.storage().exchange(call).await.unwrap().claimed;
    let leases = claimed.iter().map(|one| (one.job.id, one.fence)).collect();
    client.storage().renew(Renewal { worker: id, shard, leases, progress: vec![] }).await.unwrap();
    id
}

async fn of_a_crash(place: Place) {
    let mut events = listen(&place.client).await;
    let job = succeeds::new().enqueue(&place.client).await.unwrap();
    let gone = claim_and_vanish(&place.client).await;
    told(&place, async {
        let [_, back, started, _] = hears(&mut events, job.id(), [Enqueued, Reclaimed, Started, Succeeded]).await;
        assert_eq!((back.worker, back.task.as_deref()), (Some(gone), Some("succeeds")));
        assert_ne!(started.worker, Some(gone));
    })
    .await;
}

async fn of_a_worker_that_is_lost(timed: Timed) {
    let Timed { place, clock } = timed;
    let mut events = place.client.events().of([WorkerLost]).await.unwrap();
    let gone = claim_and_vanish(&place.client).await;
    let story = async {
        for _ in 0..600 {
            clock.advance(Duration::from_secs(1));
            if let Ok(event) = tokio::time::timeout(Duration::from_millis(20), events.next()).await {
                assert_eq!(event.and_then(|event| event.worker), Some(gone));
                return;
            }
        }
        panic!("nobody says that it is lost");
    };
    // With a handler, since a watch lapses by a clock that is moved so fast.
    let worker = worker(&place, tasks![succeeds]).on(WorkerLost, |_| async {}).grace(Duration::ZERO).build().unwrap();
    worker.run_until(story).await.unwrap();
}

async fn of_a_lease_that_is_lost(place: Place) {
    let mut events = listen(&place.client).await;
    let job = hangs::new().enqueue(&place.client).await.unwrap();
    // Told by another client than the worker's.
    hears(&mut events, job.id(), [Enqueued]).await;
    let line = Saboteur::new(Arc::clone(&place.storage), (1..=30).map(|n| (Call::Renew, n, Lose::Request)));
    told_by(&Client::new(line), async {
        hears(&mut events, job.id(), [Started]).await;
        let other = Worker::builder(&place.client)
            .tasks(tasks![succeeds, hangs])
            .data_arc(begun())
            .lease(LEASE)
            .grace(Duration::ZERO);
        // Two tell of it, each on its own: whoever takes it back, and whoever lost it.
        let told = async {
            let mut awaited = vec![Reclaimed, Stalled];
            while !awaited.is_empty() {
                let event = next(&mut events).await;
                assert_eq!(event.job, Some(job.id()), "{event:?}");
                awaited.retain(|kind| *kind != event.kind);
            }
        };
        other.build().unwrap().run_until(told).await.unwrap();
    })
    .await;
}

async fn of_a_stop(place: Place) {
    let mut events = place.client.events().await.unwrap();
    let job = hangs::new().enqueue(&place.client).await.unwrap();
    let begun = begun();
    let worker = worker(&place, tasks![hangs]).data_arc(Arc::clone(&begun)).grace(Duration::ZERO).build().unwrap();
    let id = worker.id();
    worker.run_until(async { begun.acquire().await.unwrap().forget() }).await.unwrap();
    let mut heard = Vec::new();
    while heard.last() != Some(&WorkerStopped) {
        let event = next(&mut events).await;
        if event.kind != Enqueued {
            assert_eq!(event.worker, Some(id));
        }
        heard.push(event.kind);
    }
    heard.retain(|kind| *kind != Enqueued);
    assert_eq!(heard, [WorkerStarted, Started, WorkerDraining, Interrupted, WorkerStopped]);
    assert_eq!(place.client.job(job.id()).await.unwrap().found().unwrap().attempts, 0);
}

async fn of_what_waits_for_a_failure(place: Place) {
    let mut events = place.client.events().of([Cancelled]).await.unwrap();
    let flow = is_wrong::new().then(succeeds::new()).then(succeeds::new());
    let end = flow.enqueue(&place.client).await.unwrap();
    told(&place, async {
        let heard = [next(&mut events).await, next(&mut events).await];
        assert!(heard.iter().any(|event| event.job == Some(end.id())));
        assert!(heard.iter().all(|event| event.reason == Some(EndReason::Dependency)), "{heard:?}");
    })
    .await;
}

async fn of_progress(place: Place) {
    let mut events = listen(&place.client).await;
    let job = counts_up::new().enqueue(&place.client).await.unwrap();
    told(&place, async {
        let kinds = [Enqueued, Started, Progressed, Succeeded];
        let [.., progressed, _] = hears(&mut events, job.id(), kinds).await;
        let progress = progressed.progress.unwrap();
        assert_eq!((progress.done, progress.total, progress.message.as_str()), (1, 2, "half"));
        assert_eq!(progressed.task.as_deref(), Some("counts_up"));
    })
    .await;
}

async fn of_many_at_once(place: Place) {
    let mut events = place.client.events().of([Enqueued, Succeeded]).await.unwrap();
    let jobs = place.client.enqueue_all((0..500).map(|_| succeeds::new())).await.unwrap();
    let mut ids: Vec<_> = jobs.iter().map(queue::JobHandle::id).collect();
    ids.sort();
    told(&place, async {
        let (mut stored, mut ended) = (Vec::new(), Vec::new());
        while ended.len() < 500 {
            let event = next(&mut events).await;
            match event.kind {
                Enqueued => stored.push(event.job.unwrap()),
                Succeeded => ended.push(event.job.unwrap()),
                other => panic!("{other}"),
            }
        }
        for mut heard in [stored, ended] {
            heard.sort();
            assert_eq!(heard, ids, "each once");
        }
    })
    .await;
}

async fn of_flows_and_revivals(place: Place) {
    let mut events = place.client.events().of([Enqueued, Succeeded]).await.unwrap();
    let members = group([succeeds::new(), succeeds::new()]);
    members.enqueue(&place.client).await.unwrap();
    told(&place, async {
        let mut heard = Vec::new();
        for _ in 0..4 {
            let event = next(&mut events).await;
            assert_eq!(event.task.as_deref(), Some("succeeds"), "of what ties a flow together nothing is told");
            heard.push(event.kind);
        }
        assert_eq!(heard, [Enqueued, Enqueued, Succeeded, Succeeded]);
        let job = succeeds::new().enqueue(&place.client).await.unwrap();
        hears(&mut events, job.id(), [Enqueued, Succeeded]).await;
        job.revive().await.unwrap();
        hears(&mut events, job.id(), [Enqueued, Succeeded]).await;
        let twice = succeeds::new();
        twice.clone().enqueue(&place.client).await.unwrap();
        twice.clone().enqueue(&place.client).await.unwrap();
        hears(&mut events, twice.id(), [Enqueued, Succeeded]).await;
    })
    .await;
}

async fn of_queues(place: Place) {
    let mut events = place.client.events().of([QueuePaused, QueueResumed]).await.unwrap();
    let queue = place.client.queue("default");
    for _ in 0..2 {
        queue.pause().await.unwrap();
    }
    queue.resume().await.unwrap();
    let heard = [next(&mut events).await, next(&mut events).await];
    assert_eq!(
        heard.each_ref().map(|event| event.kind),
        [QueuePaused, QueueResumed],
        "a pause that changes nothing is none"
    );
    assert_eq!(heard[0].queue.as_deref(), Some("default"));
}

/// What was heard, and of which job.
type Heard = Vec<(EventKind, Option<JobId>)>;

/// What handlers have heard.
#[derive(Clone, Default)]
struct Ears(Arc<Mutex<Heard>>);

impl Ears {
    fn hear(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((event.kind, event.job));
    }

    fn heard(&self) -> Heard {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn handlers_and_streams_are_told_the_same(place: Place) {
    let mut events = place.client.events().await.unwrap();
    let (all, deaths) = (Ears::default(), Ears::default());
    let (hear_all, hear_deaths) = (all.clone(), deaths.clone());
    let worker = worker(&place, tasks![succeeds, fails])
        .on(EventKind::ALL, move |event| {
            hear_all.hear(&event);
            async {}
        })
        .on(Died, move |event| {
            hear_deaths.hear(&event);
            async {}
        });
    let worker = worker.build().unwrap();
    let (good, bad) = (succeeds::new(), fails::new());
    let ids = [good.id(), bad.id()];
    good.enqueue(&place.client).await.unwrap();
    bad.enqueue(&place.client).await.unwrap();
    let heard = Mutex::new(Vec::new());
    let story = async {
        loop {
            let event = next(&mut events).await;
            heard.lock().unwrap().push((event.kind, event.job));
            if event.kind == Died {
                return;
            }
        }
    };
    worker.run_until(story).await.unwrap();
    let mut heard = heard.into_inner().unwrap();
    while heard.last().map(|(kind, _)| *kind) != Some(WorkerStopped) {
        let event = next(&mut events).await;
        heard.push((event.kind, event.job));
    }
    assert_eq!(all.heard(), heard, "by the end of the worker every handler has been told everything");
    assert_eq!(deaths.heard(), [(Died, Some(ids[1]))]);
}

async fn a_handler_that_fails_or_is_slow_harms_nothing(place: Place) {
    let ears = Ears::default();
    let hear = ears.clone();
    let worker = worker(&place, tasks![succeeds])
        .on(Succeeded, |event| async move { panic!("on purpose, at {:?}", event.job) })
        .on(Succeeded, |_| std::future::pending())
        .on([Started, Succeeded], move |event| {
            hear.hear(&event);
            async {}
        });
    let jobs: Vec<_> = (0..20).map(|_| succeeds::new()).collect();
    let jobs = place.client.enqueue_all(jobs).await.unwrap();
    let done = async {
        for job in &jobs {
            job.wait(PATIENCE).await.unwrap();
        }
        eventually("the handler has heard of all", async || (ears.heard().len() == 40).then_some(())).await;
    };
    worker.build().unwrap().run_until(done).await.unwrap();
}

async fn filters_let_through_what_they_say(place: Place) {
    let (mine, other) = (succeeds::new(), succeeds::new().queue("other"));
    let mut of_job = place.client.events().of_job(mine.id()).await.unwrap();
    let mut of_task = place.client.events().of_task("counts_up").await.unwrap();
    let mut in_queue = place.client.events().in_queue("other").of([Enqueued]).await.unwrap();
    let progress = counts_up::new().enqueue(&place.client).await.unwrap();
    let (mine, other) = (mine.enqueue(&place.client).await.unwrap(), other.enqueue(&place.client).await.unwrap());
    told(&place, async {
        hears(&mut of_job, mine.id(), [Enqueued, Started, Succeeded]).await;
        hears(&mut of_task, progress.id(), [Enqueued, Started, Progressed, Succeeded]).await;
        hears(&mut in_queue, other.id(), [Enqueued]).await;
    })
    .await;
}

async fn in_immediate_mode(place: Place) {
    let client = Client::builder(Arc::clone(&place.storage)).immediate().build();
    let mut events = listen(&client).await;
    let _worker = Worker::builder(&client).tasks(tasks![succeeds, fails, counts_up]).build().unwrap();
    let good = succeeds::new().enqueue(&client).await.unwrap();
    hears(&mut events, good.id(), [Enqueued, Started, Succeeded]).await;
    let bad = fails::new().enqueue(&client).await.unwrap();
    hears(&mut events, bad.id(), [Enqueued, Started, Failed, Retrying, Started, Failed, Died]).await;
    let told = counts_up::new().enqueue(&client).await.unwrap();
    hears(&mut events, told.id(), [Enqueued, Started, Progressed, Succeeded]).await;
}

async fn nothing_is_announced_while_nobody_listens(place: Place) {
    let line = Saboteur::new(Arc::clone(&place.storage), []);
    let client = Client::new(Arc::<Saboteur>::clone(&line));
    let jobs = client.enqueue_all((0..50).map(|_| succeeds::new())).await.unwrap();
    told_by(&client, async {
        for job in &jobs {
            job.wait(PATIENCE).await.unwrap();
        }
        assert_eq!(line.calls(Call::Announce), 1, "but for the start of the worker");
    })
    .await;
}

async fn handlers_hear_while_the_storage_takes_no_news(place: Place) {
    let mut events = place.client.events().of([Succeeded]).await.unwrap();
    let line = Saboteur::new(Arc::clone(&place.storage), []);
    let stall = line.stall(Call::Announce, 1);
    let client = Client::new(line);
    let ears = Ears::default();
    let hear = ears.clone();
    let worker = Worker::builder(&client).tasks(tasks![succeeds]).on(Succeeded, move |event| {
        hear.hear(&event);
        async {}
    });
    let story = async {
        stall.reached().await;
        let jobs = client.enqueue_all((0..600).map(|_| succeeds::new())).await.unwrap();
        for job in &jobs {
            job.wait(PATIENCE).await.unwrap();
        }
        eventually("the handler has heard of all", async || (ears.heard().len() == 600).then_some(())).await;
        stall.release();
        for _ in &jobs {
            assert_eq!(next(&mut events).await.kind, Succeeded);
        }
    };
    worker.build().unwrap().run_until(story).await.unwrap();
}

#[tokio::test]
async fn who_does_not_take_events_is_told_so() {
    let client = Client::memory();
    let mut events = client.events().of([Enqueued]).await.unwrap();
    // Each call is told of on its own, once it is done.
    for _ in 0..2_000 {
        succeeds::new().enqueue(&client).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&mut events).await.kind, Missed);
    assert_eq!(next(&mut events).await.kind, Enqueued);
}
