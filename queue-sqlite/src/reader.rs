//! The reader: a thread with a connection of its own, so that looking never waits for writing.

use std::time::Duration;

use queue_storage::clock::Clock;
use queue_storage::model::{Namespace, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::sync::Arc;

use crate::connect::Patience;
use crate::error::{Place, Result};
use crate::lane::{Reply, Track};

/// What the reader is sent.
pub(crate) enum Message {
    /// A look.
    Look(Box<dyn FnOnce(&Reader) + Send>),
    /// Nothing comes after this.
    Close,
}

/// The reader's thread.
pub(crate) struct Reader {
    pub(crate) conn: Connection,
    pub(crate) namespace: Namespace,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) place: Place,
    pub(crate) busy_timeout: Duration,
}

/// A snapshot of the file.
#[derive(Debug)]
pub(crate) struct Snapshot<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) namespace: &'c str,
    pub(crate) now: Timestamp,
}

impl Message {
    /// A look at one moment's state of the file.
    pub(crate) fn look<T: Send + 'static>(
        reply: Reply<T>,
        look: impl Fn(&Snapshot<'_>) -> Result<T> + Send + 'static,
    ) -> Self {
        Self::Look(Box::new(move |reader| {
            if reply.is_wanted() {
                let answer = reader.look(look);
                reply.send(answer.map_err(|error| error.at(&reader.place)));
            }
        }))
    }
}

impl Reader {
    /// Serves until it is told to close, or every caller's end is gone.
    pub(crate) fn run(self, track: &Track<Message>) {
        while let Ok(Message::Look(look)) = track.queue.recv() {
            look(&self);
        }
        let _ = self.conn.close();
    }

    fn look<T>(&self, look: impl Fn(&Snapshot<'_>) -> Result<T>) -> Result<T> {
        Patience::new(self.busy_timeout).run(
            &self.place,
            || true,
            || {
                // Dropped at the end, which rolls back: nothing was written.
                let tx = Transaction::new_unchecked(&self.conn, TransactionBehavior::Deferred)?;
                look(&Snapshot { conn: &tx, namespace: self.namespace.as_str(), now: self.clock.now() })
            },
        )
    }
}
