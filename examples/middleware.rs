//! Code around jobs: a log of enqueues, the tenant of whoever enqueues, and a transaction for each job.
//!
//! ```text
//! cargo run --example middleware
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{
    BoxError, Client, Context, Done, FromContext, Middleware, NextEnqueue, NextRun, Outgoing, Stored, TaskError,
    Worker, async_trait, task, tasks,
};

/// A database: balances by tenant. What is written in a transaction is there once it is committed.
#[derive(Clone, Default)]
struct Db(Arc<Mutex<BTreeMap<String, i64>>>);

/// What one job has written so far. Dropped, none of it ever happened.
#[derive(Clone)]
struct Transaction {
    tenant: String,
    written: Arc<Mutex<Vec<i64>>>,
}

tokio::task_local! {
    static TRANSACTION: Transaction;
}

impl FromContext for Transaction {
    fn from_context(_: &Context) -> Result<Self, TaskError> {
        Ok(TRANSACTION.try_with(Clone::clone)?)
    }
}

/// Writes twice, and fails in between where that would overdraw.
#[task]
async fn transfer(amount: i64, #[inject] tx: Transaction) -> Result<(), TaskError> {
    tx.written.lock().unwrap().push(-1);
    if amount > 100 {
        return Err(TaskError::fatal(format!("{} can't pay {amount}", tx.tenant)));
    }
    tx.written.lock().unwrap().push(-amount);
    Ok(())
}

/// Tells which calls are stored.
struct Log;

#[async_trait]
impl Middleware for Log {
    async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
        let stored = next.run(calls).await;
        for call in calls {
            let tenant = call.header("tenant").unwrap_or("nobody");
            println!("{} of {tenant} {}", call.task(), if stored.is_ok() { "is stored" } else { "was refused" });
        }
        stored
    }
}

/// Sends along who enqueues, and refuses to do so for those who have not paid.
struct Tenant(&'static str);

#[async_trait]
impl Middleware for Tenant {
    async fn enqueue(&self, calls: &mut [Outgoing], next: NextEnqueue<'_>) -> Result<Stored, BoxError> {
        calls.iter_mut().for_each(|call| call.set_header("tenant", self.0));
        if self.0 == "mallory" {
            return Err("mallory has not paid".into());
        }
        next.run(calls).await
    }
}

/// Runs each job in a transaction: committed if it succeeds, and forgotten if it fails, panics or is cut off.
struct Transactions(Db);

#[async_trait]
impl Middleware for Transactions {
    async fn run(&self, ctx: &Context, next: NextRun) -> Result<Done, TaskError> {
        let tenant = ctx.header("tenant").ok_or_else(|| TaskError::fatal("whose job is this?"))?.to_owned();
        let tx = Transaction { tenant, written: Arc::default() };
        let done = TRANSACTION.scope(tx.clone(), next.run()).await?;
        *self.0.0.lock().unwrap().entry(tx.tenant).or_default() += tx.written.lock().unwrap().iter().sum::<i64>();
        Ok(done)
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let client = Client::memory().with_middleware(Log);
    let mut jobs = Vec::new();
    for (tenant, amount) in [("ann", 30), ("ann", 200), ("bob", 5)] {
        jobs.push(transfer::new(amount).enqueue(&client.with_middleware(Tenant(tenant))).await?);
    }
    let refused = transfer::new(1).enqueue(&client.with_middleware(Tenant("mallory"))).await.unwrap_err();
    println!("{refused}");
    assert!(refused.is_refused());

    let db = Db::default();
    let worker = Worker::builder(&client)
        .tasks(tasks![transfer])
        .middleware(Transactions(db.clone()))
        .on_stop(|worker| async move {
            println!("{} jobs have ended", worker.client().counts("default").await?.ended.completed);
            Ok(())
        })
        .build()?;
    worker
        .run_until(async {
            for job in &jobs {
                if let Err(error) = job.wait(Duration::from_secs(10)).await {
                    println!("{error}");
                }
            }
        })
        .await?;

    let balances = db.0.lock().unwrap().clone();
    println!("{balances:?}");
    assert_eq!(balances, BTreeMap::from([("ann".to_owned(), -31), ("bob".to_owned(), -6)]));
    Ok(())
}
