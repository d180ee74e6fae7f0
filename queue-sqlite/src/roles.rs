//! The roles of the contract: each call goes to the thread that does it.

use std::sync::Arc;

use async_trait::async_trait;
use queue_storage::model::{Input, JobId, Key, Shard, State, WorkerId};
use queue_storage::storage::{
    Act, Acted, Admission, Claim, Control, Controls, Counts, Enqueue, EnqueueCall, Exchange, Exchanged, Inputs,
    JobPage, JobQuery, Lookup, Maintain, Operate, Outbox, Receipt, Renewal, Renewed, Retention, ScheduleChange,
    SchedulePage, ScheduleQuery, Step, Storage, StorageError, Ticked, Usage, WorkerRecord, check_delivery, check_ticks,
};

use crate::SqliteStorage;
use crate::claim;
use crate::control;
use crate::enqueue;
use crate::job::act;
use crate::job::deliver;
use crate::job::limits;
use crate::job::maintain;
use crate::job::tx::Tx;
use crate::job::workers::{self, Workers};
use crate::list;
use crate::news;
use crate::operate;
use crate::reader::{Message as Read, Snapshot};
use crate::renew;
use crate::schedules;
use crate::writer::Message as Write;

#[async_trait]
impl Storage for SqliteStorage {
    fn location(&self) -> String {
        self.place.location()
    }

    async fn ping(&self) -> Result<(), StorageError> {
        // Both threads answer, and the file can be read, and is the one that others would open.
        self.writer.call(|reply| Write::work(reply, |_, _| Ok(()))).await?;
        let (identity, place) = (Arc::clone(&self.identity), self.place.clone());
        let look = move |look: &Snapshot<'_>| operate::shards(look).and_then(|_| identity.check(&place));
        self.reader.call(|reply| Read::look(reply, look)).await
    }

    async fn close(&self) {
        self.writer.close(Write::Close).await;
        self.reader.close(Read::Close).await;
        self.hub.signal_all();
        self.hub.close_watches();
    }
}

#[async_trait]
impl Enqueue for SqliteStorage {
    async fn enqueue(&self, call: EnqueueCall) -> Result<Vec<Admission>, StorageError> {
        call.check()?;
        self.writer.call(|reply| Write::work(reply, |tx, _| enqueue::enqueue(tx, call))).await
    }
}

#[async_trait]
impl Claim for SqliteStorage {
    async fn register(&self, worker: WorkerRecord) -> Result<(), StorageError> {
        self.writer.call(|reply| Write::work(reply, move |tx, _| workers::register(tx, &worker))).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StorageError> {
        self.writer.call(|reply| Write::work(reply, move |tx, _| workers::deregister(tx, worker))).await
    }

    async fn exchange(&self, call: Exchange) -> Result<Exchanged, StorageError> {
        call.check()?;
        self.writer.call(|reply| Write::work(reply, move |tx, workers| claim::exchange(tx, workers, &call))).await
    }

    async fn renew(&self, call: Renewal) -> Result<Vec<Renewed>, StorageError> {
        call.check()?;
        self.writer.call(|reply| Write::work(reply, move |tx, workers| renew::renew(tx, workers, &call))).await
    }
}

#[async_trait]
impl Maintain for SqliteStorage {
    async fn prune(&self, shard: &Shard, retention: Retention) -> Result<Step, StorageError> {
        let shard = shard.clone();
        let prune = move |tx: &mut Tx<'_>, _: &mut Workers| {
            news::forget(tx.conn)?;
            maintain::prune(tx, &shard, retention)
        };
        self.writer.call(|reply| Write::work(reply, prune)).await
    }

    async fn outbox(&self, shard: &Shard, sent: &[Receipt]) -> Result<Outbox, StorageError> {
        deliver::check_sent(sent)?;
        let (shard, sent) = (shard.clone(), sent.to_vec());
        self.writer.call(|reply| Write::work(reply, move |tx, _| deliver::outbox(tx, &shard, &sent))).await
    }

    async fn deliver(&self, shard: &Shard, deliveries: &[(JobId, Input)]) -> Result<Vec<Option<State>>, StorageError> {
        check_delivery(deliveries)?;
        let (shard, deliveries) = (shard.clone(), deliveries.to_vec());
        self.writer.call(|reply| Write::work(reply, move |tx, _| deliver::deliver(tx, &shard, deliveries))).await
    }

    async fn tick(&self, shard: &Shard, changes: &[ScheduleChange]) -> Result<Ticked, StorageError> {
        check_ticks(shard, changes)?;
        let (shard, changes) = (shard.clone(), changes.to_vec());
        if changes.is_empty() {
            return self.reader.call(|reply| Read::look(reply, move |look| schedules::due(look, &shard))).await;
        }
        self.writer.call(|reply| Write::work(reply, move |tx, _| schedules::tick(tx, &shard, changes))).await
    }
}

#[async_trait]
impl Operate for SqliteStorage {
    async fn get(&self, id: JobId) -> Result<Lookup, StorageError> {
        self.reader.call(|reply| Read::look(reply, move |look| operate::get(look, id))).await
    }

    async fn inputs(&self, id: JobId) -> Result<Option<Inputs>, StorageError> {
        self.reader.call(|reply| Read::look(reply, move |look| operate::inputs(look, id))).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage, StorageError> {
        let query = query.clone();
        self.reader.call(|reply| Read::look(reply, move |look| list::list(look, &query))).await
    }

    async fn counts(&self, shard: &Shard) -> Result<Counts, StorageError> {
        let shard = shard.clone();
        self.reader.call(|reply| Read::look(reply, move |look| operate::counts(look, &shard))).await
    }

    async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        self.reader.call(|reply| Read::look(reply, operate::shards)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>, StorageError> {
        self.reader.call(|reply| Read::look(reply, operate::workers)).await
    }

    async fn act(&self, shard: &Shard, ids: &[JobId], act: &Act) -> Result<Vec<Acted>, StorageError> {
        act.check(ids)?;
        let (shard, ids, act) = (shard.clone(), ids.to_vec(), act.clone());
        self.writer.call(|reply| Write::work(reply, move |tx, _| act::act(tx, &shard, &ids, &act))).await
    }

    async fn control(&self, shard: &Shard, change: &Control) -> Result<bool, StorageError> {
        let (shard, change) = (shard.clone(), change.clone());
        self.writer.call(|reply| Write::work(reply, move |tx, _| control::control(tx, &shard, &change))).await
    }

    async fn controls(&self, shard: &Shard) -> Result<Controls, StorageError> {
        let shard = shard.clone();
        self.reader.call(|reply| Read::look(reply, move |look| control::controls(look, &shard))).await
    }

    async fn schedules(&self, shard: &Shard, query: &ScheduleQuery) -> Result<SchedulePage, StorageError> {
        query.check()?;
        let (shard, query) = (shard.clone(), query.clone());
        self.reader.call(|reply| Read::look(reply, move |look| schedules::page(look, &shard, &query))).await
    }

    async fn usage(&self, shard: &Shard, key: &Key) -> Result<Usage, StorageError> {
        let (shard, key) = (shard.clone(), key.clone());
        self.reader.call(|reply| Read::look(reply, move |look| limits::usage(look, &shard, &key))).await
    }
}
