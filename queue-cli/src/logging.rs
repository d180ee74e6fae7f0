//! Where the log goes, and how much of it.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::options::{Amount, LogFormat, Options};

/// The crates whose debug lines `--verbose` shows.
const OURS: [&str; 6] = ["queue", "queue_core", "queue_cli", "queue_storage", "queue_sqlite", "queue_redis"];

/// Where the log goes.
#[derive(Debug)]
pub(crate) enum Log {
    /// Wherever the program sends it, which has one of its own.
    Own,
    /// To the standard error.
    Stderr(LogFormat),
    File(LogFile),
}

/// What keeps a program from its log: what its variables say is wrong, or the file can't be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogError(Vec<String>);

impl LogError {
    /// All that is wrong, each a sentence.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for LogError {}

/// Installs the log that a worker's program has, for the other parts of an application: the web server that runs from the
/// same binary, say. It goes to the standard error, in colours where that is a terminal, and a reader that goes away or a disk
/// that is full stops nothing.
///
/// | variable | means | default |
/// |---|---|---|
/// | `RUST_LOG` | the level, of all or of each module, as `info,my_app=debug` | `info` |
/// | `QUEUE_LOG_FORMAT` | `text`, or `json` for one object a line | `text` |
/// | `QUEUE_VERBOSE`, `QUEUE_QUIET` | debug for the framework; trouble only | |
/// | `QUEUE_LOGFILE` | a file to append to, which HUP opens anew | none |
/// | `NO_COLOR` | no colours | |
///
/// An empty variable counts as not set, except `NO_COLOR`. A program that has a log already keeps it.
///
/// ```
/// # fn main() -> Result<(), queue_cli::LogError> {
/// queue_cli::log_from_env()?;
/// tracing::info!("as the worker's log");
/// # Ok(()) }
/// ```
///
/// # Errors
/// A variable can't be read, or the file can't be written; or there is a file, and this is called outside a Tokio runtime.
pub fn log_from_env() -> Result<(), LogError> {
    let lookup = |name: &str| std::env::var_os(name);
    let options = Options::log_of_env(lookup).map_err(LogError)?;
    if options.logfile.is_some() && tokio::runtime::Handle::try_current().is_err() {
        let why = "QUEUE_LOGFILE names a log file, and what opens it anew runs on Tokio: call this in a runtime";
        return Err(LogError(vec![why.to_owned()]));
    }
    let log = install(&options, lookup).map_err(|problem| LogError(vec![problem]))?;
    #[cfg(unix)]
    if let Log::File(file) = &log {
        let reopening = file.reopen_on_hangup();
        tokio::spawn(reopening.map_err(|error| LogError(vec![format!("the system gives no signals: {error}")]))?);
    }
    #[cfg(not(unix))]
    drop(log);
    Ok(())
}

/// Installs the log, unless the program has one already: then its settings are no business of the command line.
///
/// # Errors
/// The file can't be written, or `RUST_LOG` can't be read.
pub(crate) fn install(options: &Options, lookup: impl Fn(&str) -> Option<OsString>) -> Result<Log, String> {
    let amount = match options.amount() {
        Amount::Usual if options.check => Amount::Quiet,
        amount => amount,
    };
    let rust_log = lookup("RUST_LOG").map(|value| value.to_string_lossy().into_owned());
    let filter = filter(amount, rust_log.as_deref().unwrap_or_default())?;
    if tracing::dispatcher::has_been_set() {
        if options.logfile.is_some() || options.log_format.is_some() || options.amount() != Amount::Usual {
            tracing::warn!("this program has a log of its own: the options of the log change nothing");
        }
        return Ok(Log::Own);
    }
    let file = options.logfile.as_deref().map(LogFile::open).transpose()?;
    let (writer, coloured) = match &file {
        Some(file) => (BoxMakeWriter::new(file.clone()), false),
        None => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal() && lookup("NO_COLOR").is_none()),
    };
    let (shown, format) = (filter.to_string(), options.log_format.unwrap_or(LogFormat::Text));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(coloured);
    // What can't be written it would tell by `eprintln!`, which panics where that can't be written either.
    let log = log.log_internal_errors(false);
    let installed = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(log.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().flatten_event(true).finish()),
    };
    tracing::debug!(filter = %shown, "the log shows what this filter lets through");
    Ok(match (installed, file) {
        // Only another thread that installs one at the same moment does this.
        (Err(_), _) => Log::Own,
        (Ok(()), Some(file)) => Log::File(file),
        (Ok(()), None) => Log::Stderr(format),
    })
}

/// `--quiet` is quiet; else what `RUST_LOG` says, or info; and with `--verbose` whatever our crates say of jobs.
fn filter(amount: Amount, rust_log: &str) -> Result<EnvFilter, String> {
    if amount == Amount::Quiet {
        return Ok(EnvFilter::default().add_directive(LevelFilter::WARN.into()));
    }
    let said = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let mut filter = said.parse(rust_log).map_err(|error| {
        format!("the variable RUST_LOG is `{rust_log}`: {error}; write a level, or `info,my_app=debug`")
    })?;
    if amount == Amount::Verbose {
        for name in OURS {
            let directive = format!("{name}=debug").parse();
            filter = filter.add_directive(directive.map_err(|error| format!("`{name}` names no crate: {error}"))?);
        }
    }
    Ok(filter)
}

/// A log in a file, which may be opened anew while others write.
#[derive(Clone, Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    fn open(path: &Path) -> Result<Self, String> {
        let file =
            append_to(path).map_err(|error| format!("the log file {} can't be written: {error}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: Arc::new(Mutex::new(file)) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes from now on to what is at the path now: `logrotate` has moved the file away.
    fn reopen(&self) -> io::Result<()> {
        let file = append_to(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(())
    }

    /// Opens the file anew at each HUP, for ever.
    ///
    /// # Errors
    /// The system gives no signals.
    #[cfg(unix)]
    pub(crate) fn reopen_on_hangup(&self) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut hangups, log) = (signal(SignalKind::hangup())?, self.clone());
        Ok(async move {
            while hangups.recv().await.is_some() {
                match log.reopen() {
                    Ok(()) => tracing::info!(path = %log.path.display(), "log file opened anew"),
                    Err(error) => {
                        tracing::error!(path = %log.path.display(), %error, "the log file can't be opened anew: writing to the old one");
                    }
                }
            }
        })
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_is_logged() {
        let shown = |amount, rust_log| filter(amount, rust_log).map(|filter| filter.to_string());
        assert_eq!(shown(Amount::Usual, "").as_deref(), Ok("info"));
        assert_eq!(shown(Amount::Usual, "my_app=trace").as_deref(), Ok("my_app=trace"));
        assert_eq!(shown(Amount::Quiet, "trace").as_deref(), Ok("warn"));
        let verbose = shown(Amount::Verbose, "error").unwrap();
        assert!(verbose.contains("queue_core=debug") && verbose.ends_with("error"), "{verbose}");
        let wrong = shown(Amount::Usual, "my_app=loud").unwrap_err();
        assert!(wrong.starts_with("the variable RUST_LOG is `my_app=loud`: "), "{wrong}");
    }
}
