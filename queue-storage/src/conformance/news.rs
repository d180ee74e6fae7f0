//! News: what is announced reaches whoever watches, in whatever process; and what upkeep did is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::stage::{HALF, HOUR, LENGTH, MINUTE, Stage, completed, died, slots_now_or_never, task, terms};
use crate::model::{JobId, NewJob, State, When};
use crate::storage::{Control, Heard, LeaseTerms, MAX_NEWS_BYTES, Revocation, Storage, Watch};

/// Longer than anything may take that is not lost.
const PATIENCE: Duration = Duration::from_secs(120);

/// The next announcement.
pub(super) async fn next(watch: &mut Watch) -> Option<Bytes> {
    loop {
        match tokio::time::timeout(PATIENCE, watch.next()).await.expect("news within the time") {
            Some(Heard::News(news)) => return Some(news),
            // Whatever makes a storage doubt is allowed to.
            Some(_) => {}
            None => return None,
        }
    }
}

async fn announce(storage: &Arc<dyn Storage>, news: &'static str) {
    storage.announce(Bytes::from_static(news.as_bytes())).await.unwrap();
}

/// Everyone who watches hears everything, in its order, and nothing of before.
pub(super) async fn reach_everyone_who_watches(stage: &Stage) {
    let other = stage.world().second().await.unwrap_or_else(|| stage.storage().clone());
    announce(stage.storage(), "of before").await;
    let (mut here, mut there) = (stage.storage().watch().await.unwrap(), other.watch().await.unwrap());
    for (teller, news) in [(stage.storage(), ["one", "two"]), (&other, ["three", "four"])] {
        for one in news {
            announce(teller, one).await;
        }
        for watch in [&mut here, &mut there] {
            for one in news {
                assert_eq!(next(watch).await.unwrap(), one);
            }
        }
    }
}

/// Calls tell whether anyone watches, whoever it is.
pub(super) async fn calls_tell_that_someone_watches(stage: &Stage) {
    let other = stage.world().second().await.unwrap_or_else(|| stage.storage().clone());
    stage.enqueue_many(1).await;
    stage.worker().await.run_one(completed()).await;
    assert!(!stage.storage().is_watched(stage.shard()), "nobody watches");
    let watch = other.watch().await.unwrap();
    stage.enqueue_many(1).await;
    assert!(stage.storage().is_watched(stage.shard()), "the enqueue call told");
    stage.worker().await.run_one(completed()).await;
    assert!(stage.storage().is_watched(stage.shard()), "the exchange told");
    drop(watch);
    let gone = async {
        loop {
            stage.worker().await.upkeep().await;
            if !stage.storage().is_watched(stage.shard()) {
                return;
            }
            stage.advance(MINUTE).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("a watch that is dropped ends");
}

/// A shard that comes to be while someone watches is watched from its first call on.
pub(super) async fn a_new_shard_is_watched(stage: &Stage) {
    let other = stage.world().second().await.unwrap_or_else(|| stage.storage().clone());
    let _watch = other.watch().await.unwrap();
    let young = stage.beside("young");
    young.enqueue_many(1).await;
    assert!(young.storage().is_watched(young.shard()));
}

/// A watch that was left alone is told that it missed something, and goes on.
pub(super) async fn who_does_not_listen_is_told_so(stage: &Stage) {
    let mut watch = stage.storage().watch().await.unwrap();
    for _ in 0..3_000 {
        announce(stage.storage(), "much").await;
    }
    announce(stage.storage(), "the last").await;
    let mut missed = false;
    let heard = async {
        loop {
            match watch.next().await {
                Some(Heard::Missed) => missed = true,
                Some(Heard::News(news)) if news == "the last" => return,
                Some(Heard::News(_)) => {}
                None => panic!("it ended"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the last comes");
    assert!(missed);
}

/// What is too large is refused; what just is not arrives as it was.
pub(super) async fn have_a_largest_size(stage: &Stage) {
    let mut watch = stage.storage().watch().await.unwrap();
    let large: Bytes = (0..MAX_NEWS_BYTES).map(|n| (n % 251) as u8).collect();
    let larger = [&large[..], &[0]].concat().into();
    assert!(stage.storage().announce(larger).await.unwrap_err().is_invalid());
    stage.storage().announce(large.clone()).await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap(), large);
}

/// Nobody hears what is announced in another namespace.
pub(super) async fn stay_in_their_namespace(stage: &Stage) {
    let Some(neighbour) = stage.world().neighbour().await else { return };
    let mut watch = stage.storage().watch().await.unwrap();
    announce(&neighbour, "next door").await;
    announce(stage.storage(), "here").await;
    assert_eq!(next(&mut watch).await.unwrap(), "here");
}

/// A closed storage ends its watches and takes no news.
pub(super) async fn end_with_the_storage(stage: &Stage) {
    let mut watch = stage.storage().watch().await.unwrap();
    stage.close().await;
    assert_eq!(next(&mut watch).await, None);
    assert!(stage.storage().announce(Bytes::from_static(b"late")).await.unwrap_err().is_unavailable());
    assert!(stage.storage().watch().await.is_err());
}

fn sorted<const N: usize>(mut all: [(JobId, State); N]) -> Vec<(JobId, State)> {
    all.sort();
    all.to_vec()
}

/// Whoever takes leases back is told what became of the jobs.
pub(super) async fn what_is_taken_back_is_told(stage: &Stage) {
    let [back, dead, called_off] = {
        let once = NewJob { at_most_once: true, ..stage.job() };
        stage.enqueue([stage.job(), once, stage.job()]).await
    };
    let mut lost = stage.worker().await;
    let runs = lost.claim(3).await;
    lost.renew(&runs.iter().collect::<Vec<_>>()).await;
    stage.cancel(called_off).await;
    let mut witness = stage.worker_on(LeaseTerms { crash_limit: Some(3), ..terms() }).await;
    stage.advance(HALF).await;
    assert_eq!(witness.upkeep().await.upkept, []);
    stage.advance(LENGTH - HALF).await;
    let mut upkept = witness.upkeep().await.upkept;
    upkept.sort();
    assert_eq!(upkept, sorted([(back, State::Ready), (dead, State::Dead), (called_off, State::Cancelled)]));
    assert_eq!(witness.upkeep().await.upkept, []);
}

/// Whoever expires jobs is told which; and at the claim which are turned away, by a revocation or a key without room.
pub(super) async fn what_ends_unrun_is_told(stage: &Stage) {
    let late = NewJob { expires: Some(When::In(MINUTE)), ..stage.job() };
    let [late] = stage.enqueue([late]).await;
    stage.advance(MINUTE).await;
    let mut worker = stage.worker_of(&["t", "gone"]).await;
    assert_eq!(worker.upkeep().await.upkept, [(late, State::Expired)]);
    let [revoked] = stage.enqueue([stage.job_of("gone")]).await;
    stage.control(Control::Revoke(Revocation { task: Some(task("gone")), ..Revocation::default() })).await;
    assert_eq!(worker.look(1).await.upkept, [(revoked, State::Cancelled)]);
    let one = [slots_now_or_never("door", 1)];
    let [first, second] = stage.enqueue([stage.job_under(one.clone()), stage.job_under(one)]).await;
    let answer = worker.look(2).await;
    assert_eq!((answer.claimed[0].job.id, answer.upkept), (first, vec![(second, State::Cancelled)]));
}

/// What is cancelled by an edge is told to whom the edge is followed for; what a settlement ends is its own affair.
pub(super) async fn what_an_edge_cancels_is_told(stage: &Stage) {
    let [parent] = stage.enqueue([stage.job()]).await;
    let [child] = stage.enqueue([stage.job_after([parent])]).await;
    let [grandchild] = stage.enqueue([stage.job_after([child])]).await;
    let mut worker = stage.worker().await;
    let run = worker.receive_one().await;
    let mut upkept = worker.exchange(vec![super::actors::settled(&run, died())], 0, 0).await.upkept;
    upkept.sort();
    assert_eq!(upkept, sorted([(child, State::Cancelled), (grandchild, State::Cancelled)]));
    let [id] = stage.enqueue([stage.job_at(When::In(HOUR))]).await;
    stage.cancel(id).await;
    assert_eq!(worker.upkeep().await.upkept, [], "what people do is told to them");
}
