//! What is beside the numbers: storages that fail, scrapers that come in crowds, recorders of others.

use std::time::Duration;

use queue_core::clock::Clock;
use queue_core::{JobQuery, Storage};
use queue_storage::storage::{Cursor, Operate};

use crate::support::{Fare, Place, Text};

#[tokio::test]
async fn many_who_ask_are_one_who_asks() {
    let place = Place::new().await;
    let metrics = place.metrics().backend(&place.observed).build();
    Fare::new("well").enqueue(&place.client).await.unwrap();
    let asked = |text: &str| Text::parse(text).histogram("queue_backend_operation_seconds", r#"op="counts""#).0;
    let source = metrics.source();
    let (first, second) = tokio::join!(source(), source());
    assert_eq!((asked(&first), asked(&second)), (1.0, 1.0));
    place.clock.advance(Duration::from_millis(999));
    assert_eq!(asked(&source().await), 1.0);
    place.clock.advance(Duration::from_millis(1));
    assert_eq!(asked(&source().await), 2.0);
    // A clock that is set back shows nothing for longer.
    place.clock.set(place.clock.now() - Duration::from_secs(3_600));
    assert_eq!(asked(&source().await), 3.0);
}

#[tokio::test]
async fn without_its_storage_it_tells_what_it_has_counted() {
    let place = Place::new().await;
    let metrics = place.metrics().backend(&place.observed).build();
    Fare::new("well").enqueue(&place.client).await.unwrap();
    let mut query = JobQuery::default();
    query.after = Some(Cursor("nowhere".to_owned()));
    place.observed.list(&query).await.unwrap_err();
    place.observed.close().await;
    let text = Text::parse(&metrics.render().await);
    assert_eq!((text.value("queue_backend_up"), text.of("queue_jobs").count()), (0.0, 0));
    assert_eq!(text.value(r#"queue_jobs_enqueued_total{queue="default",task="fare"}"#), 1.0);
    assert_eq!(text.value(r#"queue_backend_errors_total{op="list",kind="invalid"}"#), 1.0);
    assert_eq!(text.value(r#"queue_backend_errors_total{op="shards",kind="unavailable"}"#), 1.0);
}

#[tokio::test]
async fn one_of_many_tells_what_is_stored() {
    let place = Place::new().await;
    let metrics = place.metrics().backend(&place.observed).stored(false).build();
    Fare::new("well").enqueue(&place.client).await.unwrap();
    let text = Text::parse(&metrics.render().await);
    assert_eq!(text.value(r#"queue_jobs_enqueued_total{queue="default",task="fare"}"#), 1.0);
    assert_eq!((text.of("queue_jobs").count(), text.of("queue_backend_up").count()), (0, 0));
    for op in ["shards", "counts", "controls", "workers"] {
        assert_eq!(text.histogram("queue_backend_operation_seconds", &format!(r#"op="{op}""#)), (0.0, 0.0));
    }
}

/// The recorder of the process: there is one, so there is one test of it.
#[tokio::test]
async fn the_programs_own_metrics_stand_beside() {
    let (place, other) = (Place::new().await, Place::new().await);
    let metrics = place.metrics().install_global().unwrap();
    let refused = other.metrics().install_global().unwrap_err();
    assert!(refused.to_string().contains("through_global"), "{refused}");
    metrics::counter!("orders_total", "shop" => "here").increment(2);
    let through = other.metrics().through_global();
    Fare::new("well").queue("there").enqueue(&other.client).await.unwrap();
    let text = Text::parse(&metrics.render().await);
    assert_eq!(text.value(r#"orders_total{shop="here"}"#), 2.0);
    assert_eq!(text.value(r#"queue_jobs_enqueued_total{queue="there",task="fare"}"#), 1.0);
    assert_eq!(text.of("queue_jobs").count(), 0, "that is another storage");
    let stored = Text::parse(&through.render().await);
    assert_eq!(stored.value(r#"queue_jobs{queue="there",state="ready"}"#), 1.0);
    assert_eq!(stored.of("queue_jobs_enqueued_total").count(), 0);
}

/// Samples are put into their buckets now and then, while nobody reads them.
#[tokio::test]
async fn no_sample_is_lost_on_its_way_into_the_buckets() {
    let place = Place::new().await;
    let metrics = place.metrics().backend(&place.observed).build();
    for _ in 0..5_000 {
        place.observed.ping().await.unwrap();
    }
    let text = Text::parse(&metrics.render().await);
    assert_eq!(text.histogram("queue_backend_operation_seconds", r#"op="ping""#), (5_000.0, 0.0));
}
