//! Jobs stored by an older program still run: the stored bytes under `tests/fixtures` were written once and are never
//! made anew.

use std::time::Duration;

use queue::{TaskError, task, tasks};
use queue_storage::model::{CallerId, JobId, NewJob, Shard};
use queue_storage::storage::EnqueueCall;

use super::ends::running;
use crate::support::{PATIENCE, Place, on_every_storage};

on_every_storage!(
    an_optional_argument_was_added,
    a_defaulted_argument_was_added,
    an_argument_was_removed,
    arguments_were_reordered,
    the_task_was_renamed,
    a_step_and_options_of_the_first_release,
);

/// Stored by `#[task] async fn report(name: String, pages: u32)` of the first release.
const REPORT: &[u8] = include_bytes!("../../fixtures/report-v1.envelope");
/// Stored by `report::after(12)` with `retries(4)`, `timeout(90 s)` and a header, as the second step of a pipeline.
const STEP: &[u8] = include_bytes!("../../fixtures/report-step-v1.envelope");

async fn store(
    place: &Place,
    name: &str,
    envelope: &'static [u8],
    waits_for: Vec<JobId>,
    caller: CallerId,
    number: u64,
) -> JobId {
    let shard = Shard::of("default".parse().unwrap());
    let mut job = NewJob::new(JobId::new(&shard), name.parse().unwrap(), envelope.into());
    job.waits_for = waits_for;
    let id = job.id;
    let call = EnqueueCall { caller, shard, number, jobs: vec![job] };
    place.storage.enqueue(call).await.unwrap();
    id
}

/// Runs the stored job with a task of today.
async fn run<T: queue::Task<Output = String>>(place: &Place, tasks: queue::TaskList) -> String {
    let id = store(place, "report", REPORT, vec![], CallerId::generate(), 1).await;
    let job = place.client.handle::<T>(id).await.unwrap();
    running(place, tasks, job.wait(PATIENCE)).await.unwrap()
}

mod optional {
    use super::*;

    #[task]
    pub async fn report(name: String, pages: u32, colour: Option<String>) -> Result<String, TaskError> {
        Ok(format!("{name} {pages} {colour:?}"))
    }
}

async fn an_optional_argument_was_added(place: Place) {
    assert_eq!(run::<optional::report>(&place, tasks![optional::report]).await, "sales 12 None");
}

mod defaulted {
    use super::*;

    #[task]
    pub async fn report(name: String, pages: u32, #[serde(default)] copies: u8) -> Result<String, TaskError> {
        Ok(format!("{name} {pages} {copies}"))
    }
}

async fn a_defaulted_argument_was_added(place: Place) {
    assert_eq!(run::<defaulted::report>(&place, tasks![defaulted::report]).await, "sales 12 0");
}

mod removed {
    use super::*;

    #[task]
    pub async fn report(name: String) -> Result<String, TaskError> {
        Ok(name)
    }
}

async fn an_argument_was_removed(place: Place) {
    assert_eq!(run::<removed::report>(&place, tasks![removed::report]).await, "sales");
}

mod reordered {
    use super::*;

    #[task]
    pub async fn report(pages: u32, name: String) -> Result<String, TaskError> {
        Ok(format!("{name} {pages}"))
    }
}

async fn arguments_were_reordered(place: Place) {
    assert_eq!(run::<reordered::report>(&place, tasks![reordered::report]).await, "sales 12");
}

mod renamed {
    use super::*;

    #[task(aliases = ["report"])]
    pub async fn quarterly_report(name: String, pages: u32) -> Result<String, TaskError> {
        Ok(format!("{name} {pages}"))
    }
}

async fn the_task_was_renamed(place: Place) {
    assert_eq!(run::<renamed::quarterly_report>(&place, tasks![renamed::quarterly_report]).await, "sales 12");
}

mod step {
    use super::*;

    #[task]
    pub async fn name_it() -> Result<String, TaskError> {
        Ok("sales".into())
    }

    #[task]
    pub async fn report(name: String, pages: u32, ctx: queue::Context) -> Result<String, TaskError> {
        let deadline = ctx.deadline().ok_or("no deadline")?.duration_since(std::time::SystemTime::now())?;
        let close = deadline > Duration::from_secs(30) && deadline <= Duration::from_secs(90);
        Ok(format!("{name} {pages} {} {:?} {close}", ctx.max_attempts(), ctx.header("tenant")))
    }
}

async fn a_step_and_options_of_the_first_release(place: Place) {
    let first = step::name_it::new().enqueue(&place.client).await.unwrap();
    let id = store(&place, "report", STEP, vec![first.id()], CallerId::generate(), 1).await;
    let job = place.client.handle::<step::report>(id).await.unwrap();
    let said = running(&place, tasks![step::name_it, step::report], job.wait(PATIENCE)).await.unwrap();
    assert_eq!(said, "sales 12 5 Some(\"acme\") true");
}
