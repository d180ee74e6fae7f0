//! The layout of the keys: written by the first, checked by all.

use queue_storage::storage::StorageError;

use crate::driver::Driver;
use crate::keys::Keys;

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
pub(crate) async fn check(driver: &Driver, keys: &Keys, ours: Layout, location: &str) -> Result<(), StorageError> {
    let key = keys.layout();
    let set = vec![key.clone(), ours.text().into(), "NX".into(), "GET".into()];
    let Some(found) = driver.command("SET", Some(key.clone()), set).await?.bytes() else { return Ok(()) };
    let text = String::from_utf8_lossy(&found);
    match Layout::read(&text) {
        Some(found) if found.major == ours.major => {
            if found < ours {
                driver.command("SET", Some(key.clone()), vec![key, ours.text().into()]).await?;
            }
            Ok(())
        }
        _ => Err(StorageError::incompatible(format!(
            "{location} has layout {text}, and this program knows layouts {}.*: use the version of this library that \
             wrote it, or another namespace (nothing was changed)",
            ours.major
        ))),
    }
}
