//! What the log says of a worker and of a job's life.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{Client, Context, TaskError, Worker, task, tasks};

use crate::support::PATIENCE;

#[task(retries = 1, backoff = fixed("1ms"), priority = 5, timeout = "90s", queue = "mail", aliases = ["post"])]
async fn deliver(ctx: Context) -> Result<(), TaskError> {
    tracing::info!("on my way");
    if ctx.attempt() == 1 { Err("the dog bit me".into()) } else { Ok(()) }
}

#[task]
async fn elsewhere() -> Result<(), TaskError> {
    Ok(())
}

#[task]
async fn stranger() -> Result<(), TaskError> {
    Ok(())
}

#[derive(Clone, Default)]
struct Pages(Arc<Mutex<Vec<u8>>>);

impl Write for Pages {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs one job to its end on this thread, and returns what was logged meanwhile.
fn log_of_a_run(level: tracing::Level) -> String {
    let pages = Pages::default();
    let writer = pages.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(level);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    // While there is but one subscriber, whichever thread comes by a line first decides for all whether it is logged; of
    // two each is asked.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = Client::memory();
            let builder = Worker::builder(&client).tasks(tasks![deliver, elsewhere]).queue("mail").concurrency(3);
            let often = elsewhere::new().queue("mail");
            let builder = builder.cron("nightly", "CRON_TZ=Europe/Paris 0 3 * * *", deliver::new());
            let builder = builder.every("often", Duration::from_secs(3_600), often);
            stranger::new().queue("mail").enqueue(&client).await.unwrap();
            let job = deliver::new().enqueue(&client).await.unwrap();
            builder.build().unwrap().run_until(async { job.wait(PATIENCE).await.unwrap() }).await.unwrap();
        });
    });
    let bytes = pages.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_log_tells_the_story() {
    let log = log_of_a_run(tracing::Level::DEBUG);
    for part in [
        "worker starts worker=",
        "storage=memory: queues=mail concurrency=3 lease_seconds=10.0 tasks=2 schedules=2",
        "banner: task known task=deliver queue=mail priority=5 retries=1 timeout_seconds=90.0 also=post\n",
        "banner: task known task=elsewhere queue=default priority=0 retries=0\n",
        "banner: schedule defined schedule=nightly task=deliver queue=mail timing=CRON_TZ=Europe/Paris 0 3 * * * \
         zone=Europe/Paris next=20",
        "banner: schedule defined schedule=often task=elsewhere queue=mail timing=every 1h next=20",
        "this worker does not serve the task's queue: its jobs wait until a worker does; add `.queue(\"default\")`",
        "this worker can't run jobs of this task: they are parked for a worker that can; add it to `.tasks(tasks![…])`",
        "task=stranger queue=mail",
        "task=deliver queue=mail attempt=1}: it::engine::banner: on my way",
        "attempt=1}: queue::job: failed, will retry event=\"task_failed\" duration_seconds=",
        "retry_in_seconds=0.00",
        "error=the dog bit me",
        "attempt=2}: queue::job: completed event=\"task_completed\" duration_seconds=",
        "worker stops: claiming no more running=0 grace=25s",
        "worker stopped worker=",
    ] {
        assert!(log.contains(part), "{part}\nis not in\n{log}");
    }
}

/// Whoever logs warnings alone must learn of which job they are.
#[test]
fn a_failure_names_its_job_at_every_level() {
    let log = log_of_a_run(tracing::Level::WARN);
    let failure = log.lines().find(|line| line.contains("the dog bit me")).unwrap();
    assert!(failure.contains("job{id=") && failure.contains("task=deliver queue=mail attempt=1}"), "{failure}");
    assert!(!log.contains("on my way"), "{log}");
}
