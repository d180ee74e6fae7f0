//! From enqueueing in this process to starting in another, whose worker sleeps.
//!
//! Both processes read the machine's one clock that only rises, so the moments of one can be taken from those of the
//! other.

use std::io::{self, Read, Write};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use queue::BoxError;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;

use super::latency::ASLEEP;
use super::work::Working;
use super::{enqueue, expect};
use crate::clock;
use crate::meter::{Meter, Spent};
use crate::options::{Run, Worker};
use crate::report::Report;
use crate::target::Target;
use crate::tasks::{Runs, noop};
use crate::times::Times;

/// What the worker's process tells, a line each.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// All jobs so far are settled, and the worker sleeps.
    Asleep,
    /// A run started.
    Started(Duration),
    /// What all this took since it first slept, and how often a job ran. The last line.
    Ended { spent: Spent, runs: u64 },
}

/// The measure: enqueues here.
pub(super) async fn latency(run: &Run, target: &Target) -> Result<Report, BoxError> {
    let mut worker = Remote::start(run, target)?;
    let (done, _progress) = enqueue::counted(run);
    let (mut times, payload) = (Times::new()?, "x".repeat(run.payload()));
    worker.sleeps().await?;
    let meter = Meter::start(target)?;
    for _ in 0..run.jobs() {
        // It has just said so: its threads have yet to fall asleep, and so have ours.
        tokio::time::sleep(ASLEEP).await;
        let from = clock::now();
        noop::new(payload.clone()).enqueue(&target.client).await?;
        times.add(worker.starts().await?.saturating_sub(from));
        worker.sleeps().await?;
        done.fetch_add(1, Ordering::Relaxed);
    }
    let here = meter.read(run, target)?;
    let (spent, runs) = worker.end().await?;
    expect("runs", runs, run.jobs())?;
    Ok(here.with_spent(spent).with(&times).without_rate())
}

/// The worker's process.
struct Remote {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Remote {
    fn start(run: &Run, target: &Target) -> Result<Self, BoxError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["worker", "--storage", &target.url, "--concurrency", &run.concurrency().to_string()]);
        // It ends when its standard input does, however we end.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = child.stdout.take().ok_or("the worker's process has no standard output")?;
        Ok(Self { child, said: BufReader::new(said).lines() })
    }

    async fn next(&mut self) -> Result<Said, BoxError> {
        let line = self.said.next_line().await?.ok_or("the worker's process is gone")?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn sleeps(&mut self) -> Result<(), BoxError> {
        match self.next().await? {
            Said::Asleep => Ok(()),
            other => Err(format!("not measured: the worker was to sleep, and says {other:?}").into()),
        }
    }

    async fn starts(&mut self) -> Result<Duration, BoxError> {
        match self.next().await? {
            Said::Started(at) => Ok(at),
            other => Err(format!("not measured: a job was to start, and the worker says {other:?}").into()),
        }
    }

    /// Ends it, and tells what it took.
    async fn end(mut self) -> Result<(Spent, u64), BoxError> {
        drop(self.child.stdin.take());
        match self.next().await? {
            Said::Ended { spent, runs } => {
                let status = self.child.wait().await?;
                if status.success() { Ok((spent, runs)) } else { Err(format!("the worker's process: {status}").into()) }
            }
            other => Err(format!("not measured: the worker was to end, and says {other:?}").into()),
        }
    }
}

/// The worker's process: runs what is enqueued elsewhere until its standard input ends.
pub(crate) async fn serve(options: &Worker) -> Result<(), BoxError> {
    let target = Target::at(&options.storage).await?;
    let (starts, mut started) = mpsc::unbounded_channel();
    let working = Working::start(options.concurrency, &target, Runs::telling(starts))?;
    working.sleeps(&target, ASLEEP).await;
    let meter = Meter::start(&target)?;
    let told = tokio::select! {
        told = tell(&working, &target, &mut started) => told,
        _ = input_ends() => Ok(()),
    };
    let spent = meter.spent(&target);
    let runs = working.runs.seen();
    working.stop().await?;
    target.close().await?;
    told?;
    say(&Said::Ended { spent, runs })
}

/// Tells of each job as it comes; ends with an error only.
async fn tell(working: &Working, target: &Target, started: &mut UnboundedReceiver<Duration>) -> Result<(), BoxError> {
    for job in 1.. {
        say(&Said::Asleep)?;
        say(&Said::Started(started.recv().await.ok_or("the worker is gone")?))?;
        working.settles(target, job).await?;
        working.sleeps(target, ASLEEP).await;
    }
    Ok(())
}

fn say(said: &Said) -> Result<(), BoxError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(said)?)?;
    Ok(out.flush()?)
}

/// Waits on a thread that nobody waits for, since nothing can take a read of standard input back.
fn input_ends() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        // An end it is, whether by an error or not.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    end
}
