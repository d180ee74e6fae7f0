//! What runs in the background. Whoever enqueues and whoever works share this file.

use std::time::Duration;

use queue::{BoxError, Client, Worker, WorkerBuilder, task, tasks};
use serde::{Deserialize, Serialize};

/// The worker of this application, whichever process it runs in.
pub(crate) fn worker(client: &Client) -> WorkerBuilder {
    Worker::builder(client)
        .tasks(tasks![send_welcome_email, process_payment, report, daily_cleanup])
        .version(env!("CARGO_PKG_VERSION"))
}

/// A welcome that was sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    sent: bool,
    user_id: String,
}

/// Tried four times in all, half a minute to a minute apart.
#[task(retries = 3, backoff = fixed("60s"), timeout = "30s")]
pub(crate) async fn send_welcome_email(user_id: String, email: String) -> Result<Welcome, BoxError> {
    // Addresses are nobody's business who reads the log.
    tracing::info!(user_id, domain = email.rsplit('@').next(), "sending a welcome email");
    Ok(Welcome { sent: true, user_id })
}

/// A payment that went through.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Payment {
    status: String,
    payment_id: String,
}

/// Before emails and reports, which have priority 0. A job may run twice, when its worker dies at its end: so it hands its
/// payment's id to the payment provider, who books each id once.
#[task(priority = 100, retries = 3, timeout = "30s")]
pub(crate) async fn process_payment(payment_id: String, amount: f64) -> Result<Payment, BoxError> {
    tracing::info!(payment_id, amount, "processing a payment");
    Ok(Payment { status: "completed".to_owned(), payment_id })
}

/// Takes as long as it is told.
#[task]
pub(crate) async fn report(seconds: u64) -> Result<String, BoxError> {
    tracing::info!(seconds, "writing a report");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    tracing::info!(seconds, "a report is written");
    Ok(format!("a report of {seconds} s"))
}

/// What a clean-up did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cleanup {
    cleaned: bool,
}

/// Each day at six in the morning, once, however many workers there are.
#[task(cron = "0 6 * * *", retries = 3)]
pub(crate) async fn daily_cleanup() -> Result<Cleanup, BoxError> {
    tracing::info!("running the daily clean-up");
    Ok(Cleanup { cleaned: true })
}
