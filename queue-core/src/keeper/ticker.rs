//! Carries out the ticks of schedules that are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::join_all;
use queue_storage::model::{JobId, NewJob, Shard, Timestamp};
use queue_storage::storage::{Act, Changed, Lookup, MAX_ENQUEUE, ScheduleChange, ScheduleRecord, StorageError, Ticked};
use tokio::sync::Notify;

use crate::client::MAX_CALL_BYTES;
use crate::engine::{Backoff, Engine};
use crate::periodic::{Entry, Plan, plan};
use crate::schedules::{Becomes, change as change_stored};
use crate::taken::Taken;

/// Between the lane of a shard and its ticker. What came while nobody waited is kept.
#[derive(Debug)]
pub(crate) struct Bell {
    /// A schedule is due.
    due: Notify,
    /// The ticker knows of a tick to come, and by the worker's clock when; in microseconds.
    comes: Notify,
    next: AtomicI64,
}

impl Default for Bell {
    fn default() -> Self {
        Self { due: Notify::new(), comes: Notify::new(), next: AtomicI64::new(i64::MAX) }
    }
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.due.notify_one();
    }

    /// Waits until the ticker knows of a tick to come.
    pub(crate) async fn comes(&self) {
        self.comes.notified().await;
    }

    /// When the next tick comes that the ticker knows of, no later than this look. A lane without room is signalled by no
    /// storage, and what its last answer told was before the tick.
    pub(crate) fn sooner(&self, look_at: Timestamp) -> Timestamp {
        look_at.min(Timestamp::from_micros(self.next.load(Ordering::Acquire)))
    }

    /// Forgets what an exchange that is made now sees itself.
    pub(crate) fn seen(&self, now: Timestamp) {
        let come = |next: i64| (next <= now.as_micros()).then_some(i64::MAX);
        let _ = self.next.fetch_update(Ordering::AcqRel, Ordering::Acquire, come);
    }

    /// Notes when a schedule that was changed is due next, `now` by the storage's clock.
    fn note(&self, engine: &Engine, change: &ScheduleChange, changed: &Changed, now: Timestamp) {
        let (Some((Some(due), _)), Changed::Applied(_)) = (&change.to, changed) else { return };
        let at = engine.clock().now() + due.since(now);
        self.next.fetch_min(at.as_micros(), Ordering::AcqRel);
        self.comes.notify_one();
    }
}

/// Ticks whenever the bell rings, for ever.
pub(crate) async fn tick_for_ever(engine: Arc<Engine>, shard: Shard, bells: Arc<[Bell]>, index: usize) {
    let mut backoff = Backoff::new();
    loop {
        let bell = &bells[index];
        bell.due.notified().await;
        while let Err(error) = tick(&engine, &shard, bell).await {
            let pause = backoff.pause();
            tracing::warn!(%error, queue = %shard, ?pause, "can't tick schedules: trying again");
            engine.sleep(pause).await;
        }
        backoff = Backoff::new();
    }
}

/// Carries out what is due until nothing is. A round reads what is due together with the answer to the round before.
async fn tick(engine: &Engine, shard: &Shard, bell: &Bell) -> Result<(), StorageError> {
    let (mut steps, mut changes) = (Vec::new(), Vec::new());
    loop {
        let ticked = match engine.storage().tick(shard, &changes).await {
            Err(error) if error.is_invalid() && !changes.is_empty() => {
                one_by_one(engine, shard, bell, steps, changes).await?
            }
            answer => {
                let ticked = answer?;
                let each = steps.iter().zip(&changes).zip(&ticked.changed);
                let noted = each.map(|((step, change), changed)| {
                    say(shard, step, changed);
                    tell(engine, shard, change, changed);
                    bell.note(engine, change, changed, ticked.now);
                    unnote(engine, shard, change, step, changed)
                });
                join_all(noted).await;
                ticked
            }
        };
        if ticked.due.is_empty() {
            return Ok(());
        }
        (steps, changes) = next_round(engine, shard, &ticked.due, ticked.now).await?;
        if changes.is_empty() {
            return Ok(());
        }
    }
}

/// Makes the changes of a call that was refused each in a call of its own, so that one that can't be holds up no other.
async fn one_by_one(
    engine: &Engine,
    shard: &Shard,
    bell: &Bell,
    steps: Vec<Step>,
    changes: Vec<ScheduleChange>,
) -> Result<Ticked, StorageError> {
    let mut last = engine.storage().tick(shard, &[]).await?;
    for (step, change) in steps.iter().zip(changes) {
        last = match engine.storage().tick(shard, std::slice::from_ref(&change)).await {
            Err(error) if error.is_invalid() => {
                let Step::Carry(record, _) = step else { return Err(error) };
                let (_, change) = left(engine, shard, record, last.now, &error.to_string());
                engine.storage().tick(shard, &[change]).await?
            }
            answer => {
                let ticked = answer?;
                for changed in &ticked.changed {
                    say(shard, step, changed);
                    tell(engine, shard, &change, changed);
                    bell.note(engine, &change, changed, ticked.now);
                    unnote(engine, shard, &change, step, changed).await;
                }
                ticked
            }
        };
    }
    Ok(last)
}

/// What is to be done with one schedule.
enum Step {
    Carry(ScheduleRecord, Box<Plan>),
    /// It can't be carried out here: somebody looks again later.
    Leave,
}

/// The steps for what is due, and the changes that make them; none when this worker can do nothing about it yet.
async fn next_round(
    engine: &Engine,
    shard: &Shard,
    due: &[ScheduleRecord],
    now: Timestamp,
) -> Result<(Vec<Step>, Vec<ScheduleChange>), StorageError> {
    let (mut steps, mut changes, mut jobs, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
    // All at once: a round takes as long as its slowest look.
    let looks = join_all(due.iter().map(|record| look(engine, record))).await;
    for (record, look) in due.iter().zip(looks) {
        let (step, change) = match carry(engine, shard, record, look?, now).await? {
            Ok((plan, change)) => (Step::Carry(record.clone(), Box::new(plan)), change),
            // Whoever can has a while for it.
            Err(_) if record.due.is_some_and(|due| now - due < engine.config.leave_after) => continue,
            Err(why) => left(engine, shard, record, now, &why),
        };
        jobs += change.jobs.len();
        bytes += change.jobs.iter().map(|job| job.envelope.len()).sum::<usize>();
        let room = jobs <= MAX_ENQUEUE && bytes <= MAX_CALL_BYTES;
        if !(room || steps.is_empty()) {
            break;
        }
        steps.push(step);
        changes.push(change);
    }
    Ok((steps, changes))
}

/// Leaves a schedule to others, and to a later look.
fn left(engine: &Engine, shard: &Shard, record: &ScheduleRecord, now: Timestamp, why: &str) -> (Step, ScheduleChange) {
    let again_in = engine.config.tick_again;
    tracing::warn!(
        schedule = %record.name, queue = %shard, why, ?again_in,
        "this worker can't tick a schedule: it is left to others"
    );
    let look = (Some(now + again_in), record.data.clone());
    (Step::Leave, ScheduleChange::new(record.name.clone(), Some(record.version), Some(look)))
}

/// What is stored of a schedule, and which of its jobs the next tick must not run beside; or why that can't be told.
async fn look(engine: &Engine, record: &ScheduleRecord) -> Result<Result<(Entry, Vec<JobId>), String>, StorageError> {
    let entry = match Entry::decode(&record.data) {
        Ok(entry) => entry,
        Err(why) => return Ok(Err(why)),
    };
    let mut live = Vec::new();
    for id in entry.minds() {
        match engine.storage().get(id).await {
            Ok(Lookup::Found(job)) if !job.state.is_end() => live.push(id),
            Ok(_) => {}
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    Ok(Ok((entry, live)))
}

/// Plans the ticks of one schedule, and cancels the jobs before where they are to be; or why that can't be.
///
/// Whoever carries the tick out cancels them first, so that a crash in between leaves none beside the next.
async fn carry(
    engine: &Engine,
    shard: &Shard,
    record: &ScheduleRecord,
    look: Result<(Entry, Vec<JobId>), String>,
    now: Timestamp,
) -> Result<Result<(Plan, ScheduleChange), String>, StorageError> {
    let (entry, live) = match look {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let (plan, jobs) = match planned(shard, record, &entry, now, !live.is_empty()) {
        Ok(planned) => planned,
        Err(why) => return Ok(Err(why)),
    };
    if plan.cancel {
        let act = Act::Cancel { keep: engine.client.config().keep_cancelled };
        match engine.storage().act(shard, &live, &act).await {
            Err(error) if !error.is_unavailable() => return Ok(Err(error.to_string())),
            acted => engine.client.tell_acted(shard, (&live, &acted?), &act, |_| None),
        }
    }
    Ok(changed(record, &plan, jobs).map(|change| (plan, change)))
}

/// The plan for a schedule that is due, and the jobs of its ticks.
fn planned(
    shard: &Shard,
    record: &ScheduleRecord,
    entry: &Entry,
    now: Timestamp,
    live: bool,
) -> Result<(Plan, Vec<NewJob>), String> {
    // One that somebody was to look at again is due by its tick.
    let mut plan = plan(entry, now, live).unwrap_or_else(|| Plan::nothing(entry));
    let definition = &entry.definition;
    let job = |tick: &Timestamp| definition.call.at_tick(shard, &record.name, *tick, entry.era, definition.jitter);
    let jobs = plan.ticks.iter().map(job).collect::<Result<Vec<_>, _>>()?;
    if let Some(job) = jobs.last() {
        (plan.entry.tick_job, plan.entry.last_job) = (Some(job.id), Some(job.id));
    }
    Ok((plan, jobs))
}

fn changed(record: &ScheduleRecord, plan: &Plan, jobs: Vec<NewJob>) -> Result<ScheduleChange, String> {
    let to = (plan.entry.due(), plan.entry.encode()?);
    let mut change = ScheduleChange::new(record.name.clone(), Some(record.version), Some(to));
    change.jobs = jobs;
    Ok(change)
}

/// Tells of the jobs that a change stored.
fn tell(engine: &Engine, shard: &Shard, change: &ScheduleChange, changed: &Changed) {
    if let Changed::Applied(admissions) = changed {
        let taken: Vec<_> = change.jobs.iter().map(Taken::of).collect();
        engine.client.tell_taken(shard, &taken, admissions);
    }
}

/// Takes back that the last tick made a job, where a unique call was kept out: what stood before stands again.
///
/// That it would be could not be known before, and whoever dies in between leaves the id of a job that never was, which keeps
/// nothing from ticking.
async fn unnote(engine: &Engine, shard: &Shard, change: &ScheduleChange, step: &Step, changed: &Changed) {
    let (Step::Carry(record, plan), Changed::Applied(admissions)) = (step, changed) else { return };
    if admissions.last().is_none_or(|admission| admission.kept_out_by().is_none()) {
        return;
    }
    let Ok(before) = Entry::decode(&record.data) else { return };
    let jobs = change.jobs.iter().zip(admissions).rev();
    let made = jobs.into_iter().find(|(_, admission)| admission.kept_out_by().is_none()).map(|(job, _)| job.id);
    let put = change_stored(&engine.client, shard, &record.name, |stored, _| {
        let Some(mut entry) = stored.filter(|entry| entry.tick_job == plan.entry.tick_job) else {
            return Ok((Becomes::Same, ()));
        };
        if entry.last_job == entry.tick_job {
            entry.last_job = made.or(before.last_job);
        }
        entry.tick_job = made.or(before.tick_job);
        Ok((Becomes::Entry(Box::new(entry), Vec::new()), ()))
    });
    if let Err(error) = put.await {
        tracing::debug!(schedule = %record.name, queue = %shard, %error, "a job that was kept out stays noted");
    }
}

/// Says what came of a step.
fn say(shard: &Shard, step: &Step, changed: &Changed) {
    let (Step::Carry(record, plan), Changed::Applied(_)) = (step, changed) else { return };
    let (schedule, next) = (&record.name, plan.entry.next.map(tracing::field::display));
    for tick in &plan.ticks {
        tracing::debug!(%schedule, queue = %shard, %tick, next, "a schedule ticks");
    }
    if plan.missed > 0 {
        let missed = plan.missed;
        tracing::warn!(%schedule, queue = %shard, missed, next, "ticks were missed: no worker carried them out in time");
    }
    if plan.skipped > 0 {
        let skipped = plan.skipped;
        tracing::info!(%schedule, queue = %shard, skipped, next, "ticks are left out: the job before has not ended");
    }
}
