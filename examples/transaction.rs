//! A job that is stored if and only if the application's own transaction commits: no order without its receipt, no
//! receipt without its order.
//!
//! ```text
//! cargo run --example transaction
//! ```

use std::sync::Arc;
use std::time::Duration;

use queue::sqlite::SqliteStorage;
use queue::sqlite::rusqlite::{Connection, TransactionBehavior};
use queue::{BoxError, Client, Worker, task, tasks};

#[task(retries = 3)]
async fn send_receipt(order: u32) -> Result<String, std::io::Error> {
    Ok(format!("receipt for order {order}"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("shop.db");
    let storage = Arc::new(SqliteStorage::open(&path).await?);
    let client = Client::new(storage.clone());
    let mut shop = Connection::open(&path)?;
    shop.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY)", [])?;

    let mut receipts = Vec::new();
    for (order, commits) in [(7, true), (8, false)] {
        let call = send_receipt::new(order);
        receipts.push(call.id());
        let (shard, job) = call.into_job(&client)?;
        let tx = shop.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute("INSERT INTO orders (number) VALUES (?1)", [order])?;
        storage.enqueue_in(&tx, &shard, vec![job])?;
        if commits {
            tx.commit()?;
        } else {
            tx.rollback()?;
        }
    }

    let first = client.handle::<send_receipt>(receipts[0]).await?;
    let worker = Worker::builder(&client).tasks(tasks![send_receipt]).build()?;
    worker
        .run_until(async {
            let sent = first.wait(Duration::from_secs(10)).await.expect("the committed order's receipt is sent");
            assert_eq!(sent, "receipt for order 7");
            println!("{sent}");
        })
        .await?;

    let second = client.handle::<send_receipt>(receipts[1]).await;
    assert!(second.unwrap_err().is_unknown(), "the order that was rolled back has no job");
    println!("no receipt for order 8: its transaction was rolled back");
    Ok(())
}
