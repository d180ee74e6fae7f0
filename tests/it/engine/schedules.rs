//! Schedules: each tick once, policies, definitions in code and at run time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use queue::{
    BoxError, Client, Context, Cron, Data, JobId, JobQuery, Missed, Overlap, Schedule, ScheduleSource, State, Unique,
    Worker, WorkerBuilder, task, tasks,
};
use queue_sqlite::SqliteOptions;
use queue_storage::clock::{Clock, ManualClock};
use queue_storage::conformance::invariants;
use queue_storage::model::{Shard, Timestamp};
use queue_storage::storage::ScheduleChange;
use tokio::task::JoinHandle;

use crate::support::saboteur::{Call, Lose, Saboteur};
use crate::support::{PATIENCE, Place, Timed, eventually, on_every_clock, on_every_storage};

on_every_clock!(
    a_year_of_ticks,
    missed_ticks_follow_their_policy,
    a_live_job_keeps_the_next_out,
    a_live_job_is_cancelled_for_the_next,
    a_full_worker_ticks,
    a_schedule_runs_out,
    the_clock_goes_back,
    ticks_of_a_wrong_clock_come_again,
    what_is_kept_out_is_no_last_job,
    ticks_are_spread,
    a_task_knows_its_tick,
    the_highest_revision_stands,
    people_change_schedules,
    what_is_removed_stays_removed,
    what_was_removed_is_put_anew,
    unreadable_ones_are_left_to_others,
    every_step_may_be_lost,
    who_keeps_no_time_ticks_nothing,
    what_the_storage_lost_is_stored_again,
);
on_every_storage!(a_change_counts_at_once, schedules_are_told_apart);

/// How often workers look at least, by the clock that is moved.
const A_LITTLE: Duration = Duration::from_millis(10);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The job of each tick that ran.
type Log = Mutex<HashMap<(String, Timestamp), JobId>>;

#[task]
async fn beat(ctx: Context, log: Data<Log>) -> Result<(), BoxError> {
    let schedule = ctx.schedule().ok_or("no schedule")?.to_owned();
    let tick = Timestamp::from(ctx.scheduled_for().ok_or("no tick")?);
    let job = *log.lock().unwrap().entry((schedule.clone(), tick)).or_insert(ctx.id());
    if job == ctx.id() {
        Ok(())
    } else {
        Err(format!("{schedule} ticked twice at {tick}: {job} and {}", ctx.id()).into())
    }
}

/// Runs until it is cancelled, or told to end.
#[task]
async fn long(ctx: Context, end: Data<tokio::sync::Notify>) -> Result<bool, BoxError> {
    tokio::select! {
        () = ctx.cancelled() => Err("cancelled".into()),
        () = end.notified() => Ok(true),
    }
}

/// What a test holds: a worker to be built, and what its tasks say.
struct Play {
    timed: Timed,
    log: Arc<Log>,
    end: Arc<tokio::sync::Notify>,
}

impl Play {
    fn new(timed: Timed) -> Self {
        Self { timed, log: Arc::default(), end: Arc::default() }
    }

    fn client(&self) -> &Client {
        &self.timed.place.client
    }

    fn builder(&self) -> WorkerBuilder {
        self.builder_on(self.client())
    }

    fn builder_on(&self, client: &Client) -> WorkerBuilder {
        let builder = Worker::builder(client).tasks(tasks![beat, long]).concurrency(64).crash_limit(None);
        let builder = builder.poll_every(A_LITTLE);
        builder.data_arc(Arc::clone(&self.log)).data_arc(Arc::clone(&self.end))
    }

    fn start(builder: WorkerBuilder) -> JoinHandle<()> {
        let worker = builder.build().unwrap();
        tokio::spawn(async move { worker.run_until(std::future::pending()).await.unwrap() })
    }

    /// Starts a worker and waits until it has stored its schedules.
    async fn started(&self, builder: WorkerBuilder, schedules: &[&str]) -> JoinHandle<()> {
        let running = Self::start(builder);
        for name in schedules {
            eventually("the schedule is stored", async || self.client().schedule(*name).get().await.ok()).await;
        }
        running
    }

    fn now(&self) -> Timestamp {
        self.timed.clock.now()
    }

    /// Moves the clock on, and waits until every tick that is due then was carried out and every job has ended.
    async fn pass(&self, time: Duration) {
        self.timed.clock.advance(time);
        self.settle().await;
    }

    async fn settle(&self) {
        self.until("all ticks are carried out", async || self.is_quiet().await.then_some(())).await;
    }

    /// The same where a job runs on.
    async fn ticked(&self) {
        self.until("all ticks are carried out", async || self.due().await.is_empty().then_some(())).await;
    }

    /// The same after a worker was dropped: its leases end by the clock.
    async fn settle_leases(&self) {
        let mut looks = 0;
        let quiet = async || {
            looks += 1;
            if looks % 20 == 0 {
                self.timed.clock.advance(Duration::from_secs(5));
            }
            self.is_quiet().await.then_some(())
        };
        eventually("all ticks are carried out", quiet).await;
    }

    /// Waits for something. Meanwhile the clock moves on a little now and then: where it leapt while a worker was being
    /// told when to look again, that is so much later.
    async fn until<T>(&self, what: &str, mut seen: impl AsyncFnMut() -> Option<T>) -> T {
        let mut looks = 0;
        let look = async || {
            looks += 1;
            if looks % 20 == 0 {
                self.timed.clock.advance(A_LITTLE);
            }
            seen().await
        };
        eventually(what, look).await
    }

    async fn due(&self) -> Vec<String> {
        let ticked = self.timed.place.storage.tick(&shard("default"), &[]).await.unwrap();
        ticked.due.into_iter().map(|record| record.name.to_string()).collect()
    }

    async fn is_quiet(&self) -> bool {
        self.due().await.is_empty() && self.client().counts("default").await.unwrap().live() == 0
    }

    /// The ticks that ran, of one schedule, in minutes since the clock's start.
    fn ticks(&self, schedule: &str) -> Vec<u64> {
        let start = Timestamp::from(start());
        let log = self.log.lock().unwrap();
        let mut ticks: Vec<_> = log.keys().filter(|(name, _)| name == schedule).map(|(_, tick)| *tick).collect();
        ticks.sort();
        ticks.into_iter().map(|tick| tick.since(start).as_secs() / 60).collect()
    }

    async fn ran(&self) -> u64 {
        let counts = self.client().counts("default").await.unwrap();
        assert_eq!(counts.ended.completed, counts.ended.total(), "{counts:?}");
        counts.ended.completed
    }
}

fn shard(queue: &str) -> Shard {
    Shard::of(queue.parse().unwrap())
}

/// What a manual clock shows first: 2026-01-01T00:00:00Z.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

/// Three workers that are dropped and started at random, under a clock that leaps on and goes back: each tick of a year has
/// one job, of a schedule of each minute and of hourly and daily ones in three zones.
async fn a_year_of_ticks(timed: Timed) {
    let play = Play::new(timed);
    let mut rng = fastrand::Rng::new();
    let zones = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe"];
    let mut expressions = vec![("minutely".to_owned(), "* * * * *".to_owned(), zones[0])];
    for zone in zones {
        expressions.push((format!("hourly-{zone}"), "30 * * * *".to_owned(), zone));
        expressions.push((format!("daily-{zone}"), "30 2 * * *".to_owned(), zone));
    }
    let defined = || {
        expressions.iter().fold(play.builder(), |builder, (name, expression, zone)| {
            let schedule = Schedule::new(name, beat::new()).cron(expression.as_str()).tz(*zone);
            builder.schedule(schedule.missed(Missed::All(1_000)))
        })
    };
    let names: Vec<&str> = expressions.iter().map(|(name, ..)| name.as_str()).collect();
    let mut workers = [play.started(defined(), &names).await, Play::start(defined()), Play::start(defined())];
    let (year, mut lives) = (Timestamp::from(start() + 365 * DAY), 3);
    while play.now() < year {
        if rng.u8(..5) == 0 {
            // Back, and on: what is due only now was not due before.
            let back = MINUTE * rng.u32(1..60);
            play.timed.clock.set(play.now() - back);
            play.settle().await;
            play.timed.clock.advance(back);
        }
        play.timed.clock.advance(MINUTE * rng.u32(1..800));
        if rng.u8(..3) == 0 {
            let at = rng.usize(..workers.len());
            tokio::time::sleep(Duration::from_micros(rng.u64(..3_000))).await;
            workers[at].abort();
            let _ = (&mut workers[at]).await;
            workers[at] = Play::start(defined());
            lives += 1;
        }
        play.settle_leases().await;
    }
    let end = play.now();
    let mut ran: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    play.log.lock().unwrap().keys().for_each(|(name, tick)| ran.entry(name.clone()).or_default().push(*tick));
    for (name, expression, zone) in &expressions {
        let cron = Cron::new(expression).unwrap().in_tz(zone).unwrap();
        let expected: Vec<Timestamp> =
            cron.upcoming(start()).map(Timestamp::from).take_while(|tick| *tick <= end).collect();
        let mut ran = ran.remove(name).unwrap();
        ran.sort();
        assert!(ran == expected, "{name}: {} ticks ran, {} were due", ran.len(), expected.len());
        assert_eq!(play.client().schedule(name).get().await.unwrap().runs, expected.len() as u64);
    }
    let all = play.log.lock().unwrap().len();
    assert_eq!(play.client().counts("default").await.unwrap().enqueued, all as u64);
    println!("a year: {all} ticks, {lives} lives of workers");
    invariants(&*play.timed.place.storage).await;
}

/// Of ticks that nobody carried out in time those are made good that the policy says, and the others are counted.
async fn missed_ticks_follow_their_policy(timed: Timed) {
    let play = Play::new(timed);
    let schedule = |name: &str, missed| Schedule::new(name, beat::new()).cron("*/10 * * * *").missed(missed);
    let builder = || {
        let tolerant = |secs| Missed::Skip { tolerance: Duration::from_secs(secs) };
        let builder =
            play.builder().schedule(schedule("tolerant", tolerant(330))).schedule(schedule("last", Missed::Last));
        builder.schedule(schedule("strict", tolerant(270))).schedule(schedule("three", Missed::All(3)))
    };
    let names = ["tolerant", "strict", "last", "three"];
    let running = play.started(builder(), &names).await;
    play.pass(10 * MINUTE).await;
    running.abort();
    let _ = running.await;
    play.timed.clock.advance(65 * MINUTE);
    let _running = Play::start(builder());
    play.settle().await;
    for (name, ticks, missed) in [
        ("tolerant", vec![10, 70], 5),
        ("strict", vec![10], 6),
        ("last", vec![10, 70], 5),
        ("three", vec![10, 50, 60, 70], 3),
    ] {
        assert_eq!(play.ticks(name), ticks, "{name}");
        let facts = play.client().schedule(name).get().await.unwrap();
        assert_eq!((facts.runs, facts.missed), (ticks.len() as u64, missed), "{name}");
        assert_eq!(facts.next, Some(start() + 80 * MINUTE));
    }
}

/// While its job has not ended, the next tick is left out and counted; once it has, the next is carried out.
async fn a_live_job_keeps_the_next_out(timed: Timed) {
    let play = Play::new(timed);
    let schedule = Schedule::new("x", long::new()).cron("* * * * *").overlap(Overlap::Skip);
    let _running = play.started(play.builder().schedule(schedule), &["x"]).await;
    for _ in 0..3 {
        play.timed.clock.advance(MINUTE);
        play.ticked().await;
    }
    let facts = play.client().schedule("x").get().await.unwrap();
    assert_eq!((facts.runs, facts.skipped, facts.last), (1, 2, Some(start() + MINUTE)));
    let first = facts.last_job.unwrap();
    play.end.notify_one();
    assert!(play.client().handle::<long>(first).await.unwrap().wait(PATIENCE).await.unwrap());
    play.timed.clock.advance(MINUTE);
    play.ticked().await;
    let facts = play.client().schedule("x").get().await.unwrap();
    assert_eq!((facts.runs, facts.skipped, facts.last), (2, 2, Some(start() + 4 * MINUTE)));
    assert_ne!(facts.last_job, Some(first));
    // A job between ticks that ends soon hides that of the tick from nobody.
    let extra = play.client().schedule("x").run_now().await.unwrap();
    play.client().cancel(extra).await.unwrap();
    assert!(play.client().handle::<long>(extra).await.unwrap().wait(PATIENCE).await.is_err());
    play.timed.clock.advance(MINUTE);
    play.ticked().await;
    let facts = play.client().schedule("x").get().await.unwrap();
    assert_eq!((facts.runs, facts.skipped, facts.last_job), (2, 3, Some(extra)));
}

/// A job that has not ended is cancelled for the next.
async fn a_live_job_is_cancelled_for_the_next(timed: Timed) {
    let play = Play::new(timed);
    let schedule = Schedule::new("x", long::new()).cron("* * * * *").overlap(Overlap::CancelRunning);
    let _running = play.started(play.builder().schedule(schedule), &["x"]).await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        play.timed.clock.advance(MINUTE);
        play.ticked().await;
        jobs.push(play.client().schedule("x").get().await.unwrap().last_job.unwrap());
    }
    for job in &jobs[..2] {
        let error = play.client().handle::<long>(*job).await.unwrap().wait(PATIENCE).await.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
    }
    play.end.notify_one();
    assert!(play.client().handle::<long>(jobs[2]).await.unwrap().wait(PATIENCE).await.unwrap());
}

/// A worker without a free slot, which no storage signals, ticks in time; here it never looks by itself.
async fn a_full_worker_ticks(timed: Timed) {
    let play = Play::new(timed);
    let second = Duration::from_secs(1);
    let builder = play.builder().concurrency(1).poll_every(DAY).every("x", second, long::new());
    let _running = play.started(builder, &["x"]).await;
    for _ in 0..5 {
        play.timed.clock.advance(second);
        play.ticked().await;
    }
    // Each leap may come while the worker reckons when to look, which is then so much later.
    assert!(play.now() < Timestamp::from(start() + 12 * second), "it waited for other looks: {}", play.now());
    let counts = play.client().counts("default").await.unwrap();
    assert_eq!(counts.live(), 5, "{counts:?}");
}

/// After its last run, or its end, it ticks no more, and is shown still.
async fn a_schedule_runs_out(timed: Timed) {
    let play = Play::new(timed);
    let twice = Schedule::new("twice", beat::new()).every(MINUTE).max_runs(2);
    let ends = Schedule::new("ends", beat::new()).every(MINUTE).starts(start() + 2 * MINUTE).ends(start() + 4 * MINUTE);
    let _running = play.started(play.builder().schedule(twice).schedule(ends), &["twice", "ends"]).await;
    assert_eq!(play.client().schedule("twice").get().await.unwrap().upcoming(9).len(), 2);
    for _ in 0..6 {
        play.pass(MINUTE).await;
    }
    assert_eq!((play.ticks("twice"), play.ticks("ends")), (vec![1, 2], vec![2, 3, 4]));
    for name in ["twice", "ends"] {
        let facts = play.client().schedule(name).get().await.unwrap();
        assert_eq!((facts.next, facts.upcoming(1), facts.preview(1)), (None, vec![], vec![]));
    }
}

/// A clock that goes back doubles no tick; one that was set on by mistake, and then back by hours, is believed when a
/// worker is started.
async fn the_clock_goes_back(timed: Timed) {
    let play = Play::new(timed);
    let builder = || play.builder().cron("x", "0 * * * *", beat::new());
    let running = play.started(builder(), &["x"]).await;
    play.pass(2 * HOUR).await;
    play.timed.clock.set(Timestamp::from(start() + HOUR));
    for _ in 0..4 {
        play.pass(HOUR / 2).await;
    }
    assert_eq!(play.ticks("x"), [120, 180]);
    // By mistake.
    play.pass(300 * DAY).await;
    running.abort();
    let _ = running.await;
    play.timed.clock.set(Timestamp::from(start() + 4 * HOUR));
    let _running = play.started(builder(), &["x"]).await;
    let anew = async || play.client().schedule("x").get().await.unwrap().next.filter(|next| *next < start() + DAY);
    assert_eq!(play.until("it is due anew", anew).await, start() + 5 * HOUR);
    play.pass(HOUR).await;
    assert!(play.ticks("x").contains(&300));
}

/// Ticks that a clock which was wrong by hours showed before come again as jobs of their own, also where theirs are kept.
async fn ticks_of_a_wrong_clock_come_again(timed: Timed) {
    let play = Play::new(timed);
    let builder = || play.builder().tasks(tasks![kept]).cron("x", "0 * * * *", kept::new());
    let running = play.started(builder(), &["x"]).await;
    for _ in 0..6 {
        play.pass(HOUR).await;
    }
    running.abort();
    let _ = running.await;
    play.timed.clock.set(Timestamp::from(start() + HOUR / 2));
    let _running = play.started(builder(), &["x"]).await;
    let x = play.client().schedule("x");
    let anew = async || x.get().await.unwrap().next.filter(|next| *next == start() + HOUR);
    play.until("it is due anew", anew).await;
    for _ in 0..4 {
        play.pass(HOUR).await;
    }
    assert_eq!((x.get().await.unwrap().runs, play.ran().await), (10, 10));
}

#[task(keep = "30d")]
async fn kept() {}

/// A unique call that was kept out made no job, by a tick or between ticks: what stood before is told.
async fn what_is_kept_out_is_no_last_job(timed: Timed) {
    let play = Play::new(timed);
    let call = long::new().unique(Unique::args());
    let running = play.started(play.builder().cron("x", "* * * * *", call), &["x"]).await;
    let x = play.client().schedule("x");
    play.timed.clock.advance(MINUTE);
    play.ticked().await;
    let first = x.get().await.unwrap().last_job;
    assert!(play.client().job(first.unwrap()).await.unwrap().found().is_some());
    play.timed.clock.advance(MINUTE);
    let told = async || Some(x.get().await.unwrap()).filter(|facts| facts.runs == 2 && facts.last_job == first);
    play.until("the job that is there is told", told).await;
    assert_eq!(Some(x.run_now().await.unwrap()), first);
    assert_eq!(x.get().await.unwrap().last_job, first);
    running.abort();
}

/// Two machines with one file whose clocks are ten seconds apart: each tick is carried out once, by whichever shows it first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clocks_ten_seconds_apart() {
    const APART: Duration = Duration::from_secs(10);
    let dir = tempfile::tempdir().unwrap();
    let clocks = [ManualClock::new(), ManualClock::at(ManualClock::new().now() + APART)];
    let log = Arc::<Log>::default();
    let (mut running, mut clients) = (Vec::new(), Vec::new());
    for clock in &clocks {
        let options = SqliteOptions::new(dir.path().join("jobs.db")).clock(Arc::new(clock.clone()));
        let storage = Arc::new(options.open().await.unwrap());
        let client = Client::builder(storage).clock(Arc::new(clock.clone())).build();
        let builder = Worker::builder(&client).tasks(tasks![beat]).data_arc(Arc::clone(&log)).poll_every(A_LITTLE);
        let builder = builder.lease(HOUR).crash_limit(None);
        let schedule = Schedule::new("x", beat::new()).cron("* * * * *").missed(Missed::All(10));
        running.push(Play::start(builder.schedule(schedule)));
        clients.push(client);
    }
    let stored = async || clients[0].schedule("x").get().await.ok();
    eventually("it is stored", stored).await;
    let mut rng = fastrand::Rng::new();
    for _ in 0..60 {
        // The one behind first, or the one ahead; never further apart than they are.
        let order = if rng.bool() { [0, 1] } else { [1, 0] };
        let step = Duration::from_secs(rng.u64(1..100));
        for at in order {
            clocks[at].advance(step);
            let ahead = clocks[1].now();
            let caught_up = async || {
                clocks[at].advance(Duration::from_millis(1));
                let next = clients[at].schedule("x").get().await.ok()?.next?;
                (Timestamp::from(next) > clocks[at].now().min(ahead)).then_some(())
            };
            eventually("its ticks are carried out", caught_up).await;
        }
    }
    let (ahead, runs) = (clocks[1].now(), clients[0].schedule("x").get().await.unwrap().runs);
    let over = async || {
        clocks.iter().for_each(|clock| clock.advance(A_LITTLE));
        (clients[0].counts("default").await.unwrap().live() == 0).then_some(())
    };
    eventually("all jobs have ended", over).await;
    let mut ticks: Vec<_> = log.lock().unwrap().keys().map(|(_, tick)| *tick).collect();
    ticks.sort();
    assert_eq!(ticks.len() as u64, runs);
    assert!(ticks.windows(2).all(|two| two[1].since(two[0]) == MINUTE), "{ticks:?}");
    assert!(ahead.since(ticks[ticks.len() - 1]) < MINUTE + APART, "the last is the last: {ahead}");
    running.iter().for_each(JoinHandle::abort);
}

/// Jobs start later than their ticks, by as much as the jitter at most, and know their tick all the same.
async fn ticks_are_spread(timed: Timed) {
    let play = Play::new(timed);
    let schedule = Schedule::new("x", beat::new()).cron("0 * * * *").jitter(HOUR / 2);
    let _running = play.started(play.builder().schedule(schedule), &["x"]).await;
    for hour in 1..=5u32 {
        play.timed.clock.advance(HOUR - (play.now().since(Timestamp::from(start() + (hour - 1) * HOUR))));
        play.ticked().await;
        let id = play.client().schedule("x").get().await.unwrap().last_job.unwrap();
        let job = play.timed.place.storage.get(id).await.unwrap().found().unwrap();
        let late = job.due_at.unwrap().since(Timestamp::from(start() + hour * HOUR));
        assert!(late < HOUR / 2 && job.state == State::Scheduled, "{late:?} {}", job.state);
        play.pass(late).await;
    }
    assert_eq!(play.ticks("x"), [60, 120, 180, 240, 300]);
}

#[task(retries = 1, backoff = fixed("1m"))]
async fn tells(ctx: Context) -> Result<(u32, Option<String>, Option<SystemTime>), BoxError> {
    if ctx.attempt() == 1 {
        return Err("once".into());
    }
    Ok((ctx.attempt(), ctx.schedule().map(str::to_owned), ctx.scheduled_for()))
}

/// The tick is told to each attempt, however late; a job that nobody scheduled knows of none.
async fn a_task_knows_its_tick(timed: Timed) {
    let play = Play::new(timed);
    let builder = play.builder().tasks(tasks![tells]).cron("x", "* * * * *", tells::new().delay(MINUTE / 2));
    let _running = play.started(builder, &["x"]).await;
    play.timed.clock.advance(MINUTE + MINUTE / 3);
    play.ticked().await;
    let id = play.client().schedule("x").get().await.unwrap().last_job.unwrap();
    play.client().schedule("x").pause().await.unwrap();
    let own = tells::new().enqueue(play.client()).await.unwrap();
    let ended = async || {
        play.timed.clock.advance(MINUTE / 4);
        (play.client().counts("default").await.unwrap().live() == 0).then_some(())
    };
    eventually("both have ended", ended).await;
    let job = play.client().handle::<tells>(id).await.unwrap();
    assert_eq!(job.wait(PATIENCE).await.unwrap(), (2, Some("x".to_owned()), Some(start() + MINUTE)));
    let (attempt, schedule, _) = own.wait(PATIENCE).await.unwrap();
    assert_eq!((attempt, schedule), (2, None));
}

/// Workers of several programs: the highest revision stands, in whatever order they start.
async fn the_highest_revision_stands(timed: Timed) {
    let play = Play::new(timed);
    let version = |revision, expression| {
        play.builder().schedule(Schedule::new("x", beat::new()).cron(expression).revision(revision))
    };
    let shows = async |expression: &str, revision| {
        let seen = async || {
            let facts = play.client().schedule("x").get().await.ok()?;
            (facts.timing == expression && facts.source == ScheduleSource::Code(revision)).then_some(())
        };
        eventually(expression, seen).await;
    };
    let _old = play.started(version(1, "0 1 * * *"), &["x"]).await;
    shows("0 1 * * *", 1).await;
    let _new = Play::start(version(2, "0 2 * * *"));
    shows("0 2 * * *", 2).await;
    // It stores another beside, so that one can see that it has come to an end.
    let again = version(1, "0 1 * * *").cron("y", "@daily", beat::new());
    let _again = play.started(again, &["y"]).await;
    shows("0 2 * * *", 2).await;
    let _third = Play::start(version(3, "0 3 * * *"));
    shows("0 3 * * *", 3).await;
}

/// What people change stands until the code's revision rises; a pause stands even then.
async fn people_change_schedules(timed: Timed) {
    let play = Play::new(timed);
    let code = |revision| play.builder().schedule(Schedule::new("x", beat::new()).cron("0 * * * *").revision(revision));
    let first = play.started(code(1), &["x"]).await;
    let x = play.client().schedule("x");
    x.edit(|schedule| schedule.cron("30 * * * *")).await.unwrap();
    play.pass(HOUR).await;
    assert_eq!(play.ticks("x"), [30]);
    assert_eq!(x.get().await.unwrap().source, ScheduleSource::Edited(1));
    first.abort();
    // The same code again: the change stands. Its other schedule shows that it has been through.
    let second = play.started(code(1).cron("y", "0 0 1 1 *", beat::new()), &["y"]).await;
    assert_eq!(x.get().await.unwrap().timing, "30 * * * *");
    assert!(x.pause().await.unwrap() && !x.pause().await.unwrap());
    play.pass(2 * HOUR).await;
    assert_eq!((play.ticks("x"), x.get().await.unwrap().next), (vec![30], None));
    second.abort();
    let _third = Play::start(code(2));
    let raised = async || Some(x.get().await.unwrap()).filter(|facts| facts.source == ScheduleSource::Code(2));
    let facts = play.until("the new code stands", raised).await;
    assert_eq!((facts.timing.as_str(), facts.next), ("0 * * * *", None));
    assert!(facts.paused_at.is_some());
    assert!(x.resume().await.unwrap() && !x.resume().await.unwrap());
    play.pass(HOUR).await;
    assert_eq!(play.ticks("x"), [30, 240]);
    // Between ticks.
    play.pass(MINUTE).await;
    let job = x.run_now().await.unwrap();
    play.settle().await;
    let stored = play.client().job(job).await.unwrap().found().unwrap();
    assert_eq!(stored.state, State::Completed);
    let facts = x.get().await.unwrap();
    assert_eq!((facts.runs, facts.last_job, facts.last), (2, Some(job), Some(start() + 4 * HOUR)));
}

/// A schedule of the code that someone removes stays away until the revision rises; one of run time is gone for good.
async fn what_is_removed_stays_removed(timed: Timed) {
    let play = Play::new(timed);
    let code = |revision| play.builder().schedule(Schedule::new("x", beat::new()).cron("0 * * * *").revision(revision));
    let first = play.started(code(1), &["x"]).await;
    let own = Schedule::new("own", beat::new()).every(HOUR);
    let own = play.client().put_schedule(own).await.unwrap();
    let x = play.client().schedule("x");
    for handle in [&x, &own] {
        assert!(handle.remove().await.unwrap() && !handle.remove().await.unwrap());
        assert!(handle.get().await.unwrap_err().is_unknown());
        assert!(handle.pause().await.unwrap_err().is_unknown());
    }
    assert!(play.client().schedules().next().await.is_none());
    first.abort();
    let second = play.started(code(1).cron("y", "0 0 1 1 *", beat::new()), &["y"]).await;
    play.pass(3 * HOUR).await;
    assert!(x.get().await.unwrap_err().is_unknown());
    assert_eq!(play.log.lock().unwrap().len(), 0);
    second.abort();
    let _third = play.started(code(2), &["x"]).await;
    play.pass(HOUR).await;
    assert_eq!(play.ticks("x"), [240]);
}

/// What is put under the name of one that was removed begins anew, wherever that came from.
async fn what_was_removed_is_put_anew(timed: Timed) {
    let play = Play::new(timed);
    let schedule = || Schedule::new("x", beat::new()).cron("0 * * * *").max_runs(2);
    let _running = play.started(play.builder().schedule(schedule()), &["x"]).await;
    for _ in 0..2 {
        play.pass(HOUR).await;
    }
    let x = play.client().schedule("x");
    assert!(x.pause().await.unwrap() && x.remove().await.unwrap());
    play.pass(HOUR / 2).await;
    play.client().put_schedule(schedule()).await.unwrap();
    let facts = x.get().await.unwrap();
    assert_eq!((facts.source, facts.runs, facts.paused_at), (ScheduleSource::Edited(0), 0, None));
    play.pass(HOUR).await;
    assert_eq!(play.ticks("x"), [60, 120, 180]);
}

/// What a newer program stored stays as it is, holds nobody up, and is not looked at all the time.
async fn unreadable_ones_are_left_to_others(timed: Timed) {
    let play = Play::new(timed);
    let storage = &play.timed.place.storage;
    let data = bytes::Bytes::from_static(b"\x63 from the future");
    let changes: Vec<_> = (0..150)
        .map(|n| {
            let due = Some((Some(play.now()), data.clone()));
            ScheduleChange::new(format!("future-{n}").parse().unwrap(), None, due)
        })
        .collect();
    for some in changes.chunks(100) {
        storage.tick(&shard("default"), some).await.unwrap();
    }
    let _running = play.started(play.builder().every("x", MINUTE, beat::new()), &["x"]).await;
    // Others have a while for them, and the rest waits for nobody.
    play.timed.clock.advance(MINUTE);
    play.until("the one that can be read ticks", async || (!play.ticks("x").is_empty()).then_some(())).await;
    play.settle().await;
    assert_eq!(play.ticks("x"), [1]);
    let error = play.client().schedule("future-7").get().await.unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
    let query = queue_storage::storage::ScheduleQuery::Named(vec!["future-7".parse().unwrap()]);
    let page = storage.schedules(&shard("default"), &query).await.unwrap();
    assert_eq!(page.schedules[0].data, data);
    assert!(page.schedules[0].due.unwrap() > play.now());
    let future = play.client().schedule("future-7");
    assert!(future.remove().await.unwrap() && !future.remove().await.unwrap());
}

/// A request or a reply that is lost at any step costs a repeat: each tick has one job.
async fn every_step_may_be_lost(timed: Timed) {
    let play = Play::new(timed);
    let plan = (1..40).map(|nth| (Call::Tick, nth * 2 - nth % 3, [Lose::Request, Lose::Reply][nth as usize % 2]));
    let line = Saboteur::new(Arc::clone(&play.timed.place.storage), plan);
    let clock = Arc::new(play.timed.clock.clone());
    let client = Client::builder(Arc::clone(&line) as Arc<dyn queue::Storage>).clock(clock).build();
    let schedule = |name: &str| Schedule::new(name, beat::new()).every(MINUTE).missed(Missed::All(10));
    let builder = play.builder_on(&client).schedule(schedule("a")).schedule(schedule("b"));
    let running = Play::start(builder);
    let nudged = async || {
        // Whoever backs off waits by the clock.
        play.timed.clock.advance(Duration::from_secs(1));
        let both = ["a", "b"].map(|name| play.client().schedule(name));
        (both[0].get().await.is_ok() && both[1].get().await.is_ok()).then_some(())
    };
    eventually("they are stored", nudged).await;
    let begun = play.now();
    let ran = async || {
        play.timed.clock.advance(Duration::from_secs(7));
        (play.ran().await >= 60).then_some(())
    };
    eventually("they tick on", ran).await;
    running.abort();
    assert!(line.lost.load(std::sync::atomic::Ordering::Relaxed) > 20);
    for name in ["a", "b"] {
        let ticks = play.ticks(name);
        assert!(ticks.windows(2).all(|two| two[1] == two[0] + 1), "{name} since {begun}: {ticks:?}");
    }
    let all = play.log.lock().unwrap().len() as u64;
    let counts = play.client().counts("default").await.unwrap();
    assert!(counts.enqueued - counts.live() <= all, "{counts:?} of {all}");
}

/// A worker that keeps no time stores no schedule and carries none out.
async fn who_keeps_no_time_ticks_nothing(timed: Timed) {
    let play = Play::new(timed);
    let silent = play.builder().cron("x", "* * * * *", beat::new()).periodic(false);
    let _silent = Play::start(silent);
    let put = Schedule::new("put", beat::new()).every(MINUTE);
    play.client().put_schedule(put).await.unwrap();
    play.timed.clock.advance(10 * MINUTE);
    let job = beat::new().header("queue.schedule", "by hand").schedule(start());
    let job = job.enqueue(play.client()).await.unwrap();
    job.wait(PATIENCE).await.unwrap();
    assert_eq!(play.due().await, ["put"]);
    assert!(play.client().schedule("x").get().await.unwrap_err().is_unknown());
    let _other = play.started(play.builder(), &[]).await;
    play.settle().await;
    assert_eq!(play.ticks("put"), [10]);
}

/// A storage that has forgotten a worker may have lost its schedules too: it stores them again, and ticks.
async fn what_the_storage_lost_is_stored_again(timed: Timed) {
    let play = Play::new(timed);
    let storage = &play.timed.place.storage;
    let _running = play.started(play.builder().cron("x", "* * * * *", beat::new()), &["x"]).await;
    let query = queue_storage::storage::ScheduleQuery::Named(vec!["x".parse().unwrap()]);
    let page = storage.schedules(&shard("default"), &query).await.unwrap();
    let gone = ScheduleChange::new("x".parse().unwrap(), Some(page.schedules[0].version), None);
    storage.tick(&shard("default"), &[gone]).await.unwrap();
    for worker in play.client().workers().await.unwrap() {
        storage.deregister(worker.id).await.unwrap();
    }
    play.until("it is stored again", async || play.client().schedule("x").get().await.ok()).await;
    play.pass(MINUTE).await;
    assert_eq!(play.ticks("x"), [1]);
}

/// On the machine's clock: what is put, changed, paused and removed counts for a worker that sleeps.
async fn a_change_counts_at_once(place: Place) {
    let (client, log) = (&place.client, Arc::<Log>::default());
    let builder = Worker::builder(client).tasks(tasks![beat]).data_arc(Arc::clone(&log));
    let worker = builder.poll_every(Duration::from_secs(3_600)).build().unwrap();
    let running = tokio::spawn(async move { worker.run_until(std::future::pending()).await.unwrap() });
    let known = async || (!client.workers().await.unwrap().is_empty()).then_some(());
    eventually("the worker is there", known).await;
    let fast = Schedule::new("x", beat::new()).every(Duration::from_millis(20));
    let x = client.put_schedule(fast.clone()).await.unwrap();
    let ticks = async |more: usize| {
        let before = log.lock().unwrap().len();
        eventually("it ticks", async || (log.lock().unwrap().len() >= before + more).then_some(())).await;
    };
    ticks(3).await;
    // No tick after the moment at which it was paused.
    x.pause().await.unwrap();
    let paused = x.get().await.unwrap();
    assert!(paused.last.unwrap() <= paused.paused_at.unwrap());
    client.put_schedule(fast.clone().every(Duration::from_secs(3_600))).await.unwrap();
    x.resume().await.unwrap();
    let runs = x.get().await.unwrap().runs;
    x.edit(|schedule| schedule.every(Duration::from_millis(25))).await.unwrap();
    ticks(3).await;
    assert!(x.get().await.unwrap().runs >= runs + 3);
    assert!(x.remove().await.unwrap());
    let quiet = async || (client.counts("default").await.unwrap().live() == 0).then_some(());
    eventually("its last job has ended", quiet).await;
    let before = client.counts("default").await.unwrap().enqueued;
    assert_eq!(before, log.lock().unwrap().len() as u64);
    running.abort();
}

/// Schedules of one name in several queues, names that are none, facts as people read them.
async fn schedules_are_told_apart(place: Place) {
    let client = &place.client;
    let named = |queue: &str| Schedule::new("x", beat::new().queue(queue)).cron("0 9 * * MON").tz("Europe/Paris");
    let error = client.schedule("x").get().await.unwrap_err();
    assert!(error.is_unknown(), "{error}");
    let mail = client.put_schedule(named("mail")).await.unwrap();
    assert_eq!(client.schedule("x").get().await.unwrap().queue, "mail");
    client.put_schedule(named("slow").every(HOUR).tz("UTC")).await.unwrap_err();
    client.put_schedule(named("slow")).await.unwrap();
    let error = client.schedule("x").get().await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("mail, slow"), "{error}");
    let slow = client.schedule("x").in_queue("slow");
    slow.edit(|schedule| schedule.call(beat::new())).await.unwrap_err();
    slow.edit(|schedule| schedule.missed(Missed::Last).every(HOUR)).await.unwrap();
    slow.edit(|schedule| schedule.cron("CRON_TZ=Asia/Tokyo 0 8 * * MON")).await.unwrap();
    slow.edit(|schedule| schedule.tz("Europe/Paris")).await.unwrap();
    slow.edit(|schedule| schedule.cron("0 9 * * MON")).await.unwrap();
    let facts = slow.get().await.unwrap();
    assert_eq!((facts.queue.as_str(), facts.missed_policy), ("slow", Missed::Last));
    assert_eq!((facts.task.as_str(), facts.arguments.as_deref()), ("beat", Some("{}")));
    assert_eq!((facts.timing.as_str(), facts.zone.as_str()), ("CRON_TZ=Europe/Paris 0 9 * * 1", "Europe/Paris"));
    let preview = facts.preview(2);
    assert!(preview.iter().all(|line| line.contains("T09:00:00+0") && line.ends_with("[Europe/Paris]")), "{preview:?}");
    assert_eq!(facts.upcoming(2).len(), 2);
    // To put the same again changes nothing.
    let before = mail.get().await.unwrap();
    client.put_schedule(named("mail")).await.unwrap();
    assert_eq!(mail.get().await.unwrap(), before);
    let mut all = Vec::new();
    let mut schedules = client.schedules();
    while let Some(facts) = schedules.next().await {
        let facts = facts.unwrap();
        all.push((facts.queue, facts.name));
    }
    assert_eq!(all, [("mail", "x"), ("slow", "x")].map(|(queue, name)| (queue.to_owned(), name.to_owned())));
    assert!(client.schedule("a b").get().await.unwrap_err().is_invalid());
    assert_eq!(client.jobs(&JobQuery::default()).await.unwrap().jobs, []);
}
