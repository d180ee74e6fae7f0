//! One run, from a claimed job to a settlement: a straight list of steps.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{
    Claimed, EndReason, Envelope, Failure, FailureKind, Outcome, Settled, Settlement, Timestamp, When, decide,
};
use queue_storage::storage::{Renewal, Renewed};
use tracing::Instrument;

use super::held::Signals;
use super::inputs::{Taken, take_in};
use super::options::{Limit, RunOptions};
use super::run::{Abandoned, Ran, panic_text, run};
use super::{Backoff, Engine, RunFacts, report};
use crate::context::{Context, Inner};
use crate::handler::Registered;
use crate::middleware::{Run, Starting};
use crate::periodic::tick_of;

/// What came of a claimed job.
#[derive(Debug)]
pub(crate) struct Executed {
    /// `None` when its lease was lost: then nothing is settled.
    pub(crate) settled: Option<Settled>,
    /// What there is to tell of it.
    pub(crate) facts: RunFacts,
    /// Threads that go on although the attempt is over. They are the run's slot until they have ended.
    pub(crate) threads: Option<Abandoned>,
}

/// Runs a claimed job. The job is in a box, and whatever is awaited only sometimes: futures are moved whole.
pub(crate) async fn execute(engine: &Engine, claimed: Box<Claimed>, signals: &Signals) -> Executed {
    let received = engine.clock().now();
    if claimed.job.confirm_first() {
        match Box::pin(confirm(engine, &claimed, signals)).await {
            Confirmed::Held => {}
            Confirmed::Lost => return unbegun(claimed, None),
            Confirmed::Stopped => return given_back_unbegun(claimed),
        }
    }
    let (options, opened) = open(engine, &claimed);
    let span = report::span(&claimed.job);
    if let Ok((_, envelope)) = &opened {
        let (job, headers) = (&claimed.job, &envelope.headers);
        let run = Starting { job, headers, max_attempts: options.max_attempts(), worker: engine.id };
        report::show(&engine.config.middleware, &run, &span);
    }
    let executed = perform(engine, claimed, signals, received, &options, opened).instrument(span.clone()).await;
    let settlement = executed.settled.as_ref().map(|settled| &settled.settlement);
    report::record(&span, settlement, signals.asked.is_cancelled());
    executed
}

/// A task, and what a job calls it with; or why there is no such thing.
type Opened<'a> = Result<(&'a Registered, Envelope), Box<Outcome>>;

/// `received` is when the job came.
async fn perform(
    engine: &Engine,
    claimed: Box<Claimed>,
    signals: &Signals,
    received: Timestamp,
    options: &RunOptions,
    mut opened: Opened<'_>,
) -> Executed {
    if let Ok((_, envelope)) = &mut opened
        && envelope.input.is_some()
    {
        match Box::pin(take_in(engine, &claimed, envelope, signals)).await {
            Taken::In => {}
            Taken::Unfit(why) => opened = Err(undecodable(why)),
            Taken::Lost => return unbegun(claimed, None),
            Taken::Stopped => return given_back_unbegun(claimed),
        }
    }
    let started = engine.clock().now();
    let limit = options.limit(&claimed.job, started - received);
    let begun = opened.and_then(|opened| begin(engine, &claimed, opened, options, limit, signals));
    let has_begun = begun.is_ok();
    let ran = match begun {
        Ok(future) => {
            engine.tell_started(&claimed);
            run(engine, &claimed, future, limit, signals).await
        }
        Err(outcome) => Ran { outcome: Some(*outcome), threads: None },
    };
    let (now, asked) = (engine.clock().now(), signals.asked.is_cancelled());
    let settled = ran.outcome.map(|outcome| {
        let outcome = limited(outcome, engine.config.result_limit).of_version(engine.config.version.as_deref());
        let settled = settled(&claimed, outcome, options, now - received);
        if asked { called_off(settled) } else { settled }
    });
    if let Some(settled) = &settled {
        report::ended(&settled.settlement, now - started, asked);
    }
    Executed { settled, facts: RunFacts::of(claimed, has_begun.then(|| now - started)), threads: ran.threads }
}

/// A job that was not begun.
fn unbegun(claimed: Box<Claimed>, settled: Option<Settled>) -> Executed {
    Executed { settled, facts: RunFacts::of(claimed, None), threads: None }
}

fn given_back_unbegun(claimed: Box<Claimed>) -> Executed {
    let back = given_back(&claimed);
    unbegun(claimed, Some(back))
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

/// Confirms the delivery of a job that asks for it, before anything of it is touched. In a span of its own: that of the run
/// is to be seen before it is entered, together with what may be read only once this has come back.
async fn confirm(engine: &Engine, claimed: &Claimed, signals: &Signals) -> Confirmed {
    let confirming = async {
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
    };
    confirming.instrument(report::span(&claimed.job)).await
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
fn open<'a>(engine: &'a Engine, claimed: &Claimed) -> (RunOptions, Opened<'a>) {
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
) -> Result<Run, Box<Outcome>> {
    let args = std::mem::take(&mut envelope.args);
    let context = context(engine, claimed, envelope, options, limit, signals);
    // Decoding runs code of the user's: it may panic as well as refuse.
    let decoding = || task.handler.begin(&args, context.clone(), engine.registry.classes());
    match std::panic::catch_unwind(AssertUnwindSafe(decoding)) {
        Ok(Ok(run)) => {
            report::started(task.name, &args, engine.config.log_arguments.as_ref());
            Ok(within(engine, context, run, args))
        }
        Ok(Err(failure)) => Err(Box::new(Outcome::Undecodable(failure))),
        Err(panic) => Err(undecodable(format!("decoding the arguments panicked: {}", panic_text(&*panic)))),
    }
}

/// The run within the worker's middleware, whose own errors are judged as the task's are.
fn within(engine: &Engine, context: Context, run: Run, args: Bytes) -> Run {
    let chain = &engine.config.middleware;
    if chain.is_empty() {
        return run;
    }
    let (run, classes) = (chain.around(context, run, args), engine.registry.classes());
    Box::pin(async move { run.run().await.map_err(|error| classes.judge(error)) })
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
        max_attempts: options.max_attempts(),
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
