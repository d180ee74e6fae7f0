//! What the storage tells when it is asked: how it stands with queues, workers and schedules.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use queue_core::{Client, Controls, Counts, QueueName, ScheduleFacts, State, StorageError, Timestamp, WorkerId};
use queue_storage::storage::WorkerRecord;

use crate::names::{BUSY, DUE, JOBS, LAST_TICK, LATENCY, MISSED, NEXT_TICK, PARKED, PAUSED, SKIPPED, SLOTS, WORKER_UP};
use crate::text::{Page, Sample};

/// Everything that is shown, of about one moment.
#[derive(Debug)]
pub(crate) struct Stored {
    queues: BTreeMap<QueueName, (Counts, bool)>,
    workers: Vec<WorkerRecord>,
    schedules: Vec<ScheduleFacts>,
}

impl Stored {
    pub(crate) async fn read(client: &Client) -> Result<Self, StorageError> {
        let storage = client.storage();
        let mut queues = BTreeMap::<QueueName, (Counts, bool)>::new();
        for shard in storage.shards().await? {
            let counts = storage.counts(&shard).await?;
            let Controls { queue, .. } = storage.controls(&shard).await?;
            let all = queues.entry(shard.queue).or_default();
            all.0.add(&counts);
            all.1 |= queue.is_some();
        }
        let workers = storage.workers().await?;
        let mut schedules = Vec::new();
        let mut listing = client.schedules();
        while let Some(schedule) = listing.next().await {
            schedules.push(schedule?);
        }
        Ok(Self { queues, workers, schedules })
    }

    pub(crate) fn show(&self, page: &mut Page, now: Timestamp, busy: &BTreeMap<WorkerId, usize>) {
        self.show_queues(page);
        self.show_workers(page, now, busy);
        self.show_schedules(page);
    }

    fn show_queues(&self, page: &mut Page) {
        let label = |queue: &QueueName| ("queue", queue.to_string());
        let by_state = self.queues.iter().flat_map(|(queue, (counts, _))| {
            let sample = move |state: State| {
                (vec![label(queue), ("state", state.as_str().to_owned())], number(counts.of(state)))
            };
            State::ALL.into_iter().map(sample)
        });
        page.put(&JOBS, by_state.collect());
        let each = |value: &dyn Fn(&Counts, bool) -> f64| {
            let sample =
                |(queue, (counts, paused)): (&QueueName, &(Counts, bool))| (vec![label(queue)], value(counts, *paused));
            self.queues.iter().map(sample).collect::<Vec<Sample>>()
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

    fn show_schedules(&self, page: &mut Page) {
        let each = |value: &dyn Fn(&ScheduleFacts) -> Option<f64>| {
            let sample = |one: &ScheduleFacts| {
                Some((vec![("queue", one.queue.clone()), ("schedule", one.name.clone())], value(one)?))
            };
            self.schedules.iter().filter_map(sample).collect::<Vec<Sample>>()
        };
        page.put(&LAST_TICK, each(&|one| one.last.map(seconds)));
        page.put(&NEXT_TICK, each(&|one| one.next.map(seconds)));
        page.put(&MISSED, each(&|one| Some(number(one.missed))));
        page.put(&SKIPPED, each(&|one| Some(number(one.skipped))));
    }
}

#[expect(clippy::cast_precision_loss, reason = "every number in the text is a float")]
fn number(count: u64) -> f64 {
    count as f64
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
