//! More queues than have a label of their own.

use std::time::Duration;

use queue_core::{Client, Schedule, ScheduleFacts, Worker, tasks};

use crate::support::{Fare, Place, Text, seconds};

const MINUTE: Duration = Duration::from_secs(60);

/// Somebody else, of whom nothing is counted here.
fn other(place: &Place) -> Client {
    Client::builder(place.observed.clone()).clock(std::sync::Arc::new(place.clock.clone())).build()
}

/// Asserts what a metric tells of each queue, and that it tells of no other.
fn assert_queues<const N: usize>(text: &Text, metric: &str, more: &str, expected: [(&str, f64); N]) {
    for (queue, value) in expected {
        assert_eq!(text.value(&format!(r#"{metric}{{queue="{queue}"{more}}}"#)), value, "{queue}");
    }
    assert_eq!(text.of(metric).filter(|(series, _)| series.ends_with(&format!("{more}}}"))).count(), N, "{metric}");
}

#[tokio::test]
async fn of_what_is_stored_the_own_queues_and_the_first_are_told_apart_and_the_rest_as_one() {
    let place = Place::new().await;
    let metrics = place.metrics().queue_limit(2).cache_for(Duration::ZERO).build();
    let other = other(&place);
    Fare::new("well").queue("own").enqueue(&place.client).await.unwrap();
    for queue in ["a", "held", "late", "late"] {
        Fare::new("well").queue(queue).enqueue(&other).await.unwrap();
        place.clock.advance(MINUTE);
    }
    other.queue("held").pause().await.unwrap();
    let text = Text::parse(&metrics.render().await);
    assert_queues(&text, "queue_jobs", r#",state="ready""#, [("own", 1.0), ("a", 1.0), ("_other", 3.0)]);
    assert_queues(&text, "queue_latency_seconds", "", [("own", 240.0), ("a", 240.0), ("_other", 120.0)]);
    assert_queues(&text, "queue_paused", "", [("own", 0.0), ("a", 0.0), ("_other", 0.0)]);
    assert_queues(&text, "queue_jobs_parked", "", [("own", 0.0), ("a", 0.0), ("_other", 0.0)]);
    assert_queues(&text, "queue_jobs_enqueued_total", r#",task="fare""#, [("own", 1.0)]);

    // Who came first by name once stays, whoever comes later.
    Fare::new("well").queue("B").enqueue(&other).await.unwrap();
    for queue in ["B", "late"] {
        other.queue(queue).pause().await.unwrap();
    }
    let text = Text::parse(&metrics.render().await);
    assert_queues(&text, "queue_jobs", r#",state="ready""#, [("own", 1.0), ("a", 1.0), ("_other", 4.0)]);
    assert_queues(&text, "queue_latency_seconds", "", [("own", 240.0), ("a", 240.0), ("_other", 180.0)]);
    assert_queues(&text, "queue_paused", "", [("own", 0.0), ("a", 0.0), ("_other", 1.0)]);
}

#[tokio::test]
async fn schedules_of_one_name_in_the_rest_are_told_as_one() {
    let place = Place::new().await;
    let metrics = place.metrics().queue_limit(1).build();
    // The worker may come to its queues in any order.
    Fare::new("well").queue("a").enqueue(&place.client).await.unwrap();
    let mut handles = Vec::new();
    for (queue, minutes) in [("a", 2), ("b", 3), ("c", 5)] {
        let schedule = Schedule::new("nightly", Fare::new("well").queue(queue)).every(MINUTE * minutes);
        handles.push(place.client.put_schedule(schedule).await.unwrap());
    }
    place.clock.advance(MINUTE * 62);
    let worker = Worker::builder(&place.client).tasks(tasks![Fare]).queue("a").queue("b").queue("c").build().unwrap();
    worker.run_until_drained().await.unwrap();
    let mut facts = Vec::new();
    for handle in handles {
        facts.push(handle.get().await.unwrap());
    }
    let [a, b, c] = &facts[..] else { panic!("{facts:?}") };
    assert!([a, b, c].iter().all(|one| one.missed > 0 && one.last.is_some()), "{facts:?}");
    let missed = |one: &ScheduleFacts| f64::from(u32::try_from(one.missed).unwrap());
    let text = Text::parse(&metrics.render().await);
    let of = |metric: &str, first: f64, rest: f64| {
        assert_queues(&text, metric, r#",schedule="nightly""#, [("a", first), ("_other", rest)]);
    };
    of("queue_periodic_missed_total", missed(a), missed(b) + missed(c));
    of("queue_periodic_skipped_total", 0.0, 0.0);
    of("queue_periodic_last_tick_timestamp_seconds", seconds(a.last), seconds(b.last.min(c.last)));
    of("queue_periodic_next_tick_timestamp_seconds", seconds(a.next), seconds(b.next.min(c.next)));
}
