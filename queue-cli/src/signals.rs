//! Signals: how often the process was asked to stop.

use std::io;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often it was asked, each time a step further.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Asked once: to stop well.
    pub(crate) stop: CancellationToken,
    /// Asked twice: to stop at once.
    pub(crate) at_once: CancellationToken,
    /// Asked three times.
    pub(crate) gone: CancellationToken,
    _listening: AbortOnDropHandle<()>,
}

impl Signals {
    /// Listens to TERM and INT from now on. Neither ends the process by itself any more.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        let (stop, at_once, gone) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let steps = [stop.clone(), at_once.clone(), gone.clone()];
        let mut asked = Asked::listen()?;
        let listening = async move {
            for step in steps {
                let signal = asked.next().await;
                tracing::info!(signal, "asked to stop");
                step.cancel();
            }
        };
        Ok(Self { stop, at_once, gone, _listening: AbortOnDropHandle::new(tokio::spawn(listening)) })
    }
}

#[cfg(unix)]
struct Asked {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Asked {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "TERM",
            _ = self.interrupt.recv() => "INT",
        }
    }
}

#[cfg(windows)]
struct Asked(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Asked {
    fn listen() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> &'static str {
        self.0.recv().await;
        "ctrl-c"
    }
}
