//! The storage that is measured.

use std::sync::Arc;

use queue::{BoxError, Client};
use tempfile::TempDir;

use crate::counting::Counting;

const KNOWN: &str = "use `memory:`, `sqlite://PATH`, or `sqlite:` for a temporary file";

/// The URL, if there is such a storage.
pub(crate) fn known(url: &str) -> Result<String, String> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some("memory" | "sqlite") => Ok(url.to_owned()),
        _ => Err(format!("it names no storage that can be measured; {KNOWN}")),
    }
}

/// A client whose storage is counted.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As it was given.
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) counting: Arc<Counting>,
    /// Removed with the last of its users.
    _folder: Option<Arc<TempDir>>,
}

impl Target {
    pub(crate) async fn open(url: &str) -> Result<Self, BoxError> {
        let (folder, place) = match url {
            "sqlite:" | "sqlite://" => {
                let folder = tempfile::Builder::new().prefix("queue-bench-").tempdir()?;
                let place = format!("sqlite://{}", folder.path().join("jobs.db").display());
                (Some(Arc::new(folder)), place)
            }
            other => (None, other.to_owned()),
        };
        let counting = Arc::new(Counting::new(Arc::clone(queue::connect(&place).await?.storage())));
        let client = Client::new(Arc::<Counting>::clone(&counting));
        Ok(Self { url: url.to_owned(), client, counting, _folder: folder })
    }

    pub(crate) async fn close(&self) {
        self.client.storage().close().await;
    }
}
