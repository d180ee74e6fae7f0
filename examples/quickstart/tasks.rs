//! The tasks: plain functions.

use std::path::PathBuf;
use std::time::Duration;

use queue::{Context, Data, TaskError, TaskResultExt, task};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What there is to know of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    pub bytes: u64,
    pub lines: u64,
    pub words: u64,
    pub sha256: String,
}

/// How long each file takes longer than it must; handed in by the worker.
pub struct Pause(pub Duration);

/// Reads one file. Not async: it runs on the blocking pool. `modified` is part of the arguments so that a file that has
/// changed since is measured again.
#[task(retries = 2, backoff = fixed("200ms"))]
pub fn measure(path: PathBuf, modified: Duration, pause: Data<Pause>) -> Result<Measures, TaskError> {
    let _ = modified;
    std::thread::sleep(pause.0);
    // Reading again won't help.
    let content = std::fs::read(&path).fatal()?;
    let text = String::from_utf8_lossy(&content);
    Ok(Measures {
        bytes: content.len() as u64,
        lines: text.lines().count() as u64,
        words: text.split_whitespace().count() as u64,
        sha256: Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// Fails at first and succeeds later, to show what that looks like.
#[task(retries = 3, backoff = fixed("300ms"), jitter = none, priority = 10)]
pub async fn moody(ctx: Context) -> Result<String, String> {
    match ctx.attempt() {
        n @ (1 | 2) => Err(format!("attempt {n} fails on purpose")),
        n => Ok(format!("fine at attempt {n}")),
    }
}
