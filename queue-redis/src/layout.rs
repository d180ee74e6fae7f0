//! The layout of the keys: written by the first, checked by all.

use bytes::Bytes;
use queue_storage::storage::StorageError;

use crate::driver::{Driver, Reply};
use crate::keys::Keys;
use crate::scripts::Step;

/// A layout, as `major.minor`. Programs of one major work side by side, whatever their minors; another major is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Layout {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// What this program writes.
pub(crate) const LAYOUT: Layout = Layout { major: 1, minor: 0 };

impl Layout {
    fn text(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    fn read(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// Checks the layout of a namespace, and writes it where there is none or an older minor.
pub(crate) async fn check(driver: &Driver, keys: &Keys, ours: Layout) -> Result<(), StorageError> {
    let Some(found) = set(driver, keys, ours, &["NX", "GET"]).await?.bytes() else { return Ok(()) };
    let text = String::from_utf8_lossy(&found);
    match Layout::read(&text) {
        Some(found) if found.major == ours.major => {
            if found < ours {
                set(driver, keys, ours, &[]).await?;
            }
            Ok(())
        }
        _ => Err(StorageError::incompatible(format!(
            "{} has layout {text}, and this program knows layouts {}.*: use the version of this library that \
             wrote it, or another namespace (nothing was changed)",
            driver.location(),
            ours.major
        ))),
    }
}

async fn set(driver: &Driver, keys: &Keys, ours: Layout, more: &[&'static str]) -> Result<Reply, StorageError> {
    let more = more.iter().map(|word| Bytes::from_static(word.as_bytes()));
    let args = [Bytes::from_static(b"SET"), ours.text().into()].into_iter().chain(more).collect();
    driver.call(Step::Write as usize, vec![keys.layout()], args).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use queue_servers::Redis;
    use queue_storage::model::{CallerId, JobId, LEVEL, NewJob, Settled, Settlement, Shard, Timestamp, WorkerId};
    use queue_storage::storage::{Claim, Enqueue, EnqueueCall, Exchange, LeaseTerms, Operate, WorkerRecord};

    use super::*;
    use crate::driver::Script;
    use crate::{RedisOptions, RedisStorage, scripts};

    /// A build of this layout, with scripts of its own.
    async fn build(redis: &Redis, major: u32, minor: u32) -> Result<RedisStorage, StorageError> {
        let mark = format!("-- build {major}.{minor}\n");
        let ours = scripts::set();
        let theirs: Arc<[Script]> =
            ours.iter().map(|one| Script { name: one.name, source: format!("{}{mark}", one.source) }).collect();
        let options = RedisOptions::from_url(&redis.url())?;
        RedisStorage::open_as(options, Layout { major, minor }, theirs).await
    }

    fn mail() -> Shard {
        Shard::of("mail".parse().unwrap())
    }

    async fn enqueue(storage: &RedisStorage) -> JobId {
        let job = NewJob::new(JobId::new(&mail()), "t".parse().unwrap(), Bytes::new());
        let id = job.id;
        let call = EnqueueCall { caller: CallerId::generate(), shard: mail(), number: 1, jobs: vec![job] };
        storage.enqueue(call).await.unwrap();
        id
    }

    async fn register(storage: &RedisStorage) -> WorkerId {
        let id = WorkerId::generate();
        let record = WorkerRecord {
            id,
            host: "build:1".into(),
            version: None,
            shards: vec![mail()],
            tasks: ["t".parse().unwrap()].into(),
            understands: LEVEL,
            lease: LeaseTerms::default(),
            concurrency: 1,
            started_at: Timestamp::EPOCH,
            seen_at: Timestamp::EPOCH,
        };
        storage.register(record).await.unwrap();
        id
    }

    /// A worker claims through one build and settles through the other.
    async fn run(worker: WorkerId, claims: &RedisStorage, settles: &RedisStorage) -> JobId {
        let claim = Exchange { worker, shard: mail(), number: 1, settlements: Vec::new(), want: 1, suspects: 1 };
        let run = claims.exchange(claim.clone()).await.unwrap().claimed.remove(0);
        let done = Settlement::Complete { result: None, keep: std::time::Duration::from_secs(60) };
        let settlements = vec![Settled { job: run.job.id, fence: run.fence, attempts: 1, settlement: done }];
        settles.exchange(Exchange { number: 2, settlements, want: 0, ..claim }).await.unwrap();
        run.job.id
    }

    #[tokio::test]
    async fn two_builds_of_one_major_share_a_queue() {
        let redis = Redis::start();
        let (old, new) = (build(&redis, 1, 0).await.unwrap(), build(&redis, 1, 7).await.unwrap());
        let jobs = [enqueue(&old).await, enqueue(&new).await];
        let runs = [run(register(&new).await, &new, &old).await, run(register(&old).await, &old, &new).await];
        assert_eq!(runs, jobs);
        for storage in [&old, &new] {
            assert_eq!(storage.counts(&mail()).await.unwrap().ended.completed, 2);
        }
        assert_eq!(redis.cli(&["GET", "queue:layout"]), "1.7");
        build(&redis, 1, 0).await.unwrap();
        assert_eq!(redis.cli(&["GET", "queue:layout"]), "1.7", "an older build leaves it");
    }

    #[tokio::test]
    async fn another_major_is_refused_and_changes_nothing() {
        let redis = Redis::start();
        enqueue(&build(&redis, 1, 0).await.unwrap()).await;
        let before = redis.cli(&["DEBUG", "DIGEST"]);
        let error = build(&redis, 2, 0).await.unwrap_err();
        assert!(error.is_incompatible() && error.to_string().contains("layout 1.0"), "{error}");
        assert_eq!(redis.cli(&["DEBUG", "DIGEST"]), before);
    }
}
