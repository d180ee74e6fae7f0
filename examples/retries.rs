//! What a task can say of its failure, and how often it is tried: `cargo run --example retries -- [URL]`.
use std::sync::Mutex;
use std::time::Duration;

use queue::{BoxError, Context, Data, EndReason, TaskError, TaskResultExt, Worker, task, tasks};

/// Why a charge fails.
#[derive(Debug)]
enum Declined {
    /// The bank did not answer: worth another try.
    NoAnswer,
    /// The card is stolen: no use.
    Stolen,
}

impl std::fmt::Display for Declined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => "the bank does not answer",
            Self::Stolen => "the card is stolen",
        })
    }
}

impl std::error::Error for Declined {}

fn is_transient(error: &Declined) -> bool {
    matches!(error, Declined::NoAnswer)
}

/// The delays of real life would be `exponential("2s")`: 2, 4, 8, 16, 32 s; here they are a thousand times shorter.
#[task(retries = 5, backoff = exponential("2ms"), jitter = none, retry_if = is_transient)]
async fn charge(card: String, ctx: Context) -> Result<u32, Declined> {
    match (card.as_str(), ctx.attempt()) {
        ("stolen", _) => Err(Declined::Stolen),
        (_, 1..=3) => Err(Declined::NoAnswer),
        (_, attempt) => Ok(attempt),
    }
}

/// How often the report was asked for.
type Asked = Mutex<u32>;

/// Says more than an error: look again later, which burns no attempt; or never.
#[task(retries = 1)]
async fn report(month: String, ctx: Context, asked: Data<Asked>) -> Result<(u32, u32), TaskError> {
    let month: u32 = month.parse().fatal()?; // no retry mends a wrong text
    let times = {
        let mut asked = asked.lock().expect("nobody panics with it");
        *asked += 1;
        *asked
    };
    if times < 3 {
        return Err(TaskError::snooze(Duration::from_millis(5))); // the books are not closed yet
    }
    Ok((month, ctx.attempt()))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("memory:".into());
    let client = queue::connect(&url).await?;
    let worker = Worker::builder(&client).tasks(tasks![charge, report]).data(Asked::default()).build()?;
    let running = tokio::spawn(worker.run());
    let long = Duration::from_secs(20);

    let attempt = charge::new("good").enqueue(&client).await?.wait(long).await?;
    println!("charged at attempt {attempt}, after 2, 4 and 8 ms");
    assert_eq!(attempt, 4);

    let refused = charge::new("stolen").enqueue(&client).await?;
    println!("{}", refused.wait(long).await.expect_err("it is fatal"));
    let dead = client.job(refused.id()).await?.found().expect("a dead letter is kept");
    assert_eq!((dead.attempts, dead.reason), (1, Some(EndReason::Fatal)));

    let (month, attempt) = report::new("11").enqueue(&client).await?.wait(long).await?;
    println!("the report of month {month}: snoozed twice, attempt {attempt}");
    assert_eq!((month, attempt), (11, 1));
    assert!(report::new("November").enqueue(&client).await?.wait(long).await.is_err());

    running.abort();
    Ok(())
}
