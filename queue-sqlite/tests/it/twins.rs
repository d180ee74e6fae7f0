//! SQLite does what the reference in memory does, whatever is asked of both.
//!
//! Not compared: whether suspects are left where the claim, or the whole queue, was full.

use queue_sqlite::{SqliteOptions, SqliteStorage};
use queue_storage::conformance::{Leeway, Turn, Twin, twins};
use queue_storage::storage::{Exchanged, Storage};
use tempfile::TempDir;

struct SqliteTwin {
    storage: SqliteStorage,
    folder: TempDir,
}

impl Twin for SqliteTwin {
    fn storage(&self) -> &dyn Storage {
        &self.storage
    }

    fn check(&self, _ids_return: bool) {
        crate::books::check(&self.folder.path().join("jobs.db"));
    }

    fn leeway(&self) -> Leeway {
        let mut leeway = Leeway::default();
        (leeway.ties_by_arrival, leeway.forgets_late, leeway.keeps_terms) = (true, true, true);
        leeway
    }

    fn level(&self, turn: &Turn<'_>, answer: &mut Exchanged, expected: &mut Exchanged) {
        // Leases that end at the same time are taken back in any order.
        answer.upkept.sort_unstable();
        expected.upkept.sort_unstable();
        if turn.again || turn.limited || answer.claimed.len() == turn.call.want as usize {
            (answer.suspects_left, expected.suspects_left) = (false, false);
        }
    }
}

#[tokio::test]
async fn sqlite_does_what_memory_does() {
    twins(async |clock| {
        let folder = TempDir::new().unwrap();
        let storage = SqliteOptions::new(folder.path().join("jobs.db")).clock(clock).open().await.unwrap();
        SqliteTwin { storage, folder }
    })
    .await;
}
