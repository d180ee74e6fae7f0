//! Steps that follow each other.

use std::time::Duration;

use queue::{State, TaskError, Unique, task, tasks};

use super::ends::running;
use super::worker;
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    each_output_is_the_next_first_argument,
    a_dead_step_cancels_what_follows,
    a_whole_call_is_a_step_that_ignores_the_output,
    steps_in_several_queues,
    a_step_after_nothing,
    a_pipeline_that_is_kept_out_changes_nothing,
);

#[task]
async fn fetch(url: String) -> Result<Vec<u32>, TaskError> {
    Ok(url.bytes().map(u32::from).collect())
}

#[task]
async fn scale(numbers: Vec<u32>, by: u32) -> Result<u32, TaskError> {
    Ok(numbers.iter().sum::<u32>() * by)
}

#[task]
async fn label(n: u32, label: String) -> Result<String, TaskError> {
    Ok(format!("{label}={n}"))
}

#[task]
async fn fails(n: u32) -> Result<u32, TaskError> {
    Err(format!("not {n}"))?
}

#[task]
async fn quiet() -> Result<(), TaskError> {
    Ok(())
}

#[task]
async fn after_quiet(nothing: (), n: u32) -> Result<u32, TaskError> {
    let () = nothing;
    Ok(n)
}

async fn each_output_is_the_next_first_argument(place: Place) {
    let pipeline =
        fetch::new("ab").then(scale::after(2u32).priority(7)).then(label::after("sum").delay(Duration::from_millis(5)));
    let ids = pipeline.ids();
    let last = pipeline.enqueue(&place.client).await.unwrap();
    assert_eq!(ids[2], last.id());
    let middle = place.client.handle::<scale>(ids[1]).await.unwrap();
    assert_eq!(middle.status().await.unwrap().state(), Some(State::Waiting));
    running(&place, tasks![fetch, scale, label], async {
        assert_eq!(last.wait(PATIENCE).await.unwrap(), "sum=390");
    })
    .await;
    assert_eq!(middle.result().await.unwrap(), Some(390));
}

async fn a_dead_step_cancels_what_follows(place: Place) {
    let pipeline = fails::new(4).then(label::after("x")).then(fetch::after());
    let culprit = pipeline.ids()[0];
    let last = pipeline.enqueue(&place.client).await.unwrap();
    let error = running(&place, tasks![fails, label, fetch], last.wait(PATIENCE)).await.unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(error.culprit(), Some(culprit));
    assert!(error.to_string().contains("of task `fails`, which it waited for, did not complete"), "{error}");
    let dead = place.client.handle::<fails>(culprit).await.unwrap();
    assert_eq!(dead.status().await.unwrap().state(), Some(State::Dead));
    let counts = place.client.counts("default").await.unwrap();
    assert_eq!((counts.ended.cancelled, counts.ended.dead, counts.live()), (2, 1, 0));
}

async fn a_whole_call_is_a_step_that_ignores_the_output(place: Place) {
    let last = fetch::new("a").then(scale::new(vec![1, 2], 3u32)).enqueue(&place.client).await.unwrap();
    assert_eq!(running(&place, tasks![fetch, scale], last.wait(PATIENCE)).await.unwrap(), 9);
}

async fn a_step_after_nothing(place: Place) {
    let last = quiet::new().then(after_quiet::after(5u32)).enqueue(&place.client).await.unwrap();
    assert_eq!(running(&place, tasks![quiet, after_quiet], last.wait(PATIENCE)).await.unwrap(), 5);
}

/// Each step in a queue of its own, the last where the first was.
async fn steps_in_several_queues(place: Place) {
    let pipeline = fetch::new("ab").then(scale::after(2u32).queue("slow")).then(label::after("sum"));
    let ids = pipeline.ids();
    let last = pipeline.enqueue(&place.client).await.unwrap();
    let worker = worker(&place, tasks![fetch, scale, label]).queue("default").queue("slow").build().unwrap();
    let mut result = None;
    // That what one handed on has arrived is said a moment after it has.
    let all_said = async || (place.client.counts("slow").await.unwrap().live() == 0).then_some(());
    let done = async {
        result = Some(last.wait(PATIENCE).await);
        eventually("nothing is left", all_said).await;
    };
    worker.run_until(done).await.unwrap();
    assert_eq!(result.unwrap().unwrap(), "sum=390");
    assert_eq!(place.client.job(ids[1]).await.unwrap().found().unwrap().shard.queue.as_str(), "slow");
}

async fn a_pipeline_that_is_kept_out_changes_nothing(place: Place) {
    let hour = Duration::from_secs(3_600);
    for unique in [Unique::key("k").or_replace(), Unique::key("k").or_debounce(), Unique::key("k")] {
        let queue = format!("q{}", place.client.storage().shards().await.unwrap().len());
        let owner = fetch::new("a").unique(Unique::key("k")).delay(hour).queue(&queue);
        let owner = owner.enqueue(&place.client).await.unwrap();
        let before = place.client.job(owner.id()).await.unwrap().found();
        let first = fetch::new("b").unique(unique).priority(9).queue(&queue);
        let error = first.then(scale::after(2).queue(&queue)).enqueue(&place.client).await.unwrap_err();
        assert_eq!((error.is_rejected(), error.existing()), (true, Some(owner.id())));
        assert_eq!(place.client.job(owner.id()).await.unwrap().found(), before);
    }
}
