//! Carries what jobs of one shard handed on to jobs of others.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};
use queue_storage::model::{EndReason, Ending, Failure, FailureKind, Input, Job, JobId, Shard, State};
use queue_storage::storage::{MAX_DELIVER, Parcel, Receipt, StorageError};

use super::Engine;
use crate::client::MAX_CALL_BYTES;
use crate::gather::{Gatherer, Trouble};

/// How many parcels are put together at once.
const AT_ONCE: usize = 4;

/// What is gathered for another queue may take this many times what one job may return.
const MAX_RESULTS: usize = 4;

/// Carries the oldest that stands in the outbox of a shard, and says where to; nowhere when it is empty.
///
/// `sent` are those that were delivered before: they leave the outbox with this call, and those that it delivers are
/// noted there for the next. So each round costs one call to the shard, and one for each hundred parcels or 4 MiB to each
/// shard that they go to.
///
/// # Errors
/// The storage can't be asked. What was delivered all the same is noted.
pub(crate) async fn carry(
    engine: &Engine,
    shard: &Shard,
    sent: &mut Vec<Receipt>,
) -> Result<BTreeSet<Shard>, StorageError> {
    let mut outbox = engine.storage().outbox(shard, sent).await?;
    sent.clear();
    while outbox.parcels.is_empty() && outbox.more {
        // Nothing is to be told of the first of them any more.
        outbox = engine.storage().outbox(shard, sent).await?;
    }
    let mut by_target: BTreeMap<Shard, Vec<Parcel>> = BTreeMap::new();
    for parcel in outbox.parcels {
        by_target.entry(parcel.shard.clone()).or_default().push(parcel);
    }
    let mut targets = BTreeSet::new();
    let mut failed = None;
    for (target, parcels) in by_target {
        // One shard that does not answer is no reason to keep from others what is theirs.
        match deliver(engine, shard, &target, parcels, sent).await {
            Ok(()) => drop(targets.insert(target)),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(targets), Err)
}

/// Delivers to one shard.
async fn deliver(
    engine: &Engine,
    from: &Shard,
    target: &Shard,
    parcels: Vec<Parcel>,
    sent: &mut Vec<Receipt>,
) -> Result<(), StorageError> {
    let packing: Vec<_> = parcels.into_iter().map(|parcel| Box::pin(pack(engine, from, parcel))).collect();
    let mut packed = stream::iter(packing).buffered(AT_ONCE);
    let (mut batch, mut failed) = (Batch::default(), None);
    while let Some(next) = packed.next().await {
        match next {
            Ok((parcel, input)) => batch.add(&parcel, input),
            Err(error) => failed = Some(error),
        }
        if batch.is_full() {
            std::mem::take(&mut batch).send(engine, target, sent).await?;
        }
    }
    batch.send(engine, target, sent).await?;
    failed.map_or(Ok(()), Err)
}

/// What goes with one call.
#[derive(Default)]
struct Batch {
    receipts: Vec<Receipt>,
    deliveries: Vec<(JobId, Input)>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, parcel: &Parcel, input: Option<Input>) {
        self.bytes += if let Some(Input::Returned(value)) = &input { value.len() } else { 0 };
        self.receipts.push(parcel.receipt());
        self.deliveries.extend(input.map(|input| (parcel.to, input)));
    }

    fn is_full(&self) -> bool {
        self.deliveries.len() == MAX_DELIVER || self.bytes >= MAX_CALL_BYTES
    }

    async fn send(self, engine: &Engine, target: &Shard, sent: &mut Vec<Receipt>) -> Result<(), StorageError> {
        let states = match self.deliveries.is_empty() {
            true => Vec::new(),
            false => engine.storage().deliver(target, &self.deliveries).await?,
        };
        for ((to, _), state) in self.deliveries.iter().zip(states) {
            if state.is_none() {
                tracing::debug!(%to, queue = %target, "nobody waits there any more");
            }
        }
        sent.extend(self.receipts);
        Ok(())
    }
}

/// What is handed over for a parcel: a gather as what it gathers, and what can't be handed over as a failure that says so.
/// `None` where somebody else has delivered it meanwhile.
async fn pack(engine: &Engine, from: &Shard, parcel: Parcel) -> Result<(Parcel, Option<Input>), StorageError> {
    let limit = engine.config.result_limit.saturating_mul(MAX_RESULTS);
    let trouble = match &parcel.input {
        Input::Returned(_) | Input::Nothing | Input::Failed(_) => {
            let input = parcel.input.clone();
            return Ok((parcel, Some(input)));
        }
        Input::Gathered(id) => match Gatherer::new(&**engine.storage(), limit).gathered(*id).await {
            Ok(value) => return Ok((parcel, Some(Input::Returned(value)))),
            Err(Trouble::Storage(error)) => return Err(error),
            Err(trouble) => trouble,
        },
        _ => Trouble::Unfit("it is not stored any more, or only a newer program can carry it".to_owned()),
    };
    let relay = engine.storage().get(parcel.relay).await?.found();
    let before = relay.as_ref().and_then(|relay| relay.waits_for.first().copied()).unwrap_or(parcel.relay);
    let job = engine.storage().get(before).await?.found();
    let Some(job) = job.or(relay) else { return Ok((parcel, None)) };
    let ending = undeliverable(engine, &job, from, &parcel, &trouble);
    tracing::error!(id = %before, to = %parcel.to, error = ?ending.failure, "not carried to the queue that waits for it");
    Ok((parcel, Some(Input::Failed(Box::new(ending)))))
}

/// The end that whoever waits is told of instead. It is that of the hold, which keeps what is said here: what it stands for
/// has completed.
fn undeliverable(engine: &Engine, job: &Job, from: &Shard, parcel: &Parcel, trouble: &Trouble) -> Ending {
    let advice = match trouble {
        Trouble::TooLarge(_) => {
            ": let its jobs store what is large elsewhere and return its key, put what takes it in the same queue, or raise \
             `WorkerBuilder::result_limit`, of which this is four times"
        }
        _ => "",
    };
    let (id, to, queue) = (job.id, parcel.to, &parcel.shard.queue);
    let message = format!(
        "what job {id} in queue `{}` hands on can't be carried to job {to} in queue `{queue}`: {trouble}{advice}",
        from.queue
    );
    let mut ending = Ending::new(to, job.task.clone(), State::Dead);
    ending.reason = Some(EndReason::Unstorable);
    ending.failure = Some(Failure::new(FailureKind::Encode, message));
    ending.keep_until = Some(engine.clock().now() + engine.config.lease.keep_ended);
    ending
}
