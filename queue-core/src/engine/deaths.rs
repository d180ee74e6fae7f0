//! Tells the user's hook of deaths.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use queue_storage::model::{JobId, Settled, Settlement, State};
use queue_storage::storage::{Exchanged, Lookup, SettleAnswer, StorageError};
use tokio_util::task::TaskTracker;

use super::run::panic_text;
use super::{Backoff, Engine};
use crate::client::Client;
use crate::facts::DeadLetter;

/// How often a letter is asked for that the storage does not give.
const TRIES: u32 = 5;

/// What the user wants done about a dead letter.
type Act = dyn Fn(DeadLetter) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// The user's hook, if there is one.
#[derive(Clone, Default)]
pub(crate) struct DeathHook(Option<Arc<Act>>);

impl DeathHook {
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(
        act: impl Fn(DeadLetter) -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(move |letter| Box::pin(act(letter)))))
    }
}

impl fmt::Debug for DeathHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeathHook({})", if self.0.is_some() { "set" } else { "none" })
    }
}

/// The hook, and its calls that have not ended.
#[derive(Debug)]
pub(crate) struct Deaths {
    pub(super) hook: DeathHook,
    calls: TaskTracker,
}

impl Deaths {
    pub(super) fn new(hook: DeathHook) -> Self {
        Self { hook, calls: TaskTracker::new() }
    }

    /// Calls the hook for each of these jobs, on tasks of their own.
    pub(crate) fn tell(&self, engine: &Engine, died: Vec<JobId>) {
        let Some(act) = self.hook.0.clone().filter(|_| !died.is_empty()) else { return };
        let (client, calls) = (engine.client.clone(), self.calls.clone());
        self.calls.spawn(async move {
            for id in died {
                match letter(&client, id).await {
                    Ok(Some(letter)) => drop(calls.spawn(call(Arc::clone(&act), letter))),
                    Ok(None) => {
                        tracing::info!(%id, "dead, and gone or revived before anyone could be told");
                    }
                    Err(error) => {
                        tracing::warn!(%id, %error, "nobody was told of this death: the storage did not answer");
                    }
                }
            }
        });
    }

    /// Waits until every call has ended.
    pub(crate) async fn told(&self) {
        self.calls.close();
        self.calls.wait().await;
    }
}

/// The job that this settlement kills.
fn dies(settled: &Settled) -> Option<JobId> {
    matches!(settled.settlement, Settlement::Die { .. }).then_some(settled.job)
}

/// The jobs that an exchange killed: by its settlements, and by taking leases back.
pub(crate) fn died(settled: &[Settled], answer: &Exchanged) -> Vec<JobId> {
    let written = settled.iter().zip(&answer.settled).filter(|(_, answer)| **answer == SettleAnswer::Applied);
    written.filter_map(|(settled, _)| dies(settled)).chain(answer.died()).collect()
}

/// The letter, if the job is still dead.
async fn letter(client: &Client, id: JobId) -> Result<Option<DeadLetter>, StorageError> {
    let mut backoff = Backoff::new();
    for _ in 1..TRIES {
        match client.storage().get(id).await {
            Err(error) if error.is_unavailable() => {
                client.clock().sleep_until(client.clock().now() + backoff.pause()).await;
            }
            answer => return answer.map(dead),
        }
    }
    client.storage().get(id).await.map(dead)
}

fn dead(found: Lookup) -> Option<DeadLetter> {
    found.found().filter(|job| job.state == State::Dead).map(|job| DeadLetter::of(&job))
}

async fn call(act: Arc<Act>, letter: DeadLetter) {
    let id = letter.id;
    if let Err(panic) = AssertUnwindSafe(async { act(letter).await }).catch_unwind().await {
        tracing::error!(%id, panic = panic_text(&*panic), "the hook for dead letters panicked");
        std::mem::forget(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue_storage::model::{EndReason, Failure, FailureKind, Fence};
    use std::time::Duration;

    #[test]
    fn a_death_that_was_not_written_is_none() {
        let [a, b, c, d] = [1, 2, 3, 4].map(JobId::from_u128);
        let failure = Failure::new(FailureKind::Error, "boom");
        let die = Settlement::Die { reason: EndReason::Fatal, failure, keep: Duration::ZERO };
        let settled = |job, settlement| Settled { job, fence: Fence(1), attempts: 1, settlement };
        let settlements = [settled(a, die.clone()), settled(b, die), settled(c, Settlement::Release)];
        let answer = Exchanged {
            settled: vec![SettleAnswer::Applied, SettleAnswer::Lost, SettleAnswer::Applied],
            upkept: vec![(d, State::Dead), (b, State::Ready)],
            ..Exchanged::default()
        };
        assert_eq!(died(&settlements, &answer), [a, d]);
    }
}
