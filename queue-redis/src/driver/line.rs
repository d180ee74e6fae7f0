//! A connection for calls: kept up, and called on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Resp3Frame, Value};
use fred::util::redis_keyslot;
use queue_storage::storage::StorageError;
use tokio::select;
use tokio::sync::{Notify, mpsc, watch};

use super::dial::{Connection, Dialer, ROOM, stopped};
use super::reply::{NoReply, Reply, read};
use crate::error::{Asked, Place, reason};

/// How the connection is.
#[derive(Clone, Debug)]
enum State {
    Up(Client),
    Down(Arc<str>),
    Closed,
}

/// The callers' end, for use on the driver's runtime.
#[derive(Clone, Debug)]
pub(super) struct Line {
    place: Place,
    timeout: Duration,
    state: watch::Receiver<State>,
    /// Tells the keeper that the connection is of no use any more, and why.
    doubts: mpsc::Sender<&'static str>,
    /// Told when the cluster has moved a slot.
    moved: Arc<Notify>,
}

/// The other end: keeps the connection up until the driver stops.
pub(super) struct Keeper {
    dialer: Dialer,
    connection: Connection,
    state: watch::Sender<State>,
    doubted: mpsc::Receiver<&'static str>,
    restored: Arc<Notify>,
    lost: Arc<AtomicU64>,
}

/// What all connections tell of.
pub(super) struct News {
    /// Each slot that the cluster has moved.
    pub(super) moved: Arc<Notify>,
    /// Each reconnect.
    pub(super) restored: Arc<Notify>,
    /// Rises whenever one is lost, or can't be made again.
    pub(super) lost: Arc<AtomicU64>,
}

/// A script as the server knows it.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) name: &'static str,
    pub(super) source: Bytes,
    pub(super) digest: Bytes,
}

/// Both ends of a connection.
pub(super) fn line(
    dialer: Dialer,
    connection: Connection,
    timeout: Duration,
    News { moved, restored, lost }: News,
) -> (Line, Keeper) {
    let (sender, state) = watch::channel(State::Up(connection.client.clone()));
    // One doubt is as good as many.
    let (doubts, doubted) = mpsc::channel(1);
    let line = Line { place: dialer.place.clone(), timeout, state, doubts, moved };
    (line, Keeper { dialer, connection, state: sender, doubted, restored, lost })
}

impl Line {
    /// Runs a script by its digest, and by its text where the server does not know it, which it then does.
    pub(super) async fn run(&self, script: &Loaded, keys: Vec<Bytes>, args: Vec<Bytes>) -> Result<Reply, StorageError> {
        let asked = Asked::Script(script.name);
        // Of a custom command fred looks at a slot only, not at an offset.
        let slot = redis_keyslot(keys.first().map_or(&[], |key| key));
        let mut sent = Vec::with_capacity(2 + keys.len() + args.len());
        sent.push(Value::Bytes(script.digest.clone()));
        sent.push(Value::Integer(i64::try_from(keys.len()).unwrap_or(i64::MAX)));
        sent.extend(keys.into_iter().chain(args).map(Value::Bytes));
        let command = |name| CustomCommand::new_static(name, ClusterHash::Custom(slot), false);
        match self.ask(command("EVALSHA"), sent.clone()).await? {
            Err(NoReply::Refused(text)) if text.starts_with("NOSCRIPT") => {
                sent[0] = Value::Bytes(script.source.clone());
                let answer = self.ask(command("EVAL"), sent).await?;
                self.judge(asked, answer)
            }
            answer => self.judge(asked, answer),
        }
    }

    /// Runs a plain command. `key` says which node of a cluster to ask, any one if there is none.
    pub(super) async fn command(
        &self,
        name: &'static str,
        key: Option<&[u8]>,
        args: Vec<Bytes>,
    ) -> Result<Reply, StorageError> {
        let hash = key.map_or(ClusterHash::Random, ClusterHash::from);
        let args = args.into_iter().map(Value::Bytes).collect();
        let answer = self.ask(CustomCommand::new_static(name, hash, false), args).await?;
        self.judge(Asked::Command(name), answer)
    }

    fn judge(&self, asked: Asked<'_>, answer: Result<Reply, NoReply>) -> Result<Reply, StorageError> {
        match answer {
            Ok(reply) => Ok(reply),
            Err(NoReply::Refused(text)) => {
                if text.starts_with("READONLY") {
                    self.doubt("the server has become a replica");
                }
                Err(self.place.refused(asked, &text))
            }
            Err(NoReply::Strange(frame)) => Err(self.place.unexpected(asked, frame)),
        }
    }

    /// Asks, and once more when a cluster sends the call elsewhere: then it was not carried out, and the client has learned
    /// meanwhile where the slot is now.
    async fn ask(&self, command: CustomCommand, args: Vec<Value>) -> Result<Result<Reply, NoReply>, StorageError> {
        if let Some(frame) = self.ask_once(command.clone(), args.clone()).await? {
            return Ok(read(frame));
        }
        self.moved.notify_one();
        match self.ask_once(command, args).await? {
            Some(frame) => Ok(read(frame)),
            None => Err(self.place.moving()),
        }
    }

    /// Asks. Nothing comes back when a cluster sent the call elsewhere.
    async fn ask_once(&self, command: CustomCommand, args: Vec<Value>) -> Result<Option<Resp3Frame>, StorageError> {
        let mut state = self.state.clone();
        let client = match &*state.borrow_and_update() {
            State::Up(client) => client.clone(),
            State::Down(why) => return Err(self.place.down(why)),
            State::Closed => return Err(self.place.closed()),
        };
        select! {
            // An answer that is there counts, even if the connection has gone since.
            biased;
            answer = client.custom_raw(command, args) => match answer {
                Ok(frame) => Ok(Some(frame)),
                Err(error) if error.kind() == &ErrorKind::Routing => Ok(None),
                Err(error) => Err(self.unanswered(&error)),
            },
            _ = state.changed() => Err(match &*state.borrow() {
                State::Closed => self.place.closed(),
                State::Down(why) => self.place.lost(why),
                State::Up(_) => self.place.lost("it was replaced"),
            }),
        }
    }

    fn unanswered(&self, error: &Error) -> StorageError {
        match error.kind() {
            ErrorKind::Timeout => {
                self.doubt("the server did not answer in time");
                self.place.slow(self.timeout)
            }
            ErrorKind::Backpressure => self.place.crowded(ROOM),
            _ => self.place.lost(&reason(error)),
        }
    }

    fn doubt(&self, why: &'static str) {
        // Full means that it is doubted already, closed that the driver is.
        let _ = self.doubts.try_send(why);
    }
}

impl Keeper {
    pub(super) async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let why = select! {
                biased;
                () = stopped(&mut stop) => break self.connection.quit().await,
                why = self.connection.ended() => why,
                Some(why) = self.doubted.recv() => why.to_owned(),
            };
            tracing::warn!(redis = %self.dialer.place, "connection lost: {why}");
            self.down(why);
            self.connection.cut();
            let again = select! {
                biased;
                () = stopped(&mut stop) => break,
                connection = self.dialer.redial(false, |why| self.down(why)) => connection,
            };
            self.up(again);
        }
        self.state.send_replace(State::Closed);
    }

    fn down(&self, why: String) {
        // Long before anyone can call again.
        self.lost.fetch_add(1, Ordering::SeqCst);
        self.state.send_replace(State::Down(why.into()));
    }

    fn up(&mut self, connection: Connection) {
        // Doubts about the old connection say nothing about this one.
        while self.doubted.try_recv().is_ok() {}
        self.state.send_replace(State::Up(connection.client.clone()));
        self.connection = connection;
        tracing::info!(redis = %self.dialer.place, "connected again");
        self.restored.notify_one();
    }
}
