//! A client on a clock that is moved by hand, and a reader of Prometheus' text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use queue_core::clock::ManualClock;
use queue_core::{Client, Context, EventKind, EventStream, Task, TaskError};
use queue_metrics::{Metrics, MetricsBuilder, Observed};
use queue_storage::memory::MemoryStorage;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client with metrics.
pub(crate) struct Place {
    pub(crate) clock: ManualClock,
    pub(crate) client: Client,
    pub(crate) observed: Arc<Observed>,
    events: EventStream,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let clock = ManualClock::new();
        let storage = Arc::new(MemoryStorage::with_clock(Arc::new(clock.clone())));
        let observed = Observed::with_clock(storage, Arc::new(clock.clone()));
        let client = Client::builder(observed.clone()).clock(Arc::new(clock.clone())).build();
        let events = client.events().await.unwrap();
        Self { clock, client, observed, events }
    }

    /// Metrics by the same clock.
    pub(crate) fn metrics(&self) -> MetricsBuilder {
        Metrics::builder(&self.client).clock(Arc::new(self.clock.clone()))
    }

    /// Waits until each of these has happened, a kind as often as it stands here, in any order.
    pub(crate) async fn sees(&mut self, kinds: impl IntoIterator<Item = EventKind>) {
        let mut missing: Vec<_> = kinds.into_iter().collect();
        while !missing.is_empty() {
            let event = tokio::time::timeout(PATIENCE, self.events.next()).await;
            let event = event.unwrap_or_else(|_| panic!("{missing:?} do not come")).unwrap();
            assert_ne!(event.kind, EventKind::Missed);
            if let Some(at) = missing.iter().position(|kind| *kind == event.kind) {
                missing.swap_remove(at);
            }
        }
    }
}

/// A moment as metrics tell it.
pub(crate) fn seconds(at: Option<SystemTime>) -> f64 {
    at.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Fares as its argument says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Fare {
    pub(crate) how: String,
}

impl Fare {
    pub(crate) fn new(how: &str) -> queue_core::Call<Self> {
        queue_core::Call::new(Self { how: how.to_owned() })
    }
}

impl Task for Fare {
    type Output = ();
    const NAME: &'static str = "fare";

    async fn run(self, ctx: Context) -> Result<(), TaskError> {
        match self.how.as_str() {
            "badly" => Err(TaskError::fatal("so it was meant")),
            "better" if ctx.attempt() == 1 => Err(TaskError::retry_in("not yet", Duration::from_secs(10))),
            "on" => {
                ctx.data::<Semaphore>().ok_or("nothing holds it")?.acquire().await?.forget();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A text, parsed: what each series is worth, by its name and labels as they are written.
#[derive(Debug)]
pub(crate) struct Text(BTreeMap<String, f64>);

impl Text {
    /// Parses all of it; panics at what is not Prometheus' text format.
    pub(crate) fn parse(text: &str) -> Self {
        let mut types = BTreeMap::new();
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                match what {
                    "TYPE" => assert!(types.insert(name, rest).is_none(), "two types of {name}"),
                    "HELP" => assert!(!rest.is_empty()),
                    _ => panic!("what is this: {line}"),
                }
                continue;
            }
            let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let name = key.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let is_typed =
                types.contains_key(name) || family.is_some_and(|family| types.get(family) == Some(&"histogram"));
            assert!(is_typed, "no type before: {line}");
            check_labels(key[name.len()..].trim_start_matches('{'), line);
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(series.insert(key.to_owned(), value).is_none(), "twice: {key}");
        }
        Self(series)
    }

    /// The value of a series; panics without one.
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0))
    }

    /// The count and the sum of a histogram.
    pub(crate) fn histogram(&self, name: &str, labels: &str) -> (f64, f64) {
        (self.value(&format!("{name}_count{{{labels}}}")), self.value(&format!("{name}_sum{{{labels}}}")))
    }

    /// The series of a metric.
    pub(crate) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let is = move |key: &str| key.split('{').next() == Some(name);
        self.0.iter().filter(move |(key, _)| is(key)).map(|(key, value)| (key.as_str(), *value))
    }
}

/// Labels up to the closing brace: `a="b",c="d"}`, or nothing.
fn check_labels(labels: &str, line: &str) {
    let mut rest = labels;
    while !rest.is_empty() && rest != "}" {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        assert!(name.trim_start_matches(',').chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        let end = value.find('"').unwrap_or_else(|| panic!("an open label: {line}"));
        rest = &value[end + 1..];
    }
}
