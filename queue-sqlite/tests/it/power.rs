//! A power cut, at any write and any sync, leaves a file that opens; with `FULL` it loses nothing that was answered.

use bytes::Bytes;
use queue_sqlite::{SqliteOptions, SqliteStorage, Synchronous};
use queue_storage::model::{JobId, State, Timestamp, WorkerId};
use queue_storage::storage::{
    Changed, Claim, Enqueue, Maintain, Operate, ScheduleChange, ScheduleQuery, ScheduleRecord, Storage,
};
use tempfile::TempDir;

use crate::disk::{Disk, VFS};
use crate::kit::{Caller, completed, integrity, jobs, mail, record};

const FILE: &str = "jobs.db";

/// What was answered before the power went, in order.
#[derive(Default)]
struct Answered {
    enqueued: Vec<Vec<JobId>>,
    completed: Vec<JobId>,
    ticked: Vec<JobId>,
    /// A tick that may have gone without an answer.
    ticking: Option<JobId>,
}

async fn open(synchronous: Synchronous) -> Option<SqliteStorage> {
    SqliteOptions::new(FILE).vfs(VFS).checkpoint_pages(40).synchronous(synchronous).open().await.ok()
}

/// Takes in, claims and settles, over three openings and several checkpoints, until it is done or the power goes.
async fn work(synchronous: Synchronous, answered: &mut Answered) -> Option<()> {
    for _ in 0..3 {
        let storage = open(synchronous).await?;
        let done = use_once(&storage, answered).await;
        // Without power too: its threads are to be off the disk before the next one is set up.
        storage.close().await;
        done?;
    }
    Some(())
}

async fn use_once(storage: &SqliteStorage, answered: &mut Answered) -> Option<()> {
    let mut caller = Caller::new();
    let worker = WorkerId::generate();
    storage.register(record(worker)).await.ok()?;
    let mut settlements = Vec::new();
    for number in 1..=6 {
        let mut new = jobs(fastrand::usize(1..=12));
        // Some large ones, that fill the log beyond its checkpoint.
        new.iter_mut().take(4).for_each(|job| job.envelope = Bytes::from(vec![7; 9_000]));
        let ids = new.iter().map(|job| job.id).collect();
        storage.enqueue(caller.call(new)).await.ok()?;
        answered.enqueued.push(ids);
        let settling: Vec<_> = std::mem::take(&mut settlements);
        let ended: Vec<_> = settling.iter().map(|settled: &queue_storage::model::Settled| settled.job).collect();
        let call = queue_storage::storage::Exchange {
            worker,
            shard: mail(),
            number,
            settlements: settling,
            want: 5,
            suspects: 1,
        };
        let answer = storage.exchange(call).await.ok()?;
        answered.completed.extend(ended);
        settlements = answer.claimed.iter().map(completed).collect();
        tick(storage, answered).await?;
    }
    Some(())
}

async fn schedule(storage: &SqliteStorage) -> Option<Option<ScheduleRecord>> {
    let query = ScheduleQuery::Named(vec!["s".parse().unwrap()]);
    Some(storage.schedules(&mail(), &query).await.ok()?.schedules.pop())
}

/// Ticks a schedule that writes down the jobs of its ticks.
async fn tick(storage: &SqliteStorage, answered: &mut Answered) -> Option<()> {
    let before = schedule(storage).await?;
    let (version, mut data) = before.map_or((None, Vec::new()), |one| (Some(one.version), one.data.to_vec()));
    let jobs = jobs(1);
    let id = jobs[0].id;
    data.extend(id.as_u128().to_be_bytes());
    let to = Some((Some(Timestamp::EPOCH), Bytes::from(data)));
    let mut change = ScheduleChange::new("s".parse().unwrap(), version, to);
    change.jobs = jobs;
    answered.ticking = Some(id);
    let ticked = storage.tick(&mail(), &[change]).await.ok()?;
    assert!(matches!(ticked.changed[..], [Changed::Applied(_)]), "{ticked:?}");
    answered.ticked.push(id);
    Some(())
}

/// Each tick is kept with its job, or neither is; whether an answered one is lost.
async fn check_ticks(storage: &SqliteStorage, answered: &Answered) -> bool {
    let written = schedule(storage).await.unwrap().map(|one| one.data).unwrap_or_default();
    let written: Vec<&[u8]> = written.chunks(16).collect();
    for id in answered.ticked.iter().chain(&answered.ticking) {
        let stored = storage.get(*id).await.unwrap().found().is_some();
        assert_eq!(written.contains(&&id.as_u128().to_be_bytes()[..]), stored, "half a tick was kept");
    }
    written.len() < answered.ticked.len()
}

/// Opens what the crash left, and looks whether it makes sense; whether answered calls are lost.
async fn check(synchronous: Synchronous, answered: &Answered, seed: u64) -> bool {
    let folder = TempDir::new().unwrap();
    Disk::crash_into(folder.path(), seed);
    let path = folder.path().join(FILE);
    let storage = SqliteStorage::open(&path).await.expect("the file does not open");
    queue_storage::conformance::invariants(&storage).await;
    let mut lost = false;
    for call in &answered.enqueued {
        let mut found = 0;
        for id in call {
            found += usize::from(storage.get(*id).await.unwrap().found().is_some());
        }
        assert!(found == 0 || found == call.len(), "half a call was kept");
        assert!(found == 0 || !lost, "a later call was kept and an earlier one lost");
        lost |= found == 0;
    }
    lost |= check_ticks(&storage, answered).await;
    if synchronous == Synchronous::Full {
        assert!(!lost, "an answered call is lost");
        for id in &answered.completed {
            let job = storage.get(*id).await.unwrap().found().unwrap();
            assert_eq!(job.state, State::Completed, "an answered end is lost");
        }
    }
    storage.close().await;
    assert_eq!(integrity(&path), "ok");
    crate::books::check(&path);
    lost
}

/// One test for both, as there is one disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_is_survived() {
    for synchronous in [Synchronous::Normal, Synchronous::Full] {
        Disk::start(None);
        let mut answered = Answered::default();
        work(synchronous, &mut answered).await.expect("the work fails even with power");
        let all = Disk::done();
        assert!(!check(synchronous, &answered, 0).await, "a closed file is whole");
        let mut losses = 0;
        let points = (1..=12).chain((0..36).map(|_| fastrand::u64(12..all)));
        for point in points {
            let seed = fastrand::u64(..);
            println!("{synchronous:?}: power for {point} of {all} steps, seed {seed}");
            Disk::start(Some(point));
            let mut answered = Answered::default();
            work(synchronous, &mut answered).await;
            for again in 0..3 {
                losses += u32::from(check(synchronous, &answered, seed.wrapping_add(again)).await);
            }
        }
        println!("{synchronous:?}: {losses} crashes lost something that was answered");
        assert_eq!(losses == 0, synchronous == Synchronous::Full, "a disk that takes nothing proves nothing");
    }
}
