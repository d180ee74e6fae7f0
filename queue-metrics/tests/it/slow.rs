//! A storage that is slow, and one that is away: not the same.

use std::time::Duration;

use queue_core::{Client, Schedule};
use queue_metrics::Metrics;
use tokio::time::Instant;

use crate::far::Far;
use crate::support::{Fare, Text};

/// A job in each of so many queues, and a schedule.
async fn fill(client: &Client, queues: usize) {
    for number in 0..queues {
        Fare::new("well").queue(format!("q{number:03}")).enqueue(client).await.unwrap();
    }
    let nightly = Schedule::new("nightly", Fare::new("well").queue("q007")).cron("0 3 * * *");
    client.put_schedule(nightly).await.unwrap();
}

/// What is told, and how long that took.
async fn read(metrics: &Metrics) -> (Text, Duration) {
    let begun = Instant::now();
    let text = metrics.render().await;
    (Text::parse(&text), begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn many_queues_are_asked_at_once_and_not_too_many() {
    let (far, client) = Far::new();
    fill(&client, 160).await;
    let metrics = Metrics::builder(&client).queue_limit(200).build();
    far.takes(Duration::from_millis(100));
    let (text, took) = read(&metrics).await;
    assert_eq!(text.value("queue_backend_up"), 1.0);
    assert_eq!(text.of("queue_paused").count(), 160);
    for number in [0, 7, 99, 159] {
        assert_eq!(text.value(&format!(r#"queue_jobs{{queue="q{number:03}",state="ready"}}"#)), 1.0, "{number}");
    }
    assert_eq!(text.value(r#"queue_periodic_missed_total{queue="q007",schedule="nightly"}"#), 0.0);
    // Ten rounds of two calls for the queues and of one for their schedules, and which there are, twice, and the workers.
    let rounds = u32::try_from(took.as_millis() / 100).unwrap();
    assert!((30..=36).contains(&rounds), "{took:?}");
    assert_eq!(far.most(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_is_too_slow_is_not_down() {
    let (far, client) = Far::new();
    let metrics = Metrics::builder(&client).cache_for(Duration::ZERO).build();
    fill(&client, 160).await;
    far.takes(Duration::from_secs(1));
    let (text, took) = read(&metrics).await;
    assert_eq!((text.value("queue_backend_up"), text.of("queue_jobs").count(), took.as_secs()), (1.0, 0, 6));
    assert_eq!(text.value(r#"queue_jobs_enqueued_total{queue="q007",task="fare"}"#), 1.0);
    far.takes(Duration::ZERO);
    let (text, _) = read(&metrics).await;
    assert_eq!((text.value("queue_backend_up"), text.of("queue_paused").count()), (1.0, 101));
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_answers_nothing_is_down() {
    let (far, client) = Far::new();
    fill(&client, 2).await;
    let metrics = Metrics::new(&client);
    far.takes(Duration::from_secs(3_600));
    let (text, took) = read(&metrics).await;
    assert_eq!((text.value("queue_backend_up"), text.of("queue_jobs").count(), took.as_secs()), (0.0, 0, 7));
}
