//! A worker that has nothing to do.

use std::time::Duration;

use queue::BoxError;

use super::expect;
use super::work::Working;
use crate::meter::Meter;
use crate::options::Run;
use crate::report::Report;
use crate::target::Target;
use crate::tasks::Runs;

/// Time to start and to fall asleep.
const SETTLE: Duration = Duration::from_secs(1);

pub(super) async fn idle(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let working = Working::start(run.concurrency(), target, Runs::default())?;
    tokio::time::sleep(SETTLE).await;
    let meter = Meter::start(target)?;
    tokio::time::sleep(run.look_on()).await;
    let report = meter.read(run, target)?;
    expect("runs", working.runs.seen(), 0)?;
    working.stop().await?;
    Ok(report)
}
