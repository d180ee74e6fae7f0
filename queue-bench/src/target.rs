//! The storage that is measured.

use std::sync::Arc;

use queue::{BoxError, Client};
use queue_servers::Redis;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::counting::Counting;
use crate::probe::Probe;

const KNOWN: &str = "use `memory:`; `sqlite://PATH`, or `sqlite:` for a temporary file; `redis-server:` for a server of \
                     our own, `redis-server:aof` for one that writes every command to disk, or `redis://HOST:PORT`";

/// What a namespace for one run begins with.
const NAMESPACE: &str = "bench-";

/// The URL, if there is such a storage.
pub(crate) fn known(url: &str) -> Result<String, String> {
    let (scheme, rest) = url.split_once(':').unwrap_or_default();
    match (scheme, rest) {
        ("memory" | "sqlite", _) | ("redis-server", "" | "aof") => Ok(url.to_owned()),
        ("redis-server", _) => Err(format!("a server of our own is `redis-server:` or `redis-server:aof`; {KNOWN}")),
        // Which of them there are is for `queue::connect` to say.
        (scheme, _) if is_redis(scheme) => match rest.contains("namespace=") {
            false => Ok(url.to_owned()),
            true => Err("each run on a server that is there makes a namespace of its own: name none".to_owned()),
        },
        _ => Err(format!("it names no storage that can be measured; {KNOWN}")),
    }
}

fn is_redis(scheme: &str) -> bool {
    scheme.starts_with("redis") || scheme.starts_with("valkey")
}

/// A client whose storage is counted.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As it was given, without a password.
    pub(crate) told: String,
    /// Where it is: what another process connects to.
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) counting: Arc<Counting>,
    /// Of a server that can be looked at.
    pub(crate) probe: Option<Arc<Probe>>,
    /// The namespace that this run made on a server that is not ours.
    guest: Option<String>,
    _place: Option<Arc<Place>>,
}

/// What ends with the last user of a target.
#[derive(Debug)]
enum Place {
    Folder { _folder: TempDir },
    Server { _server: Redis },
}

impl Target {
    /// Opens a storage as the command line names it; of a server of our own, slow commands may be looked at.
    pub(crate) async fn open(told: &str, slow: bool) -> Result<Self, BoxError> {
        let mut guest = None;
        let (place, url) = match told {
            "sqlite:" | "sqlite://" => {
                let folder = tempfile::Builder::new().prefix("queue-bench-").tempdir()?;
                let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
                (Some(Place::Folder { _folder: folder }), url)
            }
            "redis-server:" => own(&[]).await?,
            "redis-server:aof" => own(&["--appendonly", "yes", "--appendfsync", "always"]).await?,
            other if other.split_once(':').is_some_and(|(scheme, _)| is_redis(scheme)) => {
                let namespace = guest.insert(format!("{NAMESPACE}{:016x}", fastrand::u64(..)));
                (None, namespaced(other, namespace))
            }
            other => (None, other.to_owned()),
        };
        // Only of one plain server we know that what it counts is ours.
        let probe = match url.starts_with("redis://") || url.starts_with("valkey://") {
            true if slow => Some(Probe::at(&url)?.with_slow()?),
            true => Some(Probe::at(&url)?),
            false => None,
        };
        let target = Self::at(&url).await?;
        let told = if guest.is_some() { target.client.location() } else { told.to_owned() };
        Ok(Self { told, probe: probe.map(Arc::new), guest, _place: place.map(Arc::new), ..target })
    }

    /// Connects to what another process has opened.
    pub(crate) async fn at(url: &str) -> Result<Self, BoxError> {
        let connected = queue::connect(url).await?;
        let counting = Arc::new(Counting::new(Arc::clone(connected.storage())));
        let client = Client::new(Arc::<Counting>::clone(&counting));
        let (told, url) = (url.to_owned(), url.to_owned());
        Ok(Self { told, url, client, counting, probe: None, guest: None, _place: None })
    }

    /// Closes it, and removes what this run left on a server that is not ours.
    pub(crate) async fn close(&self) -> Result<(), BoxError> {
        self.client.storage().close().await;
        match (&self.probe, &self.guest) {
            (Some(probe), Some(namespace)) => probe.remove(namespace),
            _ => Ok(()),
        }
    }
}

/// Starts a server.
async fn own(args: &'static [&'static str]) -> Result<(Option<Place>, String), BoxError> {
    let server = spawn_blocking(move || Redis::start_with(args)).await?;
    let url = server.url();
    Ok((Some(Place::Server { _server: server }), url))
}

fn namespaced(url: &str, namespace: &str) -> String {
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}namespace={namespace}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_on_a_server_has_a_namespace() {
        assert_eq!(namespaced("redis://h/1", "bench-7"), "redis://h/1?namespace=bench-7");
        assert_eq!(namespaced("redis://h?x=1", "bench-7"), "redis://h?x=1&namespace=bench-7");
        assert!(known("redis://h?namespace=shop").unwrap_err().contains("name none"));
        assert!(known("redis-server://h").unwrap_err().contains("redis-server:aof"));
    }
}
