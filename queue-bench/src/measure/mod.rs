//! The measures, and what they must have done.

mod drain;
mod enqueue;
mod flows;
mod footprint;
mod idle;
mod latency;
mod processes;
mod schedule;
mod work;

use queue::{BoxError, Counts, State};

use crate::options::{Measure, Run};
use crate::report::Report;
use crate::target::Target;
use crate::tasks::QUEUE;

pub(crate) use processes::serve;

/// Measures once; an error when not every job became what it should.
pub(crate) async fn measure(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let before = Before::of(target).await?;
    let report = once(run, target).await?;
    if run.measure == Measure::Flows {
        // What ties jobs together is counted with them: the measure checks what came of it.
        return Ok(report);
    }
    let only_enqueued =
        matches!(run.measure, Measure::Enqueue | Measure::EnqueueConcurrent | Measure::EnqueueBulk | Measure::Memory);
    let jobs = if run.measure == Measure::Memory { run.jobs() + footprint::WARM_UP } else { run.jobs() };
    before.check(target, jobs, only_enqueued).await?;
    Ok(report)
}

async fn once(run: &Run, target: &Target) -> Result<Report, BoxError> {
    match run.measure {
        Measure::Enqueue => enqueue::one_by_one(run, target).await,
        Measure::EnqueueConcurrent => enqueue::at_once(run, target).await,
        Measure::EnqueueBulk => enqueue::bulk(run, target).await,
        Measure::Drain => drain::drain(run, target).await,
        Measure::Latency if run.processes => processes::latency(run, target).await,
        Measure::Latency => latency::latency(run, target).await,
        Measure::ScheduleBurst => schedule::burst(run, target).await,
        Measure::Idle => idle::idle(run, target).await,
        Measure::Flows => flows::flows(run, target).await,
        Measure::Memory => footprint::footprint(run, target).await,
    }
}

/// What the storage held before.
struct Before(Counts);

impl Before {
    async fn of(target: &Target) -> Result<Self, BoxError> {
        let counts = target.client.counts(QUEUE).await?;
        match counts.live() {
            0 => Ok(Self(counts)),
            live => {
                Err(format!("{} holds {live} jobs in `{QUEUE}` already: measure on a fresh storage", target.told)
                    .into())
            }
        }
    }

    async fn check(&self, target: &Target, jobs: u64, only_enqueued: bool) -> Result<(), BoxError> {
        let now = target.client.counts(QUEUE).await?;
        let (ready, completed) = if only_enqueued { (jobs, 0) } else { (0, jobs) };
        expect("jobs in the storage's count of enqueued ones", now.enqueued - self.0.enqueued, jobs)?;
        expect("ready jobs", now.of(State::Ready), ready)?;
        expect("live jobs", now.live(), ready)?;
        expect("completed jobs", now.ended.completed - self.0.ended.completed, completed)?;
        expect("ended jobs", now.ended.total() - self.0.ended.total(), completed)
    }
}

/// Fails unless it is as it should be.
fn expect(what: &str, is: u64, should: u64) -> Result<(), BoxError> {
    if is == should { Ok(()) } else { Err(format!("not measured: {what}: {is}, not {should}").into()) }
}
