//! What flows cost: enqueued and run by one worker.

use std::sync::Arc;
use std::time::Duration;

use queue::{BoxError, FlowHandle, group};

use super::expect;
use super::work::Working;
use crate::meter::Meter;
use crate::options::{Run, Shape};
use crate::report::Report;
use crate::target::Target;
use crate::tasks::{OTHER, QUEUE, Runs, more, number, sum};

/// How long the storage may take to tell what a flow returned.
const LONG: Duration = Duration::from_secs(60);

/// Enqueues the jobs, tied together as asked, while the worker is there; it is over when the last flow has ended.
pub(super) async fn flows(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let (client, jobs) = (&target.client, run.jobs());
    let queues = if run.shape == Some(Shape::Across) { &[QUEUE, OTHER][..] } else { &[QUEUE][..] };
    let working = Working::serving(queues, run.concurrency(), target, Runs::default())?;
    let meter = Meter::start(target)?;
    let mut ends: Vec<(FlowHandle<u64>, u64)> = Vec::new();
    let ran = match run.shape.unwrap_or(Shape::Pipeline) {
        Shape::Alone => {
            for n in 0..jobs {
                number::new(n).enqueue(client).await?;
            }
            jobs
        }
        Shape::Pipeline => {
            for n in 0..jobs.div_ceil(3) {
                let flow = number::new(n).then(more::after()).then(more::after());
                ends.push((flow.enqueue(client).await?, n + 2));
            }
            jobs.div_ceil(3) * 3
        }
        Shape::Across => {
            for n in 0..jobs.div_ceil(2) {
                let flow = number::new(n).then(more::after().queue(OTHER));
                ends.push((flow.enqueue(client).await?, n + 1));
            }
            jobs.div_ceil(2) * 2
        }
        Shape::Group => {
            let chord = group((1..jobs).map(number::new)).then(sum::after());
            ends.push((chord.enqueue(client).await?, jobs * (jobs - 1) / 2));
            jobs
        }
    };
    working.settles(target, ran).await?;
    let report = meter.read(run, target)?;
    for (flow, expected) in &ends {
        expect("what a flow returned", flow.wait(LONG).await?, *expected)?;
    }
    let runs = Arc::clone(&working.runs);
    working.stop().await?;
    expect("runs", runs.seen(), ran)?;
    Ok(report)
}
