//! The tasks, and the log of what they do. The tests include this file too: they make calls of the same tasks.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use queue::{BoxError, Context, Data, Missed, Schedule, task};

/// What tasks do to the world: lines in a file that no storage knows of.
#[derive(Debug)]
pub(crate) struct Effects {
    /// Opened to append.
    pub(crate) log: File,
    /// A folder; a gate is opened by a file of its name.
    pub(crate) gates: PathBuf,
    /// What the test calls this process.
    pub(crate) name: String,
}

impl Effects {
    /// One line in one write. All are of 64 bytes, so that none lies across two pages: a kill leaves all of it or nothing.
    pub(crate) fn note(&self, what: &str, job: u64) {
        let line = format!("{what} {job} {} {}", self.name, now().as_micros());
        let line = format!("{line:<63}\n");
        assert_eq!(line.len(), 64, "`{}` is too long a name", self.name);
        (&self.log).write_all(line.as_bytes()).expect("the effect log can be written");
    }

    /// Whether the test has opened the gate of this job, or of this process.
    fn may_end(&self, job: u64) -> bool {
        [job.to_string().as_str(), &self.name].iter().any(|gate| self.gates.join(gate).exists())
    }
}

/// The machine's clock, which all children share with the test.
pub(crate) fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().expect("the clock is past 1970")
}

/// Writes to the log when a run is dropped before its end.
struct Guard<'a> {
    effects: &'a Effects,
    job: u64,
    ended: bool,
}

impl<'a> Guard<'a> {
    fn begin(effects: &'a Effects, job: u64) -> Self {
        effects.note("begin", job);
        Self { effects, job, ended: false }
    }

    fn end(mut self) -> Result<String, Infallible> {
        self.ended = true;
        self.effects.note("end", self.job);
        Ok(self.effects.name.clone())
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.effects.note("drop", self.job);
        }
    }
}

/// Work of some microseconds: before its first effect, between its effects, and after its last. Before and after it
/// keeps its thread, so that a kill finds jobs that are claimed and not begun, and jobs that ended and are not settled.
#[task]
pub(crate) async fn work(job: u64, micros: [u64; 3], effects: Data<Effects>) -> Result<String, Infallible> {
    let [before, within, after] = micros.map(Duration::from_micros);
    std::thread::sleep(before);
    let guard = Guard::begin(&effects, job);
    if !within.is_zero() {
        tokio::time::sleep(within).await;
    }
    let name = guard.end();
    std::thread::sleep(after);
    name
}

/// A member of a flow: its number.
#[task]
pub(crate) async fn leaf(job: u64, effects: Data<Effects>) -> Result<u64, Infallible> {
    Guard::begin(&effects, job).end()?;
    Ok(job)
}

/// One more than the step before.
#[task]
pub(crate) async fn step(before: u64, job: u64, effects: Data<Effects>) -> Result<u64, Infallible> {
    Guard::begin(&effects, job).end()?;
    Ok(before + 1)
}

/// What all members returned, as it came.
#[task]
pub(crate) async fn fold(all: Vec<u64>, job: u64, effects: Data<Effects>) -> Result<Vec<u64>, Infallible> {
    Guard::begin(&effects, job).end()?;
    Ok(all)
}

/// What all groups returned, as it came.
#[task]
pub(crate) async fn folds(all: Vec<Vec<u64>>, job: u64, effects: Data<Effects>) -> Result<Vec<Vec<u64>>, Infallible> {
    Guard::begin(&effects, job).end()?;
    Ok(all)
}

/// Where two ways meet.
#[task]
pub(crate) async fn meet(both: (u64, u64), job: u64, effects: Data<Effects>) -> Result<u64, Infallible> {
    Guard::begin(&effects, job).end()?;
    Ok(both.0 * 1_000 + both.1)
}

/// A tick of the schedule of this number: writes the moment it is of, in milliseconds, where others write their job.
#[task]
pub(crate) async fn tick(of: u64, ctx: Context, effects: Data<Effects>) -> Result<(), BoxError> {
    let moment = ctx.scheduled_for().ok_or("no tick")?.duration_since(SystemTime::UNIX_EPOCH)?;
    effects.note(&format!("tick-{of}"), u64::try_from(moment.as_millis())?);
    Ok(())
}

/// A schedule of such ticks, whose jobs stay stored and have its name as a tag.
pub(crate) fn ticking(of: u64, every: Duration) -> Schedule {
    let name = format!("ticks-{of}");
    let call = tick::new(of).tag(&name).keep(Duration::from_secs(3_600));
    Schedule::new(name, call).every(every).missed(Missed::All(1_000))
}

/// Runs until its gate is opened.
#[task]
pub(crate) async fn hold(job: u64, effects: Data<Effects>) -> Result<String, Infallible> {
    let guard = Guard::begin(&effects, job);
    while !effects.may_end(job) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    guard.end()
}

/// Runs until it is told to stop, and fails then.
#[task(retries = 5)]
pub(crate) async fn heed(job: u64, ctx: Context, effects: Data<Effects>) -> Result<(), String> {
    let _guard = Guard::begin(&effects, job);
    ctx.cancelled().await;
    effects.note("told", job);
    Err("told to stop".into())
}

/// The same as `hold`, without ever giving its thread back: it can't be dropped before its end.
#[task]
pub(crate) async fn cling(job: u64, effects: Data<Effects>) -> Result<String, Infallible> {
    let guard = Guard::begin(&effects, job);
    while !effects.may_end(job) {
        std::thread::sleep(Duration::from_millis(2));
    }
    guard.end()
}

/// Kills its process.
#[task]
pub(crate) async fn poison(job: u64, effects: Data<Effects>) -> Result<String, Infallible> {
    effects.note("begin", job);
    std::process::abort()
}

/// A priority for each job, in no order: one of 64 all over the range, the ends of it and their neighbours among them.
pub(crate) fn mixed_priority(job: u64) -> i32 {
    const ENDS: [i32; 8] = [i32::MIN, i32::MIN + 1, -1, 0, 0, 1, i32::MAX - 1, i32::MAX];
    let mix = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let one = mix(job) as usize % 64;
    ENDS.get(one).copied().unwrap_or_else(|| (mix(one as u64) as u32).cast_signed())
}
