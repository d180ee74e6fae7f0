//! Which files there are, the jobs for them, and the table of what came out.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use queue::{BoxError, Client, JobHandle, JobQuery, State, TaskName, WaitError};
use walkdir::WalkDir;

use crate::screen::Screen;
use crate::tasks::{Measures, measure};

/// A file, and when it was last changed, since the epoch.
type Stamped = (PathBuf, Duration);

/// Every file at and below the paths, sorted.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Stamped>, BoxError> {
    let mut found = Vec::new();
    for path in paths {
        if !path.exists() {
            return Err(format!("there is no file or folder {}", path.display()).into());
        }
        for entry in WalkDir::new(path).sort_by_file_name() {
            let entry = entry?;
            if entry.file_type().is_file() {
                let modified = entry.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                found.push((std::path::absolute(entry.path())?, modified));
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// A job for each file.
pub struct Work {
    jobs: Vec<(PathBuf, JobHandle<Measures>)>,
    unnamable: usize,
    taken_up: usize,
    done_before: usize,
}

impl Work {
    /// Takes up the jobs that an earlier run left in the storage, and enqueues the others.
    pub async fn take_up(client: &Client, files: Vec<Stamped>) -> Result<Self, BoxError> {
        let stored = stored_jobs(client).await?;
        let (mut taken_up, mut done_before, mut unnamable) = (0, 0, 0);
        let (mut jobs, mut calls, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for file in files {
            if let Some((id, state)) = stored.get(&file) {
                let done = *state == State::Completed;
                done_before += usize::from(done);
                taken_up += usize::from(!done);
                jobs.push((file.0, client.handle::<measure>(*id).await?));
            } else if file.0.to_str().is_some() {
                calls.push(measure::new(file.0.clone(), file.1));
                waiting.push(file.0);
            } else {
                unnamable += 1;
            }
        }
        let enqueued = client.enqueue_all(calls).await?;
        jobs.extend(waiting.into_iter().zip(enqueued));
        jobs.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { jobs, unnamable, taken_up, done_before })
    }

    pub fn introduction(&self, location: &str) -> String {
        let mut text = format!("{} files, a job for each, in {location}", self.jobs.len());
        if self.done_before > 0 {
            let _ = write!(
                text,
                "\n{} were measured by an earlier run; their results are read from there",
                self.done_before
            );
        }
        if self.taken_up > 0 {
            let _ = write!(text, "\n{} were left by an earlier run and are taken up", self.taken_up);
        }
        if self.unnamable > 0 {
            let _ = write!(text, "\n{} have names that are not UTF-8 and are left out", self.unnamable);
        }
        text
    }

    /// Waits for every job.
    pub async fn results(self, screen: &Screen) -> Result<Results, BoxError> {
        let bar = screen.progress(self.jobs.len() as u64);
        let mut rows = Vec::with_capacity(self.jobs.len());
        for (path, job) in self.jobs {
            let result = loop {
                match job.wait(Duration::from_secs(10)).await {
                    Err(error) if error.is_timeout() => {}
                    result => break result,
                }
            };
            bar.inc(1);
            rows.push((path, result));
        }
        bar.finish_and_clear();
        Ok(Results { rows })
    }
}

/// The jobs of earlier runs by file, but for those that failed: they are tried anew.
async fn stored_jobs(client: &Client) -> Result<HashMap<Stamped, (queue::JobId, State)>, BoxError> {
    let mut query = JobQuery::default();
    query.task = Some(TaskName::new("measure")?);
    let mut stored = HashMap::new();
    loop {
        let page = client.jobs(&query).await?;
        for job in page.jobs.iter().filter(|job| !job.state.is_end() || job.state == State::Completed) {
            let args = client.args_of::<measure>(job)?;
            stored.insert((args.path, args.modified), (job.id, job.state));
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(stored),
        }
    }
}

/// What came out, a row for each file.
pub struct Results {
    rows: Vec<(PathBuf, Result<Measures, WaitError>)>,
}

/// More rows than this are summed up.
const SHOWN: usize = 20;

impl Results {
    pub fn table(&self) -> String {
        let mut text = format!("\n{:>9} {:>9} {:>11}  {:12}  file\n", "lines", "words", "bytes", "sha256");
        for (path, result) in self.rows.iter().take(SHOWN) {
            let _ = match result {
                Ok(m) => {
                    writeln!(text, "{:>9} {:>9} {:>11}  {:.12}  {}", m.lines, m.words, m.bytes, m.sha256, short(path))
                }
                Err(error) => {
                    let why = error.failure().map_or_else(|| error.to_string(), |failure| failure.message.clone());
                    writeln!(text, "{:>9} {:>9} {:>11}  {:12}  {}: {why}", "-", "-", "-", "failed", short(path))
                }
            };
        }
        if self.rows.len() > SHOWN {
            let _ = writeln!(text, "… and {} more", self.rows.len() - SHOWN);
        }
        let measured: Vec<_> = self.rows.iter().filter_map(|(_, result)| result.as_ref().ok()).collect();
        let sum = |of: fn(&Measures) -> u64| measured.iter().map(|m| of(m)).sum::<u64>();
        let _ = write!(
            text,
            "{:>9} {:>9} {:>11}  {} files = {} measured + {} failed",
            sum(|m| m.lines),
            sum(|m| m.words),
            sum(|m| m.bytes),
            self.rows.len(),
            measured.len(),
            self.rows.len() - measured.len()
        );
        text
    }
}

/// The path from here, where it is below here.
fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}
