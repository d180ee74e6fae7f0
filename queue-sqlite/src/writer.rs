//! The one writer: a thread that groups what is queued into one transaction.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::Duration;

use queue_storage::clock::Clock;
use queue_storage::model::Namespace;
use queue_storage::storage::{StorageError, Watch};
use rusqlite::Connection;

use crate::connect::Patience;
use crate::ear::Ear;
use crate::error::{Error, Place, Result};
use crate::job::tx::{Hints, Tx};
use crate::job::workers::Workers;
use crate::lane::{Reply, Track};
use crate::news::Watches;

/// The most operations in one transaction.
const GROUP: usize = 256;
/// How often other processes' commits are looked for while someone listens.
const LOOK_EVERY: Duration = Duration::from_millis(15);
/// While busy, they are looked for once in so many transactions.
const LOOK_AFTER: u32 = 16;

/// What the writer is sent.
pub(crate) enum Message {
    /// An operation.
    Do(Box<dyn Operation>),
    /// Someone listens: look for other processes' commits from now on.
    Look,
    /// Someone wants to watch.
    Watch(Reply<Watch>),
    /// Nothing comes after this.
    Close,
}

/// An operation with the way back to its caller.
pub(crate) trait Operation: Send {
    fn is_wanted(&self) -> bool;
    /// Does it; whether it is to be committed.
    fn run(&mut self, tx: &mut Tx<'_>, workers: &mut Workers, place: &Place) -> bool;
    /// Answers; `lost` says why nothing was committed.
    fn answer(self: Box<Self>, lost: Option<&dyn Fn() -> StorageError>);
}

/// An operation written as a closure.
struct Call<T, W> {
    work: Option<W>,
    done: Option<Result<T, StorageError>>,
    reply: Reply<T>,
}

impl<T, W> Operation for Call<T, W>
where
    T: Send,
    W: FnOnce(&mut Tx<'_>, &mut Workers) -> Result<T> + Send,
{
    fn is_wanted(&self) -> bool {
        self.reply.is_wanted()
    }

    fn run(&mut self, tx: &mut Tx<'_>, workers: &mut Workers, place: &Place) -> bool {
        let Some(work) = self.work.take() else { return false };
        let done = work(tx, workers).map_err(|error| error.at(place));
        let applied = done.is_ok();
        self.done = Some(done);
        applied
    }

    fn answer(self: Box<Self>, lost: Option<&dyn Fn() -> StorageError>) {
        match (self.done, lost) {
            // Refused on its own account: true whatever became of the others.
            (Some(Err(error)), _) => self.reply.send(Err(error)),
            (_, Some(lost)) => self.reply.send(Err(lost())),
            (Some(done), None) => self.reply.send(done),
            // Dropping the reply tells the caller that the storage is closed.
            (None, None) => {}
        }
    }
}

impl Message {
    /// An operation that does `work`.
    pub(crate) fn work<T: Send + 'static>(
        reply: Reply<T>,
        work: impl FnOnce(&mut Tx<'_>, &mut Workers) -> Result<T> + Send + 'static,
    ) -> Self {
        Self::Do(Box::new(Call { work: Some(work), done: None, reply }))
    }
}

/// The writer's thread.
pub(crate) struct Writer {
    pub(crate) conn: Connection,
    pub(crate) namespace: Namespace,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ear: Ear,
    pub(crate) watches: Watches,
    /// Who wants to watch.
    pub(crate) newcomers: Vec<Reply<Watch>>,
    pub(crate) place: Place,
    pub(crate) busy_timeout: Duration,
    pub(crate) workers: Workers,
}

impl Writer {
    /// Serves until it is told to close, or every caller's end is gone.
    pub(crate) fn run(mut self, track: &Track<Message>) {
        let mut groups = 0_u32;
        loop {
            let (group, closing) = self.gather(track);
            if !group.is_empty() {
                self.serve(group);
                groups = groups.wrapping_add(1);
                if groups.is_multiple_of(LOOK_AFTER) {
                    self.look();
                }
            }
            self.welcome();
            if closing {
                break;
            }
        }
        // Else it ends by itself.
        let _ = self.watches.leave(&self.conn);
        // Copies the WAL back if this was the file's last user; a failure is the next opener's to mend.
        let _ = self.conn.close();
    }

    /// Waits for an operation and takes along what else is queued: no timer, so that a lone call is not kept waiting.
    fn gather(&mut self, track: &Track<Message>) -> (Vec<Box<dyn Operation>>, bool) {
        let mut group = Vec::new();
        let mut next = self.wait(track);
        loop {
            match next {
                Some(Message::Do(operation)) => group.push(operation),
                Some(Message::Look) => {}
                Some(Message::Watch(reply)) => self.newcomers.push(reply),
                Some(Message::Close) | None => return (group, true),
            }
            if group.len() == GROUP {
                return (group, false);
            }
            next = match track.queue.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => return (group, false),
                Err(TryRecvError::Disconnected) => None,
            };
        }
    }

    /// The next message, looking for other processes' commits while someone listens.
    fn wait(&mut self, track: &Track<Message>) -> Option<Message> {
        if let Ok(message) = track.queue.try_recv() {
            return Some(message);
        }
        while !self.ear.is_idle() || !self.watches.is_idle() {
            self.look();
            match track.queue.recv_timeout(LOOK_EVERY) {
                Ok(message) => return Some(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        track.queue.recv().ok()
    }

    fn look(&mut self) {
        // A failure here is met again by the next look, or by a call, which can tell someone.
        let _ = self.ear.look(&self.conn, self.namespace.as_str());
        let _ = self.watches.look(&self.conn, self.namespace.as_str());
        let _ = self.watches.tend(&self.conn, self.namespace.as_str());
    }

    /// Begins the watches that were asked for.
    fn welcome(&mut self) {
        for reply in std::mem::take(&mut self.newcomers) {
            let namespace = self.namespace.as_str();
            let entered = Patience::new(self.busy_timeout).run(
                &self.place,
                || reply.is_wanted(),
                || self.watches.enter(&self.conn, namespace),
            );
            let watch = entered.and_then(|()| self.watches.watch(&self.conn, namespace));
            reply.send(watch.map_err(|error| error.at(&self.place)));
        }
    }

    /// Does a group of operations in one transaction, then tells and answers.
    fn serve(&mut self, mut group: Vec<Box<dyn Operation>>) {
        group.retain(|operation| operation.is_wanted());
        if group.is_empty() {
            return;
        }
        match self.commit(&mut group) {
            Ok(hints) => {
                hints.iter().for_each(|hints| self.ear.tell(hints));
                group.into_iter().for_each(|operation| operation.answer(None));
            }
            Err(error) => {
                // What was learnt from rows that are rolled back may never have been true.
                self.workers = Workers::default();
                let message = match &error {
                    Error::Sql(error) => self.place.explain(error).to_string(),
                    Error::Refused(error) => error.to_string(),
                };
                let lost = || StorageError::unavailable(message.clone());
                group.into_iter().for_each(|operation| operation.answer(Some(&lost)));
            }
        }
    }

    /// Runs the group under the write lock, each operation under a savepoint of its own, and commits.
    fn commit(&mut self, group: &mut [Box<dyn Operation>]) -> Result<Vec<Hints>> {
        // IMMEDIATE: a deferred transaction that reads before it writes is refused at once when another process
        // has written in between, whatever the busy handler would say.
        Patience::new(self.busy_timeout).run(
            &self.place,
            || group.iter().any(|operation| operation.is_wanted()),
            || execute(&self.conn, "BEGIN IMMEDIATE"),
        )?;
        // A failure leaves what was known; no job is to suffer from it.
        let _ = self.watches.ask(&self.conn, self.namespace.as_str());
        let done = self.operate(group).and_then(|hints| {
            execute(&self.conn, if hints.is_empty() { "ROLLBACK" } else { "COMMIT" })?;
            Ok(hints)
        });
        if done.is_err() && !self.conn.is_autocommit() {
            // Best effort: SQLite has rolled back by itself after most errors that bring us here.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        done
    }

    fn operate(&mut self, group: &mut [Box<dyn Operation>]) -> Result<Vec<Hints>> {
        let mut hints = Vec::with_capacity(group.len());
        // One that is alone needs no savepoint: the whole transaction is its own.
        let alone = group.len() == 1;
        for operation in group {
            if !alone {
                execute(&self.conn, "SAVEPOINT operation")?;
            }
            // The time is read here, under the lock that the operation waited for.
            let mut tx = Tx::new(&self.conn, self.namespace.as_str(), self.clock.now());
            let applied = operation.run(&mut tx, &mut self.workers, &self.place);
            let told = tx.hints;
            if self.conn.is_autocommit() {
                let message = format!("{}: SQLite rolled the transaction back", self.place.location());
                return Err(Error::Refused(StorageError::unavailable(message)));
            }
            match (applied, alone) {
                (true, true) => hints.push(told),
                (true, false) => {
                    hints.push(told);
                    execute(&self.conn, "RELEASE operation")?;
                }
                (false, true) => return Ok(hints),
                (false, false) => {
                    self.workers = Workers::default();
                    execute(&self.conn, "ROLLBACK TO operation")?;
                    execute(&self.conn, "RELEASE operation")?;
                }
            }
        }
        Ok(hints)
    }
}

fn execute(conn: &Connection, sql: &str) -> Result<()> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}
