//! Tells a service manager how the worker does: `sd_notify` of systemd.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use queue_core::Readiness;
use tokio_util::task::AbortOnDropHandle;

/// How long the manager has to take a word.
const TELL_PATIENCE: Duration = Duration::from_secs(1);

/// The service manager, if one asked to be told.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: Option<Arc<Socket>>,
    /// Half of the time within which it wants to hear that the process lives.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Nobody.
    pub(crate) fn none() -> Self {
        Self { socket: None, watchdog: None }
    }

    /// From what it has left in the environment.
    ///
    /// # Errors
    /// It asked to be told at a place that can't be reached.
    pub(crate) fn from_env(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let Some(address) = lookup("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Ok(Self::none());
        };
        let number = |name| lookup(name)?.to_str()?.parse::<u64>().ok();
        // A variable that a parent process was given is not meant for its children.
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let micros = number("WATCHDOG_USEC").filter(|micros| mine && *micros > 0);
        let shown = address.to_string_lossy().into_owned();
        match Socket::connect(&address) {
            Ok(socket) => {
                let watchdog = micros.map(|micros| Duration::from_micros(micros / 2));
                Ok(Self { socket: Some(Arc::new(socket)), watchdog })
            }
            Err(error) => Err(format!("NOTIFY_SOCKET is `{shown}`, which can't be reached: {error}")),
        }
    }

    /// Tells what becomes of the worker until it has ended.
    pub(crate) async fn follow(&self, readiness: &Readiness, location: &str) {
        let Some(socket) = &self.socket else { return };
        // A task of its own: if none runs any more on this runtime, nothing is told.
        let barking = self.watchdog.map(|every| tokio::spawn(bark(Arc::clone(socket), every)));
        let _barking = barking.map(AbortOnDropHandle::new);
        socket.tell(&format!("STATUS=connected to {location}, registering")).await;
        if readiness.ready().await {
            socket.tell(&format!("READY=1\nSTATUS=running jobs of {location}")).await;
        }
        readiness.draining().await;
        socket.tell("STOPPING=1\nSTATUS=stopping: claiming no more, running jobs may finish").await;
        readiness.stopped().await;
    }
}

async fn bark(socket: Arc<Socket>, every: Duration) {
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        socket.tell("WATCHDOG=1").await;
    }
}

impl Socket {
    /// A manager that does not read keeps nobody for long.
    async fn tell(&self, state: &str) {
        match tokio::time::timeout(TELL_PATIENCE, self.send(state)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the service manager was not told"),
            Err(_) => tracing::warn!("the service manager does not listen"),
        }
    }
}

#[cfg(unix)]
#[derive(Debug)]
struct Socket(tokio::net::UnixDatagram);

#[cfg(unix)]
impl Socket {
    /// An address that begins with `@` names no file: it is abstract, which only Linux knows.
    fn connect(address: &OsStr) -> io::Result<Self> {
        use std::os::unix::ffi::OsStrExt as _;
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        match address.as_bytes() {
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] => {
                use std::os::linux::net::SocketAddrExt as _;
                socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?;
            }
            _ => socket.connect(std::path::Path::new(address))?,
        }
        tokio::net::UnixDatagram::from_std(socket).map(Self)
    }

    async fn send(&self, state: &str) -> io::Result<()> {
        self.0.send(state.as_bytes()).await.map(|_| ())
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
struct Socket;

#[cfg(not(unix))]
impl Socket {
    fn connect(_: &OsStr) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[expect(clippy::unused_async, reason = "the same shape as on Unix")]
    async fn send(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    fn manager(variables: &[(&str, &str)]) -> Result<Manager, String> {
        Manager::from_env(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[tokio::test]
    async fn an_abstract_address_is_reached() {
        let name = format!("queue-notify-{}", std::process::id());
        let heard = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let manager = manager(&[("NOTIFY_SOCKET", &format!("@{name}"))]).unwrap();
        manager.socket.unwrap().tell("READY=1").await;
        let mut bytes = [0; 16];
        let length = heard.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"READY=1");
    }

    #[tokio::test]
    async fn a_watchdog_is_that_of_this_process_alone() {
        let name = format!("queue-watchdog-{}", std::process::id());
        let _heard = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let (socket, own) = (format!("@{name}"), std::process::id().to_string());
        let every = |variables: &[(&str, &str)]| {
            let socket = ("NOTIFY_SOCKET", socket.as_str());
            manager(&[&[socket], variables].concat()).unwrap().watchdog
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(every(&[]), None);
        assert_eq!(every(&[("WATCHDOG_USEC", "2000000")]), second);
        assert_eq!(every(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", &own)]), second);
        assert_eq!(every(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "1")]), None);
        assert_eq!(every(&[("WATCHDOG_USEC", "0")]), None);
    }

    #[tokio::test]
    async fn an_address_that_nobody_has_is_told() {
        let told = manager(&[("NOTIFY_SOCKET", "/no/such/socket")]).unwrap_err();
        assert!(told.starts_with("NOTIFY_SOCKET is `/no/such/socket`, which can't be reached: "), "{told}");
        assert!(manager(&[("NOTIFY_SOCKET", "")]).unwrap().socket.is_none());
    }
}
