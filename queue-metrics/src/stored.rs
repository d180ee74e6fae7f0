//! What the storage tells when it is asked: how it stands with queues, workers and schedules.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use queue_core::{Client, Controls, Counts, QueueName, ScheduleFacts, State, StorageError, Timestamp, WorkerId};
use queue_storage::storage::WorkerRecord;

use crate::labels::Names;
use crate::names::{BUSY, DUE, JOBS, LAST_TICK, LATENCY, MISSED, NEXT_TICK, PARKED, PAUSED, SKIPPED, SLOTS, WORKER_UP};
use crate::text::{Page, Sample};

/// How many queues are asked about at once: of thousands one by one there would be no answer in time.
const AT_ONCE: usize = 16;

/// Everything that is shown, of about one moment.
#[derive(Debug)]
pub(crate) struct Stored {
    queues: BTreeMap<QueueName, Standing>,
    workers: Vec<WorkerRecord>,
    schedules: Vec<ScheduleFacts>,
}

/// How it stands with a queue, or with several as if they were one.
#[derive(Clone, Debug, Default)]
struct Standing {
    counts: Counts,
    paused: bool,
}

impl Standing {
    /// Another queue, told of under the same name.
    fn join(&mut self, other: &Self) {
        // Jobs that stand in a paused queue are not late.
        let oldest = match (self.paused, other.paused) {
            (true, false) => other.counts.oldest,
            (false, true) => self.counts.oldest,
            _ => self.counts.oldest.max(other.counts.oldest),
        };
        self.counts.add(&other.counts);
        self.counts.oldest = oldest;
        self.paused &= other.paused;
    }
}

/// What came of the ticks of a schedule, or of several as if they were one.
#[derive(Debug, Default)]
struct Ticks {
    last: Option<SystemTime>,
    next: Option<SystemTime>,
    missed: u64,
    skipped: u64,
}

impl Ticks {
    /// Of several moments the first is told, which is that of the one that is furthest behind.
    fn join(&mut self, other: &ScheduleFacts) {
        let first = |one: Option<SystemTime>, other: Option<SystemTime>| one.into_iter().chain(other).min();
        self.last = first(self.last, other.last);
        self.next = first(self.next, other.next);
        self.missed += other.missed;
        self.skipped += other.skipped;
    }
}

impl Stored {
    pub(crate) async fn read(client: &Client) -> Result<Self, StorageError> {
        let storage = client.storage();
        let mut queues = BTreeMap::<QueueName, Standing>::new();
        let asked = storage.shards().await?.into_iter().map(|shard| async move {
            let counts = storage.counts(&shard).await?;
            let Controls { queue, .. } = storage.controls(&shard).await?;
            Ok::<_, StorageError>((shard.queue, counts, queue.is_some()))
        });
        let mut told = stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Some((queue, counts, paused)) = told.try_next().await? {
            let all = queues.entry(queue).or_default();
            all.counts.add(&counts);
            all.paused |= paused;
        }
        let workers = storage.workers().await?;
        let mut schedules = Vec::new();
        let mut listing = client.schedules();
        while let Some(schedule) = listing.next().await {
            schedules.push(schedule?);
        }
        Ok(Self { queues, workers, schedules })
    }

    /// Admits the queues that are stored as far as there is room, those that are `ours` first.
    pub(crate) fn admit(&self, names: &mut Names, ours: impl Fn(&str) -> bool) {
        let (ours, others): (Vec<_>, Vec<_>) = self.queues.keys().map(QueueName::as_str).partition(|queue| ours(queue));
        for queue in ours.into_iter().chain(others) {
            names.admit(queue);
        }
    }

    pub(crate) fn show(&self, page: &mut Page, now: Timestamp, names: &Names, busy: &BTreeMap<WorkerId, usize>) {
        self.show_queues(page, names);
        self.show_workers(page, now, busy);
        self.show_schedules(page, names);
    }

    fn show_queues(&self, page: &mut Page, names: &Names) {
        let mut queues = BTreeMap::<&str, Standing>::new();
        for (queue, standing) in &self.queues {
            let label = names.label(queue.as_str());
            queues.entry(label).and_modify(|all| all.join(standing)).or_insert_with(|| standing.clone());
        }
        let label = |queue: &str| ("queue", queue.to_owned());
        let by_state = queues.iter().flat_map(|(queue, Standing { counts, .. })| {
            let sample = move |state: State| {
                (vec![label(queue), ("state", state.as_str().to_owned())], number(counts.of(state)))
            };
            State::ALL.into_iter().map(sample)
        });
        page.put(&JOBS, by_state.collect());
        let each = |value: &dyn Fn(&Counts, bool) -> f64| {
            let sample =
                |(queue, Standing { counts, paused }): (&&str, &Standing)| (vec![label(queue)], value(counts, *paused));
            queues.iter().map(sample).collect::<Vec<Sample>>()
        };
        page.put(&PARKED, each(&|counts, _| number(counts.parked)));
        page.put(&DUE, each(&|counts, _| number(counts.due)));
        page.put(&LATENCY, each(&|counts, _| counts.oldest.as_ref().map_or(0.0, Duration::as_secs_f64)));
        page.put(&PAUSED, each(&|_, paused| f64::from(u8::from(paused))));
    }

    fn show_workers(&self, page: &mut Page, now: Timestamp, busy: &BTreeMap<WorkerId, usize>) {
        let labels = |worker: &WorkerRecord| vec![("worker", worker.id.to_string()), ("host", worker.host.clone())];
        let workers = || self.workers.iter();
        page.put(&WORKER_UP, workers().map(|one| (labels(one), f64::from(u8::from(one.is_live(now))))).collect());
        page.put(&SLOTS, workers().map(|one| (labels(one), f64::from(one.concurrency))).collect());
        let ours = workers().filter_map(|one| Some((labels(one), number(*busy.get(&one.id)? as u64))));
        page.put(&BUSY, ours.collect());
    }

    fn show_schedules(&self, page: &mut Page, names: &Names) {
        let mut schedules = BTreeMap::<(&str, &str), Ticks>::new();
        for one in &self.schedules {
            schedules.entry((names.label(&one.queue), &one.name)).or_default().join(one);
        }
        let each = |value: &dyn Fn(&Ticks) -> Option<f64>| {
            let labels = |queue: &str, name: &str| vec![("queue", queue.to_owned()), ("schedule", name.to_owned())];
            let sample = |(&(queue, name), ticks): (&(&str, &str), &Ticks)| Some((labels(queue, name), value(ticks)?));
            schedules.iter().filter_map(sample).collect::<Vec<Sample>>()
        };
        page.put(&LAST_TICK, each(&|ticks| ticks.last.map(seconds)));
        page.put(&NEXT_TICK, each(&|ticks| ticks.next.map(seconds)));
        page.put(&MISSED, each(&|ticks| Some(number(ticks.missed))));
        page.put(&SKIPPED, each(&|ticks| Some(number(ticks.skipped))));
    }
}

#[expect(clippy::cast_precision_loss, reason = "every number in the text is a float")]
fn number(count: u64) -> f64 {
    count as f64
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
