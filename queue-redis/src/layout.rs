//! The layout of the keys: written by the first, checked by all.

use bytes::Bytes;
use queue_storage::storage::StorageError;

use crate::driver::{Driver, Reply};
use crate::keys::Keys;
use crate::scripts::Step;

/// A layout, as `major.minor`. Programs of one major work side by side, whatever their minors; another major is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Layout {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// What this program writes.
pub(crate) const LAYOUT: Layout = Layout { major: 1, minor: 0 };

impl Layout {
    fn text(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    fn read(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// Checks the layout of a namespace, and writes it where there is none or an older minor.
pub(crate) async fn check(driver: &Driver, keys: &Keys, ours: Layout) -> Result<(), StorageError> {
    let Some(found) = set(driver, keys, ours, &["NX", "GET"]).await?.bytes() else { return Ok(()) };
    let text = String::from_utf8_lossy(&found);
    match Layout::read(&text) {
        Some(found) if found.major == ours.major => {
            if found < ours {
                set(driver, keys, ours, &[]).await?;
            }
            Ok(())
        }
        _ => Err(StorageError::incompatible(format!(
            "{} has layout {text}, and this program knows layouts {}.*: use the version of this library that \
             wrote it, or another namespace (nothing was changed)",
            driver.location(),
            ours.major
        ))),
    }
}

async fn set(driver: &Driver, keys: &Keys, ours: Layout, more: &[&'static str]) -> Result<Reply, StorageError> {
    let more = more.iter().map(|word| Bytes::from_static(word.as_bytes()));
    let args = [Bytes::from_static(b"SET"), ours.text().into()].into_iter().chain(more).collect();
    driver.call(Step::Write as usize, vec![keys.layout()], args).await
}
