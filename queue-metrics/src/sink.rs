//! Where what is recorded goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use metrics::{Counter, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit, with_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::names::{ATTEMPTS, CALL_SECONDS, DURATION, Metric, OPERATION, SECONDS, TRIES, WAIT, describe};
use crate::text::in_order;

/// After so many samples those of histograms are put into their buckets: until then they are kept one by one.
const UPKEEP_EVERY: u32 = 4_096;

const METADATA: Metadata<'static> = Metadata::new("queue", Level::INFO, Some("queue"));

/// A recorder, and the text of what it holds if that is ours to tell.
pub(crate) struct Sink {
    recorder: Arc<dyn Recorder + Send + Sync>,
    text: Option<PrometheusHandle>,
    samples: AtomicU32,
}

impl Sink {
    pub(crate) fn new(recorder: Arc<dyn Recorder + Send + Sync>, text: Option<PrometheusHandle>) -> Self {
        describe(&recorder);
        Self { recorder, text, samples: AtomicU32::new(0) }
    }

    pub(crate) fn counter(&self, metric: &Metric, labels: Vec<Label>) -> Counter {
        self.recorder.register_counter(&Key::from_parts(metric.name, labels), &METADATA)
    }

    pub(crate) fn histogram(&self, metric: &Metric, labels: Vec<Label>) -> Histogram {
        self.recorder.register_histogram(&Key::from_parts(metric.name, labels), &METADATA)
    }

    /// One sample of a histogram.
    pub(crate) fn sample(&self, histogram: &Histogram, value: f64) {
        histogram.record(value);
        if self.samples.fetch_add(1, Ordering::Relaxed) % UPKEEP_EVERY == UPKEEP_EVERY - 1
            && let Some(text) = &self.text
        {
            text.run_upkeep();
        }
    }

    pub(crate) fn text(&self) -> String {
        self.text.as_ref().map(|text| in_order(&text.render())).unwrap_or_default()
    }
}

/// A recorder of Prometheus' with our buckets.
pub(crate) fn prometheus() -> PrometheusRecorder {
    let buckets = [(DURATION, SECONDS), (WAIT, SECONDS), (ATTEMPTS, TRIES), (OPERATION, CALL_SECONDS)];
    let builder = buckets.into_iter().fold(PrometheusBuilder::new(), |builder, (metric, buckets)| {
        let only = Matcher::Full(metric.name.to_owned());
        builder.set_buckets_for_metric(only, buckets).expect("there are buckets")
    });
    builder.build_recorder()
}

/// Whatever recorder the process has installed.
pub(crate) struct Global;

impl Recorder for Global {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        with_recorder(|recorder| recorder.describe_counter(key, unit, description));
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        with_recorder(|recorder| recorder.describe_gauge(key, unit, description));
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        with_recorder(|recorder| recorder.describe_histogram(key, unit, description));
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        with_recorder(|recorder| recorder.register_counter(key, metadata))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> metrics::Gauge {
        with_recorder(|recorder| recorder.register_gauge(key, metadata))
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        with_recorder(|recorder| recorder.register_histogram(key, metadata))
    }
}
