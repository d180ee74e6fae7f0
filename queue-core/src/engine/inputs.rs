//! What the jobs before a job handed on becomes its first argument.

use bytes::Bytes;
use queue_storage::model::{Claimed, Envelope, Trigger};

use super::held::Signals;
use super::{Backoff, Engine};
use crate::codec;
use crate::gather::{Gatherer, Trouble};

/// What became of taking in.
pub(super) enum Taken {
    /// It is among the arguments.
    In,
    /// It can't be: nothing would change that.
    Unfit(String),
    /// The lease is lost.
    Lost,
    /// It is to stop, or its worker, before it was there: the job has not been touched.
    Stopped,
}

/// Puts what was handed on among the arguments, however long the storage takes to tell it.
pub(super) async fn take_in(engine: &Engine, claimed: &Claimed, envelope: &mut Envelope, signals: &Signals) -> Taken {
    let Some(name) = envelope.input.clone() else { return Taken::In };
    let value = tokio::select! {
        biased;
        () = signals.lost.cancelled() => return Taken::Lost,
        () = signals.asked.cancelled() => return Taken::Stopped,
        () = engine.cut.cancelled() => return Taken::Stopped,
        value = patiently(engine, claimed, envelope) => value,
    };
    if let Err(Trouble::Storage(_)) = value {
        return Taken::Stopped;
    }
    let whole = value.map_err(|trouble| format!("its first argument, `{name}`, can't be made: {trouble}"));
    match whole.and_then(|value| codec::with_first(&name, Some(&value), &envelope.args)) {
        Ok(args) => {
            envelope.args = args;
            Taken::In
        }
        Err(why) => Taken::Unfit(why),
    }
}

/// The value, however often a worker must ask the storage.
async fn patiently(engine: &Engine, claimed: &Claimed, envelope: &Envelope) -> Result<Bytes, Trouble> {
    let mut backoff = Backoff::new();
    let (parents, inputs) = (&claimed.job.waits_for, &claimed.inputs);
    loop {
        let gatherer = Gatherer::new(&**engine.storage(), usize::MAX);
        let value = match claimed.job.trigger {
            Trigger::Failed => gatherer.failed(parents, inputs).await,
            _ => gatherer.value(envelope.intake, parents, inputs).await,
        };
        let Err(Trouble::Storage(error)) = value else { return value };
        let pause = backoff.pause();
        tracing::warn!(%error, ?pause, "can't ask for what it waited for: trying again");
        engine.sleep(pause).await;
        if engine.client.is_immediate() {
            // Whoever enqueued waits for this: if the storage is away, the exchange that gives the job back says so.
            return Err(Trouble::Storage(error));
        }
    }
}
