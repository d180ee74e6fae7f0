//! What a waiting job takes.

use std::time::Duration;

use queue::BoxError;
use rusqlite::{Connection, OpenFlags};

use super::enqueue;
use crate::clock;
use crate::meter::Meter;
use crate::options::Run;
use crate::probe::Probe;
use crate::report::Report;
use crate::target::Target;
use crate::tasks::noop;

/// The jobs that are enqueued before the first look, so that what a queue takes once is not counted.
pub(super) const WARM_UP: u64 = 1;

/// A server is done with what it does behind its answers (rehashing, shrinking buffers) when its memory has not changed
/// by more than [`STILL`] for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// In bytes.
const STILL: u64 = 4_096;
/// Buffers of clients shrink after some seconds of silence; so long it looks at least, and at most.
const AT_LEAST: Duration = Duration::from_secs(4);
const AT_MOST: Duration = Duration::from_secs(60);

/// Enqueues jobs that wait, and looks at what the storage holds before and after.
pub(super) async fn footprint(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let (done, _progress) = enqueue::counted(run);
    let fill = async |jobs| enqueue::fill(&target.client, jobs, run.payload(), noop::new, &done).await;
    fill(WARM_UP).await?;
    let before = held(target).await?;
    let meter = Meter::start(target)?;
    fill(run.jobs()).await?;
    let report = meter.read(run, target)?;
    let bytes = held(target).await?.saturating_sub(before);
    Ok(report.with_bytes(bytes as f64 / run.jobs() as f64))
}

/// The bytes that the storage holds now.
async fn held(target: &Target) -> Result<u64, BoxError> {
    match (&target.probe, target.client.location().strip_prefix("sqlite://")) {
        (Some(probe), _) => settled_memory(probe).await,
        (None, Some(path)) => file(path),
        (None, None) => Err(format!("{} does not say how much it holds", target.told).into()),
    }
}

async fn settled_memory(probe: &Probe) -> Result<u64, BoxError> {
    let from = clock::now();
    let mut last = probe.snapshot()?.memory;
    loop {
        tokio::time::sleep(PAUSE).await;
        let memory = probe.snapshot()?.memory;
        let looked = clock::now().saturating_sub(from);
        if (memory.abs_diff(last) <= STILL && looked >= AT_LEAST) || looked >= AT_MOST {
            return Ok(memory);
        }
        last = memory;
    }
}

/// The pages of a database, those of its log that will be the file's among them.
fn file(path: &str) -> Result<u64, BoxError> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok(u64::try_from(pragma("page_count")? * pragma("page_size")?)?)
}
