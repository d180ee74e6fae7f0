//! Stores the schedules that a worker's code defines, as far as what is stored lets it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use queue_storage::model::{ScheduleName, Shard};

use crate::engine::{Backoff, Engine};
use crate::periodic::{Definition, Found, ScheduleError, Source, reconcile};
use crate::schedules::{Becomes, change, read_all};

/// A schedule that a worker's code defines.
#[derive(Clone, Debug)]
pub(crate) struct Defined {
    pub(crate) name: ScheduleName,
    pub(crate) shard: Shard,
    pub(crate) definition: Definition,
    pub(crate) revision: u32,
}

/// Stores the schedules when the worker starts, and whenever the storage has forgotten the worker, since it may have lost
/// them too.
pub(crate) async fn reconcile_for_ever(engine: Arc<Engine>, defined: Arc<[Defined]>) {
    loop {
        reconcile_all(&engine, &defined).await;
        engine.forgotten.notified().await;
    }
}

/// Stores the schedules, however long the storage takes; then tells of stored ones that the code knows no more.
async fn reconcile_all(engine: &Engine, defined: &[Defined]) {
    for one in defined {
        let mut backoff = Backoff::new();
        loop {
            match store(engine, one).await {
                Ok(found) => break say(one, &found),
                Err(error) if error.is_unavailable() => {
                    let pause = backoff.pause();
                    tracing::warn!(%error, ?pause, "can't store a schedule: trying again");
                    engine.sleep(pause).await;
                }
                Err(error) => break tracing::error!(%error, "this schedule of the worker's code is not stored"),
            }
        }
    }
    if let Err(error) = report_vanished(engine, defined).await {
        tracing::debug!(%error, "not looked for schedules that the code knows no more");
    }
}

async fn store(engine: &Engine, one: &Defined) -> Result<Found, ScheduleError> {
    let stored = change(&engine.client, &one.shard, &one.name, |stored, now| {
        let found = reconcile(stored, one.definition.clone(), one.revision, now);
        let becomes = found.entry().map_or(Becomes::Same, |entry| Becomes::Entry(Box::new(entry.clone()), Vec::new()));
        Ok((becomes, found))
    });
    Ok(stored.await?.0)
}

fn say(one: &Defined, found: &Found) {
    let (schedule, queue, revision) = (&one.name, &one.shard, one.revision);
    match found {
        Found::New(_) | Found::Raised(_) => tracing::info!(%schedule, %queue, revision, "schedule stored"),
        Found::Changed(_) => tracing::warn!(
            %schedule, %queue, revision,
            "schedule changed: a program with another definition of the same revision stored it before, and would change it \
             back when started; raise the revision with each change"
        ),
        Found::SetBack(_) => tracing::warn!(
            %schedule, %queue,
            "the last tick of this schedule is to come only in hours: the clock was set back, and it is due anew"
        ),
        Found::Newer(stored) => {
            tracing::info!(%schedule, %queue, revision, stored, "a newer definition of this schedule is stored and stands");
        }
        Found::Edited(_) => tracing::info!(
            %schedule, %queue, revision, "this schedule was changed at run time, which stands until the revision is raised"
        ),
        Found::Removed => tracing::info!(
            %schedule, %queue, revision, "this schedule was removed at run time, and stays so until the revision is raised"
        ),
        Found::Same => {}
    }
}

/// Tells of stored schedules that came from code, whose tasks this worker knows, and that its code does not define.
async fn report_vanished(engine: &Engine, defined: &[Defined]) -> Result<(), queue_storage::storage::StorageError> {
    let mut known: BTreeMap<&Shard, BTreeSet<&ScheduleName>> = BTreeMap::new();
    for one in defined {
        known.entry(&one.shard).or_default().insert(&one.name);
    }
    for shard in engine.storage().shards().await? {
        for (name, entry) in read_all(&engine.client, &shard).await? {
            let Ok(entry) = entry else { continue };
            let task = &entry.definition.call.task;
            let here =
                known.get(&shard).is_some_and(|names| names.contains(&name)) || engine.registry.get(task).is_none();
            if matches!(entry.source, Source::Code(_)) && !here {
                tracing::warn!(
                    schedule = %name, queue = %shard, %task,
                    "a program stored this schedule that this one does not define any more; it goes on: define it, or \
                     remove it with `client.schedule({:?}).remove()`", name.as_str()
                );
            }
        }
    }
    Ok(())
}
