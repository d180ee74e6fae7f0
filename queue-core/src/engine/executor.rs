//! One run, from a claimed job to a settlement: a straight list of steps.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use queue_storage::model::{
    Claimed, EndReason, Envelope, Failure, FailureKind, Outcome, Settled, Settlement, When, decide,
};
use queue_storage::storage::{Renewal, Renewed};
use tracing::Instrument;

use super::held::Signals;
use super::inputs::{Taken, take_in};
use super::options::{Limit, RunOptions};
use super::run::{Abandoned, Ran, panic_text, run};
use super::{Backoff, Engine};
use crate::context::{Context, Inner};
use crate::handler::{Registered, RunFuture};
use crate::periodic::tick_of;

/// What came of a claimed job.
#[derive(Debug)]
pub(crate) struct Executed {
    /// `None` when its lease was lost: then nothing is settled.
    pub(crate) settled: Option<Settled>,
    /// Threads that go on although the attempt is over. They are the run's slot until they have ended.
    pub(crate) threads: Option<Abandoned>,
}

impl From<Option<Settled>> for Executed {
    fn from(settled: Option<Settled>) -> Self {
        Self { settled, threads: None }
    }
}

/// Runs a claimed job.
pub(crate) async fn execute(engine: &Engine, claimed: Claimed, signals: Signals) -> Executed {
    let job = &claimed.job;
    let attempt = job.attempts.saturating_add(1);
    let span = tracing::error_span!("job", id = %job.id, task = %job.task, queue = %job.shard.queue, attempt);
    perform(engine, &claimed, &signals).instrument(span).await
}

async fn perform(engine: &Engine, claimed: &Claimed, signals: &Signals) -> Executed {
    let received = engine.clock().now();
    match confirm(engine, claimed, signals).await {
        Confirmed::Held => {}
        Confirmed::Lost => return None.into(),
        Confirmed::Stopped => return Some(given_back(claimed)).into(),
    }
    let (options, mut opened) = open(engine, claimed);
    if let Ok((_, envelope)) = &mut opened
        && envelope.input.is_some()
    {
        // In a box, so that jobs that take nothing from others are no larger for it.
        match Box::pin(take_in(engine, claimed, envelope, signals)).await {
            Taken::In => {}
            Taken::Unfit(why) => opened = Err(undecodable(why)),
            Taken::Lost => return None.into(),
            Taken::Stopped => return Some(given_back(claimed)).into(),
        }
    }
    let started = engine.clock().now();
    let took = started - received;
    let limit = options.limit(&claimed.job, took);
    let begun = opened.and_then(|opened| begin(engine, claimed, opened, &options, limit, signals));
    let ran = match begun {
        Ok(future) => run(engine, claimed, future, limit, signals).await,
        Err(outcome) => Ran { outcome: Some(*outcome), threads: None },
    };
    let now = engine.clock().now();
    let settled = ran.outcome.map(|outcome| {
        let outcome = limited(outcome, engine.config.result_limit).of_version(engine.config.version.as_deref());
        let settled = settled(claimed, outcome, &options, now - received);
        if signals.asked.is_cancelled() { called_off(settled) } else { settled }
    });
    if let Some(settled) = &settled {
        report(&settled.settlement, now - started, signals.asked.is_cancelled());
    }
    Executed { settled, threads: ran.threads }
}

/// A job goes back as it came, unbegun.
pub(crate) fn given_back(claimed: &Claimed) -> Settled {
    let (job, attempts) = (claimed.job.id, claimed.job.attempts);
    Settled { job, fence: claimed.fence, attempts, settlement: Settlement::Release }
}

/// `took` is the time since the claim.
fn settled(claimed: &Claimed, outcome: Outcome, options: &RunOptions, took: Duration) -> Settled {
    let run = options.facts(&claimed.job, took, &outcome);
    let (attempts, settlement) = decide(outcome, &run);
    Settled { job: claimed.job.id, fence: claimed.fence, attempts, settlement }
}

/// Whoever fails after having been asked to stop has stopped: that is no dead letter. The storage, which was told how long
/// to keep it, makes a cancellation of the retry.
fn called_off(mut settled: Settled) -> Settled {
    if let Settlement::Die { reason: EndReason::Exhausted | EndReason::Fatal | EndReason::Deadline, failure, .. } =
        settled.settlement
    {
        settled.settlement = Settlement::Retry { when: When::Now, failure };
    }
    settled
}

/// What became of confirming a delivery.
enum Confirmed {
    /// The lease is held, and the storage knows that the job has come.
    Held,
    /// The lease is lost.
    Lost,
    /// It is to stop, or its worker, before that was known: the job has not been touched.
    Stopped,
}

/// Confirms the delivery of a job that asks for it, before anything of it is touched.
async fn confirm(engine: &Engine, claimed: &Claimed, signals: &Signals) -> Confirmed {
    if !claimed.job.confirm_first() {
        return Confirmed::Held;
    }
    if claimed.job.suspect {
        tracing::info!(crashes = claimed.job.crashes, "taken over: the worker that ran it vanished");
    }
    tokio::select! {
        // Nothing begins any more once it should end.
        biased;
        () = signals.lost.cancelled() => Confirmed::Lost,
        () = engine.cut.cancelled() => Confirmed::Stopped,
        answer = confirmed(engine, claimed) => answer,
    }
}

/// Renews the one lease until the storage answers.
async fn confirmed(engine: &Engine, claimed: &Claimed) -> Confirmed {
    let leases = vec![(claimed.job.id, claimed.fence)];
    let renewal = Renewal { worker: engine.id, shard: claimed.job.shard.clone(), leases, progress: Vec::new() };
    let mut backoff = Backoff::new();
    loop {
        match engine.storage().renew(renewal.clone()).await.as_deref() {
            Ok([Renewed::Held]) => return Confirmed::Held,
            // Cancelled before anything of it was touched.
            Ok([Renewed::Stop]) => return Confirmed::Stopped,
            Ok(_) => return Confirmed::Lost,
            Err(error) => tracing::debug!(%error, "can't confirm the delivery yet"),
        }
        engine.sleep(backoff.pause()).await;
    }
}

fn undecodable(why: String) -> Box<Outcome> {
    Box::new(Outcome::Undecodable(Failure::new(FailureKind::Decode, why)))
}

/// Finds the task and opens the envelope, or says how that failed. Beside it the options, as far as they are known by
/// then.
fn open<'a>(engine: &'a Engine, claimed: &Claimed) -> (RunOptions, Result<(&'a Registered, Envelope), Box<Outcome>>) {
    let task = engine.registry.get(&claimed.job.task);
    let options = RunOptions::of(engine, task);
    // A storage hands out jobs of registered tasks only; should it err, the job goes back unharmed.
    let Some(task) = task else { return (options, Err(Box::new(Outcome::Released))) };
    match Envelope::decode(&claimed.job.envelope) {
        Ok(envelope) => (options.overridden(&envelope), Ok((task, envelope))),
        Err(error) => (options, Err(undecodable(error.to_string()))),
    }
}

/// Decodes the arguments and begins the run, or says how that failed.
fn begin(
    engine: &Engine,
    claimed: &Claimed,
    (task, mut envelope): (&Registered, Envelope),
    options: &RunOptions,
    limit: Option<Limit>,
    signals: &Signals,
) -> Result<RunFuture, Box<Outcome>> {
    let args = std::mem::take(&mut envelope.args);
    let context = context(engine, claimed, envelope, options, limit, signals);
    let classes = engine.registry.classes();
    // Decoding runs code of the user's: it may panic as well as refuse.
    match std::panic::catch_unwind(AssertUnwindSafe(|| task.handler.begin(&args, context, classes))) {
        Ok(Ok(future)) => Ok(future),
        Ok(Err(failure)) => Err(Box::new(Outcome::Undecodable(failure))),
        Err(panic) => Err(undecodable(format!("decoding the arguments panicked: {}", panic_text(&*panic)))),
    }
}

fn context(
    engine: &Engine,
    claimed: &Claimed,
    envelope: Envelope,
    options: &RunOptions,
    limit: Option<Limit>,
    signals: &Signals,
) -> Context {
    let job = &claimed.job;
    Context::new(Inner {
        id: job.id,
        shard: job.shard.clone(),
        task: job.task.clone(),
        attempt: job.attempts.saturating_add(1),
        max_attempts: options.policy.retries.saturating_add(1),
        fence: claimed.fence.0,
        enqueued_at: job.enqueued_at,
        scheduled_for: tick_of(&envelope.headers).or(job.due_at),
        deadline: limit.map(|limit| engine.clock().now() + limit.time()),
        headers: envelope.headers,
        client: engine.client.clone(),
        data: Arc::clone(&engine.data),
        cancelled: signals.over.clone(),
        told: Arc::clone(&signals.told),
    })
}

/// The outcome, unless its result is too large to be stored.
fn limited(outcome: Outcome, limit: usize) -> Outcome {
    match outcome {
        Outcome::Succeeded(Some(result)) if result.len() > limit => {
            let message = format!(
                "the task succeeded, but its result takes {} bytes and the limit is {limit}: store what is large elsewhere \
                 and return its key, or raise the limit with `WorkerBuilder::result_limit`",
                result.len()
            );
            Outcome::Unstorable(Failure::new(FailureKind::Encode, message))
        }
        other => other,
    }
}

/// Says in the log what became of the run. What was `asked` to stop, and would go on, is cancelled by the storage.
fn report(settlement: &Settlement, took: Duration, asked: bool) {
    match settlement {
        Settlement::Retry { failure, .. } if asked => {
            tracing::info!(?took, error = %failure, "cancelled: it failed, having been asked to stop");
        }
        Settlement::Snooze { .. } if asked => tracing::info!(?took, "cancelled: it was asked to stop"),
        Settlement::Complete { .. } => tracing::debug!(?took, "completed"),
        Settlement::Retry { failure, when: When::In(delay) } => {
            tracing::warn!(?took, retry_in = ?delay, error = %failure, "failed, will retry");
        }
        Settlement::Retry { failure, .. } => tracing::warn!(?took, error = %failure, "failed, will retry"),
        Settlement::Cancel { failure, reason, .. } => {
            let why = failure.as_ref().map(|failure| &*failure.message);
            tracing::info!(?took, %reason, why, "cancelled");
        }
        Settlement::Snooze { when, hold: None } => tracing::debug!(?took, ?when, "snoozed"),
        Settlement::Snooze { hold: Some(hold), .. } => tracing::info!(?took, ?hold, "rate limited"),
        Settlement::Die { failure, reason, .. } => tracing::error!(?took, %reason, error = %failure, "dead"),
        _ => tracing::debug!(?took, "not ended"),
    }
}
