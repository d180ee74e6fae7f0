//! Download, process, clean up, on real files: `cargo run --example pipeline -- [URL]`.
//!
//! Each step gets what the one before returned. The clean-up runs whatever came of the processing, and somebody is told
//! when it fails.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use queue::{BoxError, Failed, State, TaskError, Worker, task, tasks};

/// What came of a file.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Report {
    rows: usize,
    total: u64,
}

/// Fetches a file; `file:` URLs do here. Not async: it runs on a thread of its own, as does the next.
#[task(retries = 3, timeout = "1m")]
fn download(url: String, into: PathBuf) -> Result<PathBuf, TaskError> {
    let from = url.strip_prefix("file:").ok_or("only file: URLs are fetched here")?;
    let to = into.join(Path::new(from).file_name().ok_or("the URL names no file")?);
    fs::copy(from, &to)?;
    Ok(to)
}

/// Adds up the second column.
#[task]
fn process(file: PathBuf) -> Result<Report, TaskError> {
    let mut report = Report { rows: 0, total: 0 };
    for (line, row) in fs::read_to_string(&file)?.lines().enumerate() {
        let number = row.split(',').nth(1).ok_or_else(|| format!("line {} has no second column", line + 1))?;
        report.total += number.trim().parse::<u64>().map_err(|error| format!("line {}: {error}", line + 1))?;
        report.rows += 1;
    }
    Ok(report)
}

/// Removes the file that was downloaded, however the processing ended.
#[task]
fn clean_up(done: (PathBuf, Result<Report, Failed>)) -> Result<Option<Report>, std::io::Error> {
    let (file, report) = done;
    fs::remove_file(&file)?;
    Ok(report.ok())
}

#[task]
async fn alert(failed: Failed, whom: String) -> Result<String, TaskError> {
    Ok(format!("{whom}: {failed}"))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).unwrap_or("memory:".into());
    let client = queue::connect(&url).await?;
    let worker = Worker::builder(&client).tasks(tasks![download, process, clean_up, alert]).build()?;
    let running = tokio::spawn(worker.run());
    let long = Duration::from_secs(20);

    let dir = std::env::temp_dir().join(format!("queue-pipeline-{}", std::process::id()));
    let (source, scratch) = (dir.join("source"), dir.join("scratch"));
    [&source, &scratch].into_iter().try_for_each(fs::create_dir_all)?;
    fs::write(source.join("good.csv"), "apples,3\npears,4\n")?;
    fs::write(source.join("bad.csv"), "apples,3\npears,four\n")?;

    for (name, expected) in [("good.csv", Some(Report { rows: 2, total: 7 })), ("bad.csv", None)] {
        let file = download::new(format!("file:{}", source.join(name).display()), &*scratch);
        let alarm = alert::after("ops");
        let alarmed = alarm.handle(&client);
        // A clone of a call is the same job: its output goes to both.
        let processed = file.clone().then(process::after()).on_failure(alarm);
        let flow = queue::join((file, processed.settled())).then(clean_up::after()).enqueue(&client).await?;

        let report = flow.wait(long).await?;
        println!("{name}: {report:?}; {}", flow.status().await?);
        assert_eq!(report, expected);
        if report.is_none() {
            println!("  {}", alarmed.wait(long).await?);
            let said = alarmed.result().await?.unwrap_or_default();
            assert!(said.starts_with("ops: job ") && said.ends_with(": line 2: invalid digit found in string"));
            print!("{}", flow.tree().await?);
        } else {
            assert_eq!(alarmed.status().await?.state(), Some(State::Cancelled)); // it was not needed
        }
        assert!(!scratch.join(name).exists(), "cleaned up");
    }
    fs::remove_dir_all(&dir)?;
    running.abort();
    Ok(())
}
