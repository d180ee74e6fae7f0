//! Notices workers that have not been heard of, while anyone wants to know.

use std::collections::BTreeSet;
use std::sync::Arc;

use queue_storage::model::{Shard, WorkerId};

use crate::engine::Engine;
use crate::events::EventKind;

/// Looks now and then, for ever.
pub(crate) async fn watch_for_ever(engine: Arc<Engine>, shards: Arc<[Shard]>) {
    // Those that were lost before anyone wanted to know are no news.
    let mut known: Option<BTreeSet<WorkerId>> = None;
    // After an outage the first that is back would take all others for lost: whoever is, is so for two looks.
    let mut before = BTreeSet::new();
    loop {
        engine.sleep(engine.config.look_for_lost_every).await;
        if !shards.iter().any(|shard| engine.client.teller().has_ears(shard)) {
            known = None;
            continue;
        }
        if let Some((lost, is_first)) = lost(&engine).await {
            let sure: BTreeSet<_> = lost.intersection(&before).copied().collect();
            let new = known.as_ref().filter(|_| is_first).map(|known| sure.difference(known).copied());
            new.into_iter().flatten().for_each(|worker| engine.tell_worker(EventKind::WorkerLost, Some(worker)));
            known = Some(if known.is_some() { sure } else { lost.clone() });
            before = lost;
        }
    }
}

/// The workers that are lost, and whether it is for this one to tell: of those that live the one with the least id does.
async fn lost(engine: &Engine) -> Option<(BTreeSet<WorkerId>, bool)> {
    let workers = engine.storage().workers().await.ok()?;
    let now = workers.iter().find(|worker| worker.id == engine.id)?.seen_at;
    let (live, lost): (Vec<_>, Vec<_>) = workers.iter().partition(|worker| worker.is_live(now));
    let first = live.iter().map(|worker| worker.id).min()?;
    Some((lost.iter().map(|worker| worker.id).collect(), first == engine.id))
}
