//! Signals: how often the process was asked to stop.
//!
//! They are heard on a thread of their own, for a runtime that hangs in somebody's job would hear none.

use std::io;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::exit::Exit;

/// How long the runtime has, once it was asked a third time, to end by itself.
const LAST: Duration = Duration::from_millis(500);

/// How often it was asked, each time a step further.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Asked once: to stop well.
    pub(crate) stop: CancellationToken,
    /// Asked twice: to stop at once.
    pub(crate) at_once: CancellationToken,
    /// Asked three times.
    pub(crate) gone: CancellationToken,
    _listening: DropGuard,
}

impl Signals {
    /// Listens to TERM and INT from now on. Neither ends the process by itself any more; asked a third time it is ended
    /// here, if it `is_ours`, where its runtime does not do so.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn listen(is_ours: bool) -> io::Result<Self> {
        let (stop, at_once, gone) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let (steps, left) = ([stop.clone(), at_once.clone(), gone.clone()], CancellationToken::new());
        let listening = left.clone().drop_guard();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let mut asked = Asked::listen()?;
        drop(entered);
        let hearing = async move {
            for step in steps {
                let signal = asked.next().await;
                step.cancel();
                tracing::info!(signal, "asked to stop");
            }
            if is_ours {
                tokio::time::sleep(LAST).await;
                std::process::exit(Exit::AtOnce.code().into());
            }
        };
        let thread = move || {
            runtime.block_on(left.run_until_cancelled(hearing));
        };
        std::thread::Builder::new().name("queue-signals".to_owned()).spawn(thread)?;
        Ok(Self { stop, at_once, gone, _listening: listening })
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
