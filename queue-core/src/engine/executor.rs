//! One run, from a claimed job to a settlement: a straight list of steps.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use queue_storage::model::{
    Claimed, Envelope, Failure, FailureKind, Input, Outcome, RetryPolicy, Run, Settled, Settlement, Verdict, When,
    decide,
};
use queue_storage::storage::{Renewal, Renewed};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Backoff, Engine};
use crate::codec;
use crate::context::{Context, Inner};
use crate::handler::{Registered, RunFuture};

tokio::task_local! {
    /// Whether the run is on a thread of the blocking pool now, where it can't be stopped.
    static ON_THREAD: Arc<AtomicBool>;
}

/// How long after its timeout a run may still hold its lease: time to be dropped and settled.
const OVERDUE_AFTER: Duration = Duration::from_secs(5);

/// Notes that the current run is, or is no longer, on a thread that can't be stopped.
pub(crate) fn note_thread(busy: bool) {
    // Outside a run (a unit test of the function) nobody asks.
    let _ = ON_THREAD.try_with(|flag| flag.store(busy, Ordering::Release));
}

/// Runs a claimed job. `None` when its lease was lost: then nothing is settled.
pub(crate) async fn execute(engine: &Engine, claimed: Claimed, lost: CancellationToken) -> Option<Settled> {
    let job = &claimed.job;
    let attempt = job.attempts.saturating_add(1);
    let span = tracing::info_span!("job", id = %job.id, task = %job.task, queue = %job.shard.queue, attempt);
    perform(engine, &claimed, &lost).instrument(span).await
}

async fn perform(engine: &Engine, claimed: &Claimed, lost: &CancellationToken) -> Option<Settled> {
    match confirm(engine, claimed, lost).await {
        Confirmed::Held => {}
        Confirmed::Lost => return None,
        Confirmed::Stopped => return Some(given_back(claimed)),
    }
    let started = engine.clock().now();
    let (options, begun) = begin(engine, claimed, lost);
    let outcome = match begun {
        Ok(future) => run(engine, claimed, future, options.timeout, lost).await?,
        Err(outcome) => *outcome,
    };
    let outcome = limited(outcome, engine.config.result_limit);
    let settled = settled(claimed, outcome, &options);
    report(&settled.settlement, engine.clock().now() - started);
    Some(settled)
}

/// A job goes back as it came, unbegun.
pub(crate) fn given_back(claimed: &Claimed) -> Settled {
    let (job, attempts) = (claimed.job.id, claimed.job.attempts);
    Settled { job, fence: claimed.fence, attempts, settlement: Settlement::Release }
}

fn settled(claimed: &Claimed, outcome: Outcome, options: &RunOptions) -> Settled {
    let (attempts, settlement) = decide(outcome, &options.facts(claimed.job.attempts));
    Settled { job: claimed.job.id, fence: claimed.fence, attempts, settlement }
}

/// What became of confirming a delivery.
enum Confirmed {
    /// The lease is held, and the storage knows that the job has come.
    Held,
    /// The lease is lost.
    Lost,
    /// The worker stops before that was known: the job has not been touched.
    Stopped,
}

/// Confirms the delivery of a job that asks for it, before anything of it is touched.
async fn confirm(engine: &Engine, claimed: &Claimed, lost: &CancellationToken) -> Confirmed {
    if !claimed.job.confirm_first() {
        return Confirmed::Held;
    }
    if claimed.job.suspect {
        tracing::info!(crashes = claimed.job.crashes, "taken over: the worker that ran it vanished");
    }
    tokio::select! {
        // Nothing begins any more once it should end.
        biased;
        () = lost.cancelled() => Confirmed::Lost,
        () = engine.cut.cancelled() => Confirmed::Stopped,
        answer = confirmed(engine, claimed) => answer,
    }
}

/// Renews the one lease until the storage answers.
async fn confirmed(engine: &Engine, claimed: &Claimed) -> Confirmed {
    let leases = vec![(claimed.job.id, claimed.fence)];
    let renewal = Renewal { worker: engine.id, shard: claimed.job.shard.clone(), leases };
    let mut backoff = Backoff::new();
    loop {
        match engine.storage().renew(renewal.clone()).await.as_deref() {
            Ok([Renewed::Held]) => return Confirmed::Held,
            Ok(_) => return Confirmed::Lost,
            Err(error) => tracing::debug!(%error, "can't confirm the delivery yet"),
        }
        engine.sleep(backoff.pause()).await;
    }
}

/// The options of one run: the task's, overridden by the call's.
#[derive(Clone, Copy, Debug)]
struct RunOptions {
    policy: RetryPolicy,
    timeout: Option<Duration>,
    keep: Option<Duration>,
    keep_result: Duration,
    keep_trace: Duration,
    keep_dead: Duration,
    returns: bool,
}

impl RunOptions {
    fn of(engine: &Engine, task: Option<&Registered>) -> Self {
        let options = task.map(|task| task.options).unwrap_or_default();
        Self {
            policy: options.policy,
            timeout: options.timeout,
            keep: options.keep,
            keep_result: engine.config.keep_result,
            keep_trace: engine.config.keep_trace,
            keep_dead: engine.config.lease.keep_dead,
            returns: task.is_some_and(|task| task.returns),
        }
    }

    fn overridden(mut self, envelope: &Envelope) -> Self {
        let overrides = &envelope.overrides;
        self.policy.retries = overrides.retries.unwrap_or(self.policy.retries);
        self.policy.backoff = overrides.backoff.unwrap_or(self.policy.backoff);
        self.policy.jitter = overrides.jitter.unwrap_or(self.policy.jitter);
        self.timeout = overrides.timeout.or(self.timeout);
        self.keep = overrides.keep.or(self.keep);
        self
    }

    fn facts(&self, attempts: u32) -> Run {
        let usual = if self.returns { self.keep_result } else { self.keep_trace };
        Run {
            attempts,
            policy: self.policy,
            keep_completed: self.keep.unwrap_or(usual),
            keep_dead: self.keep_dead,
            random: fastrand::f64(),
        }
    }
}

/// Opens the envelope, finds the task, decodes the arguments, begins the run; or says how that failed. Beside it the
/// options, as far as they are known by then.
fn begin(
    engine: &Engine,
    claimed: &Claimed,
    lost: &CancellationToken,
) -> (RunOptions, Result<RunFuture, Box<Outcome>>) {
    let job = &claimed.job;
    let task = engine.registry.get(&job.task);
    let options = RunOptions::of(engine, task);
    // A storage hands out jobs of registered tasks only; should it err, the job goes back unharmed.
    let Some(task) = task else { return (options, Err(Box::new(Outcome::Released))) };
    let undecodable = |message| Err(Box::new(Outcome::Undecodable(Failure::new(FailureKind::Decode, message))));
    let envelope = match Envelope::decode(&job.envelope) {
        Ok(envelope) => envelope,
        Err(error) => return (options, undecodable(error.to_string())),
    };
    let options = options.overridden(&envelope);
    let args = match arguments(&envelope, &claimed.inputs) {
        Ok(args) => args,
        Err(why) => return (options, undecodable(why)),
    };
    let context = context(engine, claimed, envelope, &options, lost);
    // Decoding runs code of the user's: it may panic as well as refuse.
    let begun = match std::panic::catch_unwind(AssertUnwindSafe(|| task.handler.begin(&args, context))) {
        Ok(Ok(future)) => Ok(future),
        Ok(Err(failure)) => Err(Box::new(Outcome::Undecodable(failure))),
        Err(panic) => undecodable(format!("decoding the arguments panicked: {}", panic_text(&*panic))),
    };
    (options, begun)
}

/// The stored arguments, with the result the job waited for put in its place.
fn arguments(envelope: &Envelope, inputs: &[Input]) -> Result<Bytes, String> {
    let Some(name) = &envelope.input else { return Ok(envelope.args.clone()) };
    let value = match inputs.last() {
        Some(Input::Returned(bytes)) => Some(&bytes[..]),
        _ => None,
    };
    codec::with_first(name, value, &envelope.args)
}

fn context(
    engine: &Engine,
    claimed: &Claimed,
    envelope: Envelope,
    options: &RunOptions,
    lost: &CancellationToken,
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
        scheduled_for: job.due_at,
        deadline: options.timeout.map(|timeout| engine.clock().now() + timeout),
        headers: envelope.headers,
        client: engine.client.clone(),
        data: Arc::clone(&engine.data),
        cancelled: lost.clone(),
    })
}

/// Runs the task's future, guarded. `None` when nothing may be settled.
async fn run(
    engine: &Engine,
    claimed: &Claimed,
    future: RunFuture,
    timeout: Option<Duration>,
    lost: &CancellationToken,
) -> Option<Outcome> {
    let on_thread = Arc::new(AtomicBool::new(false));
    let guarded = ON_THREAD.scope(Arc::clone(&on_thread), AssertUnwindSafe(future).catch_unwind());
    let mut guarded = Box::pin(guarded);
    if let Some(timeout) = timeout {
        let renewals =
            timeout.saturating_add(OVERDUE_AFTER).as_secs_f64() / engine.config.lease.renew_every.as_secs_f64();
        // A float that is too large becomes the largest number: for ever, as far as anyone can tell.
        engine.held.expect_end(claimed.job.id, claimed.fence, renewals.ceil() as u32);
    }
    tracing::debug!("started");
    let outcome = tokio::select! {
        biased;
        answer = &mut guarded => Some(answer.unwrap_or_else(panicked)),
        () = lost.cancelled() => {
            tracing::warn!("lease lost: the job runs elsewhere, this run is dropped");
            None
        }
        () = timed_out(engine, timeout) => {
            // Whoever runs on a thread learns from its context that it should stop; until it does, its slot is taken and
            // its lease is kept, so that no two copies run.
            lost.cancel();
            if on_thread.load(Ordering::Acquire) {
                engine.held.run_ended(claimed.job.id, claimed.fence);
                let _ = (&mut guarded).await;
            }
            let limit = timeout.unwrap_or_default();
            let message = format!("the attempt took longer than its timeout of {limit:?}");
            let failure = Failure::new(FailureKind::Timeout, message);
            Some(Outcome::Failed { failure, verdict: Verdict::Policy })
        }
        () = engine.cut.cancelled() => {
            lost.cancel();
            if on_thread.load(Ordering::Acquire) {
                // It can't be stopped, so it can't be given to anyone else: it settles if it ends in time.
                return Some(guarded.await.unwrap_or_else(panicked));
            }
            tracing::info!("released: the worker stops before the job has ended");
            Some(Outcome::Released)
        }
    };
    discard(guarded);
    outcome
}

async fn timed_out(engine: &Engine, timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => engine.sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// Drops what is the user's: its drop may panic, and that is no reason to lose the outcome.
fn discard<T>(users: T) {
    if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| drop(users))) {
        tracing::warn!(panic = panic_text(&*panic), "dropping the run panicked");
        std::mem::forget(panic);
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Outcome {
    let failure = Failure::new(FailureKind::Panic, panic_text(&*panic));
    discard(panic);
    Outcome::Failed { failure, verdict: Verdict::Policy }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
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

/// Says in the log what became of the run.
fn report(settlement: &Settlement, took: Duration) {
    match settlement {
        Settlement::Complete { .. } => tracing::debug!(?took, "completed"),
        Settlement::Retry { failure, when: When::In(delay) } => {
            tracing::warn!(?took, retry_in = ?delay, error = %failure, "failed, will retry");
        }
        Settlement::Retry { failure, .. } => tracing::warn!(?took, error = %failure, "failed, will retry"),
        Settlement::Die { failure, reason, .. } => tracing::error!(?took, %reason, error = %failure, "dead"),
        _ => tracing::debug!(?took, "not ended"),
    }
}
