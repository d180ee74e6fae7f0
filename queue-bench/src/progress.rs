//! How far a measure is, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

/// How often it is looked at: seldom, so that looking costs nothing that is measured.
const EVERY: Duration = Duration::from_millis(250);

/// A bar on standard error while this lives; nothing where that is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    looking: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows `done()` of `total`.
    pub(crate) fn of(what: &'static str, total: u64, done: impl Fn() -> u64 + Send + 'static) -> Self {
        let bar = ProgressBar::new(total);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of {human_len}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        let looking = (!bar.is_hidden()).then(|| {
            let bar = bar.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(EVERY).await;
                    bar.set_position(done());
                }
            })
        });
        Self { bar, looking }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
        self.bar.finish_and_clear();
    }
}
