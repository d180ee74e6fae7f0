//! Layers of tower.

use std::time::Duration;

use queue_core::{Client, TaskError, TowerLayer};
use tower::timeout::TimeoutLayer;

use super::{Diary, PATIENCE, Say, worker};

#[tokio::test]
async fn a_layer_stands_around_runs() {
    let (client, diary) = (Client::memory(), Diary::default());
    let jobs = client.enqueue_all(["hm", "hang", "fail"].map(Say::new)).await.unwrap();
    let worker = worker(&client, &diary)
        .middleware(TowerLayer::new(TimeoutLayer::new(Duration::from_millis(20))))
        .before_run(|ctx| async move {
            if ctx.header("stop").is_some() { Err(TaskError::cancel("called off")) } else { Ok(()) }
        });
    let off = Say::new("hm").header("stop", "1").enqueue(&client).await.unwrap();
    worker
        .build()
        .unwrap()
        .run_until(async {
            assert_eq!(jobs[0].wait(PATIENCE).await.unwrap(), "hm");
            for (job, text) in [(&jobs[1], "request timed out"), (&jobs[2], "no")] {
                assert!(job.wait(PATIENCE).await.unwrap_err().is_dead());
                let facts = job.status().await.unwrap().facts().unwrap().clone();
                assert_eq!(facts.failure.unwrap().message, text);
            }
            assert!(off.wait(PATIENCE).await.unwrap_err().is_cancelled(), "a verdict passes through the layer's box");
        })
        .await
        .unwrap();
}
