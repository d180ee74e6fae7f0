//! Jobs that come again and again: `cargo run --example periodic -- [URL]`.
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use queue::{
    BoxError, Client, Context, Data, Overlap, Schedule, ScheduleFacts, ScheduleHandle, ScheduleSource, Worker, task,
    tasks,
};

/// What has ticked, and when.
type Ticks = Mutex<HashSet<(String, SystemTime)>>;

/// Says itself how often; its schedule has its name.
#[task(every = "100ms")]
async fn heartbeat(ctx: Context, ticks: Data<Ticks>) -> Result<(), BoxError> {
    note(&ctx, &ticks)
}

/// Has an argument, so whoever wants it says when, and of what.
#[task]
async fn report(of: String, ctx: Context, ticks: Data<Ticks>) -> Result<String, BoxError> {
    note(&ctx, &ticks)?;
    Ok(format!("the report of {of}"))
}

fn note(ctx: &Context, ticks: &Ticks) -> Result<(), BoxError> {
    let schedule = ctx.schedule().ok_or("no schedule made this job")?;
    let tick = ctx.scheduled_for().ok_or("it has no tick")?;
    let new = ticks.lock().expect("nobody panics").insert((schedule.to_owned(), tick));
    if new { Ok(()) } else { Err(format!("{schedule} ticked twice"))? }
}

fn worker(client: &Client, ticks: &Arc<Ticks>) -> Result<Worker, BoxError> {
    let sales = Schedule::new("sales-report", report::new("sales"));
    let sales = sales.every(Duration::from_millis(150)).overlap(Overlap::Skip).max_runs(3);
    let builder = Worker::builder(client).tasks(tasks![heartbeat, report]).schedule(sales);
    Ok(builder.data_arc(Arc::clone(ticks)).build()?)
}

/// What a schedule is, once it is as it should be.
async fn once(schedule: &ScheduleHandle, so: impl Fn(&ScheduleFacts) -> bool) -> Result<ScheduleFacts, BoxError> {
    let look = async {
        loop {
            match schedule.get().await {
                Ok(facts) if so(&facts) => return Ok(facts),
                Err(error) if !error.is_unknown() => return Err(error.into()),
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await?
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("memory:".into());
    let client = queue::connect(&url).await?;

    // Two workers with the same schedules: each tick is one job all the same.
    let ticks = Arc::default();
    let running = [tokio::spawn(worker(&client, &ticks)?.run()), tokio::spawn(worker(&client, &ticks)?.run())];
    let heart = once(&client.schedule("heartbeat"), |facts| facts.runs >= 5).await?;
    println!("{} of {} ticks, {}", heart.name, heart.runs, heart.timing);
    let sales = once(&client.schedule("sales-report"), |facts| facts.next.is_none()).await?;
    assert_eq!(sales.runs, 3, "that is all it may");

    // At run time: put, looked at, changed, paused.
    let acme = Schedule::new("acme-report", report::new("acme")).cron("30 7 * * MON-FRI").tz("Europe/Paris");
    let acme = client.put_schedule(acme).await?;
    let facts = acme.get().await?;
    assert_eq!((facts.source, facts.last), (ScheduleSource::RunTime, None));
    println!("{} ({}):", facts.name, facts.timing);
    let preview = facts.preview(3);
    preview.iter().for_each(|tick| println!("  {tick}"));
    assert!(preview.iter().all(|tick| tick.contains("T07:30:00+0") && tick.ends_with("[Europe/Paris]")));

    acme.edit(|schedule| schedule.every(Duration::from_millis(100))).await?;
    once(&acme, |facts| facts.runs >= 2).await?;
    acme.pause().await?;
    let paused = acme.get().await?;
    assert!(paused.next.is_none() && paused.last <= paused.paused_at);
    let job = client.handle::<report>(acme.run_now().await?).await?;
    println!("in its pause: {}", job.wait(Duration::from_secs(20)).await?);
    assert_eq!(acme.get().await?.runs, paused.runs, "run in between, it is none of its ticks");
    acme.resume().await?;
    once(&acme, |facts| facts.runs > paused.runs).await?;
    assert!(acme.remove().await?);

    assert_eq!(client.counts("default").await?.ended.dead, 0, "no tick came twice");
    running.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}
