//! What is said of flows: why they don't get on, and why they failed, wherever in them that began.

use std::time::Duration;

use queue::{EndReason, Failed, State, TaskError, group, task, tasks};

use super::flows::{alert, double, ends, fails, number, sum, text};
use super::worker;
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    what_was_too_large_to_be_carried,
    the_one_to_blame_through_others,
    what_holds_up_the_end,
    a_flow_found_by_its_id,
    whether_it_was_called_off,
);

const HOUR: Duration = Duration::from_secs(3_600);
const BRIEFLY: Duration = Duration::from_millis(20);

#[task]
async fn page(n: usize) -> Result<String, TaskError> {
    Ok("x".repeat(n))
}

#[task]
async fn count(pages: Vec<String>) -> Result<u64, TaskError> {
    Ok(pages.len() as u64)
}

#[task]
async fn verdict(end: Result<u64, Failed>) -> Result<String, TaskError> {
    Ok(end.map_or_else(|failed| failed.to_string(), |n| n.to_string()))
}

#[task]
async fn verdicts(all: Vec<Result<u64, Failed>>) -> Result<String, TaskError> {
    Ok(all.into_iter().map(|end| end.map_or_else(|failed| failed.to_string(), |n| n.to_string())).collect())
}

#[task]
async fn mourn(failed: Failed) -> Result<String, TaskError> {
    Ok(failed.to_string())
}

/// Runs a worker of two queues beside `body`, which knows all tasks but `double`.
async fn running<T>(place: &Place, body: impl Future<Output = T>) -> T {
    let tasks = tasks![number, sum, text, fails, ends, alert, page, count, verdict, verdicts, mourn];
    let worker = worker(place, tasks).queue("default").queue("slow").result_limit(1_000).build().unwrap();
    let mut result = None;
    worker.run_until(async { result = Some(body.await) }).await.unwrap();
    result.unwrap()
}

async fn what_was_too_large_to_be_carried(place: Place) {
    let pages = || group((0..9).map(|_| page::new(500usize).queue("slow")));
    let (whole, sorry) = (verdict::after(), mourn::after());
    let handles = [whole.handle(&place.client), sorry.handle(&place.client)];
    let counted = pages().then(count::after()).on_complete(whole).on_failure(sorry);
    let flow = counted.then(verdict::new(Ok(1u64))).enqueue(&place.client).await.unwrap();
    let few = group([pages().then(count::after())]).settled().then(verdicts::after());
    let few = few.enqueue(&place.client).await.unwrap();
    running(&place, async {
        let why =
            ["can't be carried to job", "more than 4000 bytes", "put what takes it in the same queue, or raise `"];
        let says = |text: String| assert!(why.iter().all(|why| text.contains(why)), "{text}");
        let error = flow.wait(PATIENCE).await.unwrap_err().to_string();
        let start = format!("job {} was cancelled: what it waited for in another queue did not arrive: ", flow.id());
        assert!(error.starts_with(&start), "{error}");
        says(error);
        says(place.client.explain(flow.id()).await.unwrap().to_string());
        says(flow.tree().await.unwrap().to_string());
        for handle in handles {
            says(handle.wait(PATIENCE).await.unwrap());
        }
        says(few.wait(PATIENCE).await.unwrap());
    })
    .await;
}

/// Through a pipeline, a group and another queue: its task, end and message, as who waits is told.
async fn the_one_to_blame_through_others(place: Place) {
    for queue in ["default", "slow"] {
        let (whole, bad) = (verdict::after(), fails::new(3u64).queue(queue));
        let (handle, id) = (whole.handle(&place.client), bad.id());
        let inner = group([number::new(1u64).into_flow(), bad.then(text::after()).then(number::new(2u64))]);
        let chord = inner.then(sum::after(0u64)).on_complete(whole);
        let flow = group([chord]).settled().then(ends::after()).enqueue(&place.client).await.unwrap();
        running(&place, async {
            assert_eq!(flow.wait(PATIENCE).await.unwrap(), "dead fails: not 3");
            let told = handle.wait(PATIENCE).await.unwrap();
            assert_eq!(
                told,
                format!("job {id} of task `fails` died: its task said that another run can't help: not 3")
            );
        })
        .await;
    }
}

/// Down to the step that does not get on, through a gather and from queue to queue.
async fn what_holds_up_the_end(place: Place) {
    let members = |bad: queue::Call<number>| {
        let good = (0..120u64).map(number::new).chain([number::new(9u64).delay(HOUR)]);
        group(good.chain([bad])).then(text_of_all::after()).then(number::new(1u64))
    };
    let nobody = members(number::new(5u64).queue("nobody")).enqueue(&place.client).await.unwrap();
    let paused = members(number::new(5u64).queue("paused")).enqueue(&place.client).await.unwrap();
    let unknown = number::new(1u64).queue("slow").then(double::after().queue("slow")).then(number::new(2u64));
    let unknown = unknown.enqueue(&place.client).await.unwrap();
    place.client.queue("paused").pause().await.unwrap();
    running(&place, async {
        for (flow, why) in [
            (&nobody, "of task `number` is ready, but no live worker serves queue `nobody`: start one"),
            (&paused, "of task `number` is ready, but queue `paused` is paused since 20"),
            (&unknown, "1 live worker serves queue `slow` and none knows task `double`; no live worker does: add it"),
        ] {
            let told = async || {
                let error = flow.wait(BRIEFLY).await.unwrap_err();
                assert!(error.is_timeout(), "{error}");
                error.to_string().contains(why).then_some(())
            };
            eventually(why, told).await;
            let explained = place.client.explain(flow.id()).await.unwrap();
            assert!(explained.to_string().contains(why), "{explained}");
            let tree = flow.tree().await.unwrap().to_string();
            assert!(tree.contains(" in `default` after "), "{tree}");
        }
        let tree = unknown.tree().await.unwrap().to_string();
        assert!(tree.contains(": parked: no worker that looked at it knows its task"), "{tree}");
    })
    .await;
}

#[task]
async fn text_of_all(all: Vec<u64>) -> Result<String, TaskError> {
    Ok(format!("{all:?}"))
}

async fn a_flow_found_by_its_id(place: Place) {
    let id = group([page::new(40usize), page::new(30usize)]).enqueue(&place.client).await.unwrap().id();
    let pages = running(&place, place.client.flow::<Vec<String>>(id).wait(PATIENCE)).await.unwrap();
    assert_eq!(pages.iter().map(String::len).collect::<Vec<_>>(), [40, 30]);
    let tasks = tasks![page];
    let long = page::new(9_000usize).enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks).build().unwrap();
    worker.run_until(async { drop(long.wait(PATIENCE).await.unwrap()) }).await.unwrap();
    let error = place.client.flow::<()>(long.id()).result().await.unwrap_err().to_string();
    assert!(error.contains("is not of the type asked for: ") && error.contains("xxx … xxx"), "{error}");
    assert!(error.ends_with("expected unit") && error.len() < 400, "{error}");
}

async fn whether_it_was_called_off(place: Place) {
    let first = number::new(2u64).delay(HOUR);
    let pipeline = first.clone().then(text::after()).enqueue(&place.client).await.unwrap();
    place.client.cancel(first.id()).await.unwrap();
    let status = pipeline.status().await.unwrap();
    assert_eq!((status.culprit, &status.because), (Some(first.id()), &Some(EndReason::Requested)));
    let said = format!("cancelled: 0 of 2 completed, 2 cancelled; job {} was called off", first.id());
    assert_eq!(status.to_string(), said);
    let group = group((0..120u64).map(|n| number::new(n).delay(HOUR))).enqueue(&place.client).await.unwrap();
    assert_eq!(group.cancel().await.unwrap().to_string(), "120 jobs: 120 done");
    let status = group.status().await.unwrap();
    assert_eq!((status.end, status.culprit), (Some(State::Cancelled), None));
    assert_eq!(status.to_string(), "cancelled: 0 of 120 completed, 120 cancelled; it was called off");
    assert_eq!(group.retry().await.unwrap().to_string(), "120 jobs: 120 done");
}
