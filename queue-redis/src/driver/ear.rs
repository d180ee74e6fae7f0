//! The connection that receives messages: what it is to hear, and keeping it so.
//!
//! fred calls a SUBSCRIBE done when it has written it, and its own resubscribing ends with its first failure; so both are
//! done here. After a SUBSCRIBE the server is pinged: answers come in order, and so the answer to the ping confirms
//! the subscription. In a cluster each channel is subscribed on the primary that has its slot (SSUBSCRIBE), which does
//! answer. When a slot moves the server ends that subscription by a message that fred drops; so all are subscribed again
//! as soon as a call meets the move, and every now and then, which changes nothing where they still stand.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::{Message, Value};
use tokio::select;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::dial::{Connection, Dialer, stopped};
use crate::error::reason;

/// How often a connection on which nothing happens is asked whether it is still there.
const PULSE: Duration = Duration::from_secs(15);

/// What is to be heard, and what is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) wanted: BTreeSet<String>,
    pub(super) standing: BTreeSet<String>,
    pub(super) closed: bool,
}

pub(super) type OnMessage = Arc<dyn Fn(&str, Bytes) + Send + Sync>;

/// Hears, until the driver stops.
pub(super) struct Ear {
    pub(super) dialer: Dialer,
    pub(super) connection: Connection,
    pub(super) channels: Arc<watch::Sender<Channels>>,
    pub(super) on_message: OnMessage,
    /// Told when a cluster has moved a slot.
    pub(super) moved: Arc<Notify>,
    /// Told when messages may have been missed.
    pub(super) restored: Arc<Notify>,
}

/// A task that ends with what owns it.
struct Owned(JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Ear {
    pub(super) async fn listen(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let why = select! {
                biased;
                () = stopped(&mut stop) => break self.connection.quit().await,
                why = self.hear() => why,
            };
            tracing::warn!(redis = %self.dialer.place, "connection for messages lost: {why}");
            self.connection.cut();
            let served = self.forget();
            let again = select! {
                biased;
                () = stopped(&mut stop) => break,
                connection = self.dialer.redial(!served, |_| ()) => connection,
            };
            self.connection = again;
            tracing::info!(redis = %self.dialer.place, "connected for messages again");
            self.restored.notify_one();
        }
        self.channels.send_modify(|channels| channels.closed = true);
    }

    /// Nothing is heard any more. Whether anything was, or nothing was to be: a connection that never served is not
    /// replaced in haste, as the server may refuse its subscriptions each time.
    fn forget(&self) -> bool {
        let mut served = true;
        self.channels.send_modify(|channels| {
            served = channels.wanted.is_empty() || !channels.standing.is_empty();
            channels.standing.clear();
        });
        served
    }

    /// Serves one connection until it is of no use any more; answers why.
    async fn hear(&mut self) -> String {
        let client = self.connection.client.clone();
        let (on_message, restored) = (Arc::clone(&self.on_message), Arc::clone(&self.restored));
        let _pump = Owned(tokio::spawn(pump(client.message_rx(), on_message, restored)));
        let subscriber = Subscriber {
            client,
            cluster: self.dialer.is_cluster(),
            channels: &self.channels,
            moved: &self.moved,
            restored: &self.restored,
        };
        select! {
            why = self.connection.ended() => why,
            error = subscriber.serve() => reason(&error),
        }
    }
}

/// Hands messages on as they come.
async fn pump(mut messages: Receiver<Message>, on_message: OnMessage, restored: Arc<Notify>) {
    loop {
        match messages.recv().await {
            Ok(message) => on_message(&message.channel, body(message.value)),
            Err(RecvError::Lagged(_)) => restored.notify_one(),
            Err(RecvError::Closed) => return,
        }
    }
}

fn body(value: Value) -> Bytes {
    match value {
        Value::Bytes(bytes) => bytes,
        Value::String(text) => text.into_inner(),
        // Messages are bulk strings; there is nothing else to read.
        _ => Bytes::new(),
    }
}

/// Waits until what is heard is not what is wanted. The lock is let go of before the answer.
async fn unsettled(changes: &mut watch::Receiver<Channels>) -> Channels {
    let now = changes.wait_for(|channels| channels.wanted != channels.standing).await.ok().map(|now| now.clone());
    match now {
        Some(now) => now,
        // The driver was dropped: nothing will change any more.
        None => pending().await,
    }
}

/// Makes what is heard on one connection equal to what is wanted.
struct Subscriber<'a> {
    client: Client,
    cluster: bool,
    channels: &'a watch::Sender<Channels>,
    moved: &'a Notify,
    restored: &'a Notify,
}

impl Subscriber<'_> {
    /// Goes on until the connection fails.
    async fn serve(&self) -> Error {
        let mut changes = self.channels.subscribe();
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pulse.tick().await;
        loop {
            let done = select! {
                now = unsettled(&mut changes) => self.settle(now).await,
                _ = pulse.tick() => self.check().await,
                () = self.moved.notified() => self.check().await,
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    /// Lets go of what is wanted no more, and subscribes to what is.
    async fn settle(&self, now: Channels) -> Result<(), Error> {
        let mut gone = Vec::new();
        // It does not stand from this moment on: whoever wants it again meanwhile waits until it is subscribed anew.
        self.channels.send_if_modified(|channels| {
            gone = channels.standing.difference(&channels.wanted).cloned().collect();
            channels.standing.retain(|channel| channels.wanted.contains(channel));
            !gone.is_empty()
        });
        self.unsubscribe(gone).await?;
        let missing: Vec<_> = now.wanted.difference(&now.standing).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.subscribe(&missing).await?;
        self.channels.send_modify(|channels| channels.standing.extend(missing));
        Ok(())
    }

    /// One channel at a time, as of a cluster each is on a node of its own.
    async fn unsubscribe(&self, channels: Vec<String>) -> Result<(), Error> {
        for channel in channels {
            if self.cluster {
                self.client.sunsubscribe(channel).await?;
            } else {
                self.client.unsubscribe(channel).await?;
            }
        }
        Ok(())
    }

    async fn subscribe(&self, channels: &[String]) -> Result<(), Error> {
        if self.cluster {
            for channel in channels {
                self.subscribe_in_shard(channel).await?;
            }
            return Ok(());
        }
        self.client.subscribe(channels.to_vec()).await?;
        self.client.ping::<()>(None).await
    }

    /// One channel and one call at a time: more answers to one call than one would confuse fred.
    async fn subscribe_in_shard(&self, channel: &str) -> Result<(), Error> {
        if self.client.ssubscribe(channel).await.is_ok() {
            return Ok(());
        }
        // The slot has moved, most likely. By now the client knows where it is, and what was sent meanwhile is lost.
        self.client.ssubscribe(channel).await?;
        self.restored.notify_one();
        Ok(())
    }

    /// Whether the connection still is what it seems.
    async fn check(&self) -> Result<(), Error> {
        if !self.cluster {
            return self.client.ping::<()>(None).await;
        }
        let standing: Vec<_> = self.channels.borrow().standing.iter().cloned().collect();
        self.subscribe(&standing).await
    }
}
