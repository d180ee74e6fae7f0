//! What the log and the span say of a run.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use queue_storage::model::{Failure, FailureKind, Job, Settlement, Timestamp, When};
use tracing::Span;
use tracing::field::{DisplayValue, Empty, display};

use super::run::panic_text;
use crate::middleware::{Chain, Starting};
use crate::redact::Redact;

/// The target of a run's span, and of the events that tell how it goes.
macro_rules! target {
    () => {
        "queue::job"
    };
}

/// The span of a run. What is empty at first is for bridges to tracing systems, and told once the run has ended: so a line
/// of the log carries the first four only.
pub(super) fn span(job: &Job) -> Span {
    let attempt = job.attempts.saturating_add(1);
    tracing::error_span!(
        target: target!(), "job",
        id = %job.id, task = %job.task, queue = %job.shard.queue, attempt,
        otel.name = Empty, otel.kind = Empty, otel.status_code = Empty, messaging.queue.outcome = Empty, error.type = Empty,
    )
}

/// Shows the span to whoever ties spans together, before it is entered.
pub(super) fn show(chain: &Chain, run: &Starting<'_>, span: &Span) {
    for one in chain.iter() {
        if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| one.span(run, span))) {
            tracing::warn!(parent: span, panic = panic_text(&*panic), "a middleware panicked when it was shown the span");
            std::mem::forget(panic);
        }
    }
}

pub(super) fn started(task: &str, args: &[u8], redact: Option<&Redact>) {
    if tracing::enabled!(target: target!(), tracing::Level::INFO) {
        let args = redact.map(|redact| redact.text(task, args));
        tracing::info!(target: target!(), event = "task_started", args, "started");
    }
}

/// Says that what a run did counts no more.
pub(super) fn lost() {
    tracing::warn!(target: target!(), event = "task_lost", "lease lost: the job runs elsewhere, this run is dropped");
}

/// Says in the log what became of the run. What was `asked` to stop, and would go on, is cancelled by the storage.
pub(super) fn ended(settlement: &Settlement, took: Duration, asked: bool) {
    let duration_seconds = took.as_secs_f64();
    match settlement {
        Settlement::Complete { .. } => {
            tracing::info!(target: target!(), event = "task_completed", duration_seconds, "completed");
        }
        Settlement::Retry { failure, .. } if asked => tracing::info!(
            target: target!(), event = "task_cancelled", duration_seconds,
            error = %failure, error_type = error_type(failure),
            "cancelled: it failed, having been asked to stop"
        ),
        Settlement::Snooze { .. } | Settlement::Release if asked => tracing::info!(
            target: target!(), event = "task_cancelled", duration_seconds, "cancelled: it was asked to stop"
        ),
        Settlement::Retry { failure, when } => {
            let (retry_in_seconds, retry_at) = told(*when);
            tracing::warn!(
                target: target!(), event = "task_failed", duration_seconds,
                retry_in_seconds, retry_at, error = %failure, error_type = error_type(failure),
                "failed, will retry"
            );
        }
        Settlement::Die { failure, reason, .. } => tracing::error!(
            target: target!(), event = "task_dead", duration_seconds,
            %reason, error = %failure, error_type = error_type(failure),
            "dead"
        ),
        Settlement::Cancel { failure, reason, .. } => {
            let why = failure.as_ref().map(|failure| &*failure.message);
            tracing::info!(target: target!(), event = "task_cancelled", duration_seconds, %reason, why, "cancelled");
        }
        Settlement::Snooze { when, hold } => {
            let (again_in_seconds, again_at) = told(*when);
            let what = if hold.is_some() { "rate limited" } else { "snoozed" };
            tracing::info!(
                target: target!(), event = "task_snoozed", duration_seconds, again_in_seconds, again_at, "{what}"
            );
        }
        _ => tracing::info!(target: target!(), event = "task_released", duration_seconds, "given back"),
    }
}

/// When a job is due again, as programs read it: in so many seconds, or at a moment that its task named.
fn told(when: When) -> (Option<f64>, Option<DisplayValue<Timestamp>>) {
    match when {
        When::Now => (Some(0.0), None),
        When::In(delay) => (Some(delay.as_secs_f64()), None),
        When::At(moment) => (None, Some(display(moment))),
    }
}

/// Tells the span how its run ended; nothing was settled where its lease was lost.
pub(super) fn record(span: &Span, settlement: Option<&Settlement>, asked: bool) {
    if span.is_disabled() {
        return;
    }
    let (outcome, failure) = match settlement {
        None => ("lost", None),
        Some(Settlement::Complete { .. }) => ("ok", None),
        Some(Settlement::Die { failure, .. }) => ("dead", Some(failure)),
        Some(Settlement::Cancel { .. }) => ("cancelled", None),
        Some(_) if asked => ("cancelled", None),
        Some(Settlement::Retry { failure, .. }) => ("retry", Some(failure)),
        Some(Settlement::Snooze { .. }) => ("snoozed", None),
        Some(_) => ("released", None),
    };
    span.record("messaging.queue.outcome", outcome);
    if let Some(failure) = failure {
        span.record("error.type", error_type(failure));
        span.record("otel.status_code", "error");
    }
}

/// Of which sort a failure is: the type of the error, else what happened. There are few of them.
fn error_type(failure: &Failure) -> &str {
    failure.error_type.as_deref().unwrap_or(match failure.kind {
        FailureKind::Panic => "panic",
        FailureKind::Timeout => "timeout",
        FailureKind::Decode => "decode",
        FailureKind::Encode => "encode",
        _ => "error",
    })
}
