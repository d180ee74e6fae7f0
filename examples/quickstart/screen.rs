//! What the user sees: text on standard output, and on standard error a progress bar that log lines do not tear.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone)]
pub struct Screen {
    bars: MultiProgress,
}

impl Screen {
    pub fn new() -> Self {
        Self { bars: MultiProgress::new() }
    }

    /// Log lines go above the bar. `RUST_LOG` chooses them; default: info, but of runs those that failed.
    pub fn log_to_it(&self) {
        let chosen = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,queue::job=warn"));
        let colours = io::IsTerminal::is_terminal(&io::stderr());
        let log = tracing_subscriber::fmt().with_env_filter(chosen).with_ansi(colours).with_target(false);
        log.without_time().with_writer(self.clone()).init();
    }

    /// A line of output; an error when nobody reads it any more.
    pub fn print(&self, text: &str) -> io::Result<()> {
        self.bars.suspend(|| writeln!(io::stdout(), "{text}"))
    }

    pub fn fail(&self, text: &str, code: ExitCode) -> ExitCode {
        // If standard error is gone too, the exit code has to do.
        let _ = writeln!(io::stderr(), "error: {text}");
        code
    }

    /// A bar, drawn only on a terminal.
    pub fn progress(&self, total: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files  {elapsed}  {msg}");
        let bar = ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let bar = self.bars.add(bar);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
