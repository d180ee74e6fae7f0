//! How many at once, how fast, one at a time, over all workers: `cargo run --example limits -- [URL]`.
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use queue::{BoxError, Client, Context, Data, TaskError, Worker, task, tasks};

/// Who runs now, by tenant, and the most that ever did.
#[derive(Default)]
struct Running(Mutex<HashMap<String, (u32, u32)>>);

impl Running {
    fn add(&self, tenant: &str, change: i32) {
        let mut running = self.0.lock().expect("nobody panics with it");
        let (now, most) = running.entry(tenant.to_owned()).or_default();
        *now = now.saturating_add_signed(change);
        *most = (*most).max(*now);
    }
}

/// Two at once for each tenant: the others of that tenant wait, without a worker's slot, and hold nobody up.
#[task(concurrency(2, key = "tenant"))]
async fn export(tenant: String, running: Data<Running>) -> Result<(), std::io::Error> {
    running.add(&tenant, 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.add(&tenant, -1);
    Ok(())
}

/// Twenty a second at most; when the other side says that this is too fast, nobody calls it for a while.
#[task(rate("20/s", burst = 2))]
async fn call_api(number: u32, ctx: Context, asked_to_wait: Data<Mutex<bool>>) -> Result<u32, TaskError> {
    let first = !std::mem::replace(&mut *asked_to_wait.lock().expect("nobody panics with it"), true);
    if first {
        return Err(ctx.rate_limited(Duration::from_millis(300))); // HTTP 429, Retry-After
    }
    Ok(number)
}

/// One at a time of all that name the lock, whatever their task.
#[task(lock = "ledger")]
async fn book(amount: i64, balance: Data<Mutex<i64>>) -> Result<i64, std::io::Error> {
    let before = *balance.lock().expect("nobody panics with it");
    tokio::time::sleep(Duration::from_millis(2)).await; // a race, were it not for the lock
    *balance.lock().expect("nobody panics with it") = before + amount;
    Ok(before + amount)
}

/// Two workers, as if they were on two machines.
fn workers(client: &Client, running: &Data<Running>, balance: &Data<Mutex<i64>>) -> Result<Vec<Worker>, BoxError> {
    let told = Data::new(Mutex::new(false));
    let build = |_| {
        let worker = Worker::builder(client).tasks(tasks![export, call_api, book]).concurrency(16);
        let worker = worker.data_arc(running.clone().into_arc()).data_arc(balance.clone().into_arc());
        Ok(worker.data_arc(told.clone().into_arc()).build()?)
    };
    (0..2).map(build).collect()
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("memory:".into());
    let client = queue::connect(&url).await?;
    let (running, balance) = (Data::new(Running::default()), Data::new(Mutex::new(0)));
    let exports = (0..30).map(|n| export::new(if n < 20 { "acme" } else { "beta" }));
    let exports = client.enqueue_all(exports).await?;
    let calls = client.enqueue_all((0..8).map(call_api::new)).await?;
    let bookings = client.enqueue_all((1..=20).map(book::new)).await?;
    let working: Vec<_> =
        workers(&client, &running, &balance)?.into_iter().map(|worker| tokio::spawn(worker.run())).collect();

    let long = Duration::from_secs(30);
    for job in &exports {
        job.wait(long).await?;
    }
    for job in &calls {
        job.wait(long).await?;
    }
    for job in &bookings {
        job.wait(long).await?;
    }
    for (tenant, (_, most)) in &*running.0.lock().expect("nobody panics with it") {
        println!("{tenant}: never more than {most} at once");
        assert!(*most <= 2);
    }
    println!("the balance is {}", balance.lock().expect("nobody panics with it"));
    assert_eq!(*balance.lock().expect("nobody panics with it"), 210);
    working.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}
