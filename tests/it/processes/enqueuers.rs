//! `kill -9` of enqueuers.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use queue::{JobId, State};

use super::stage::{Process, Stage, all, on_every_shared_storage, seeded, whole};
use super::tasks::work;
use crate::support::eventually;

on_every_shared_storage!(what_was_acknowledged_is_stored);

const ROUNDS: u64 = 4;
/// How many jobs each of the enqueuers that run together stores at a time.
const BATCHES: [u64; 4] = [1, 1, 7, 50];
/// More than an enqueuer lives to store.
const RANGE: u64 = 1_000_000;

/// What a killed enqueuer printed: the jobs that were acknowledged to it.
struct Killed {
    from: u64,
    batch: u64,
    acknowledged: Vec<(u64, JobId)>,
}

/// Sixteen enqueuers killed at random: every job acknowledged to one is stored, and each of its calls is whole.
async fn what_was_acknowledged_is_stored(stage: Stage) {
    let mut rng = seeded("enqueuers");
    let mut killed = Vec::new();
    for round in 0..ROUNDS {
        let start = |(n, batch)| (n, batch, start(&stage, round * 4 + n, batch));
        let enqueuers: Vec<_> = (0..).zip(BATCHES).map(start).collect();
        for (n, batch, enqueuer) in enqueuers {
            let acknowledged = kill(enqueuer, &mut rng).await;
            killed.push(Killed { from: (round * 4 + n) * RANGE, batch, acknowledged });
        }
    }
    let client = stage.client().await;
    let jobs = all(&client, None).await;
    let number = |id| client.args_of::<work>(&jobs[&id]).unwrap().job;
    let stored: BTreeMap<u64, JobId> = jobs.keys().map(|id| (number(*id), *id)).collect();
    assert_eq!(stored.len(), jobs.len(), "a job is stored twice");
    assert!(jobs.values().all(|job| job.state == State::Ready));
    for enqueuer in &killed {
        enqueuer.is_kept(&stored);
    }
    whole(&client).await;
    let acknowledged: usize = killed.iter().map(|killed| killed.acknowledged.len()).sum();
    println!(
        "enqueuers on {}: {} killed, {acknowledged} jobs acknowledged, {} stored, none missing",
        stage.kind(),
        killed.len(),
        stored.len()
    );
}

fn start(stage: &Stage, n: u64, batch: u64) -> Process {
    let flags = format!("--from {} --to {} --batch {batch}", n * RANGE, (n + 1) * RANGE);
    stage.enqueuer(&format!("enqueuer-{n}"), &flags)
}

/// Kills it after some acknowledgements and microseconds; what it had printed by then.
async fn kill(mut enqueuer: Process, rng: &mut Rng) -> Vec<(u64, JobId)> {
    let enough = rng.usize(1..200);
    eventually("acknowledgements", async || {
        assert!(enqueuer.ended().is_none(), "{}: {}", enqueuer.name, enqueuer.stderr());
        (enqueuer.stdout().lines().count() >= enough).then_some(())
    })
    .await;
    std::thread::sleep(Duration::from_micros(rng.u64(0..3_000)));
    // A line that was not written to its end tells nobody anything.
    let said = enqueuer.kill();
    let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(acknowledged).collect()
}

fn acknowledged(line: &str) -> (u64, JobId) {
    let (job, id) = line.split_once(' ').unwrap_or_else(|| panic!("torn line: {line:?}"));
    (job.parse().unwrap(), id.parse().unwrap())
}

impl Killed {
    fn is_kept(&self, stored: &BTreeMap<u64, JobId>) {
        for (job, id) in &self.acknowledged {
            assert_eq!(stored.get(job), Some(id), "job {job} was acknowledged");
        }
        let own: Vec<u64> = stored.range(self.from..self.from + RANGE).map(|(job, _)| *job).collect();
        let count = own.len() as u64;
        assert!(own.iter().copied().eq(self.from..self.from + count), "its calls are stored in order");
        assert_eq!(count % self.batch, 0, "a call of {} jobs is stored in part", self.batch);
        let answered = (self.acknowledged.len() as u64).div_ceil(self.batch);
        assert!(count <= (answered + 1) * self.batch, "at most one call was not answered yet");
    }
}
