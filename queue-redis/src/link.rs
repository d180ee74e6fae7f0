//! The way to a shard: which keys and what comes before the arguments of every script.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use queue_storage::clock::Clock;
use queue_storage::model::Shard;
use queue_storage::storage::StorageError;

use crate::driver::{Driver, Reply, Spread};
use crate::keys::{self, Keys, ShardKeys};
use crate::layout::{self, Layout};
use crate::scripts::Step;

/// Calls about shards.
pub(crate) struct Link {
    driver: Driver,
    pub(crate) keys: Keys,
    layout: Layout,
    /// Stands in for the server's clock, in tests.
    clock: Option<Arc<dyn Clock>>,
    speak: &'static str,
    /// Locked for a look-up or an insertion at a time and never across an await.
    known: Mutex<Known>,
    /// Whether anyone watches any shard, by their last answers: it is asked for each job.
    any_watched: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<Shard, ShardKeys>,
    /// Shards that are in the set of shards, as far as this process knows from one era of the driver.
    listed: HashSet<Shard>,
    /// Those of which the last answer said that someone watches.
    watched: HashSet<Shard>,
    era: u64,
}

/// An answer of a script that is not of the form its header tells.
pub(crate) fn odd(step: Step, what: impl fmt::Debug) -> StorageError {
    StorageError::corrupt(format!(
        "redis: the script {step:?} answered {what:?}: is another program writing to these keys, or a newer version?"
    ))
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(driver: Driver, keys: Keys, layout: Layout, clock: Option<Arc<dyn Clock>>) -> Self {
        let speak = match driver.spread() {
            Spread::Everywhere => "PUBLISH",
            Spread::Shard => "SPUBLISH",
        };
        Self { driver, keys, layout, clock, speak, known: Mutex::default(), any_watched: AtomicBool::new(false) }
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn keys_of(&self, shard: &Shard) -> ShardKeys {
        self.known(|known| match known.keys.get(shard) {
            Some(keys) => keys.clone(),
            None => known.keys.entry(shard.clone()).or_insert_with(|| self.keys.of(shard)).clone(),
        })
    }

    /// What every script gets first, with room for `more`.
    pub(crate) fn args(&self, more: usize) -> Vec<Bytes> {
        let mut args = Vec::with_capacity(2 + more);
        args.push(
            self.clock.as_ref().map_or_else(|| Bytes::from_static(b"0"), |clock| number(clock.now().as_micros())),
        );
        args.push(self.speak.into());
        args
    }

    /// Runs a script on a shard. `args` begin with [`Link::args`].
    pub(crate) async fn call(&self, step: Step, shard: &Shard, args: Vec<Bytes>) -> Result<Reply, StorageError> {
        self.driver.call(step as usize, self.keys_of(shard).all().to_vec(), args).await
    }

    /// The same for a script that answers a list.
    pub(crate) async fn list(&self, step: Step, shard: &Shard, args: Vec<Bytes>) -> Result<Vec<Reply>, StorageError> {
        self.call(step, shard, args).await?.list().ok_or_else(|| odd(step, "no list"))
    }

    /// Sends a message to whoever hears this channel.
    pub(crate) async fn speak(&self, channel: Bytes, message: Bytes) -> Result<(), StorageError> {
        self.driver.command(self.speak, Some(channel.clone()), vec![channel, message]).await.map(drop)
    }

    /// Whether a clock stands in for the server's.
    pub(crate) fn has_own_clock(&self) -> bool {
        self.clock.is_some()
    }

    pub(crate) fn is_watched(&self, shard: &Shard) -> bool {
        self.any_watched.load(Ordering::Acquire) && self.known(|known| known.watched.contains(shard))
    }

    /// An answer has told whether anyone watches.
    pub(crate) fn note_watched(&self, shard: &Shard, is_watched: bool) {
        if !is_watched && !self.any_watched.load(Ordering::Acquire) {
            return;
        }
        self.known(|known| {
            match is_watched {
                true => drop(known.watched.insert(shard.clone())),
                false => drop(known.watched.remove(shard)),
            }
            self.any_watched.store(!known.watched.is_empty(), Ordering::Release);
        });
    }

    /// Writes something small that no shard owns, although memory may be full.
    pub(crate) async fn write(&self, key: Bytes, args: Vec<Bytes>) -> Result<(), StorageError> {
        self.driver.call(Step::Write as usize, vec![key], args).await.map(drop)
    }

    /// Sees to it that a shard is in the set of shards before anything is in the shard, and anew when a connection was
    /// lost, as the set may have been too. So may the layout, and another may have been written meanwhile.
    pub(crate) async fn list_shard(&self, shard: &Shard) -> Result<(), StorageError> {
        let era = self.driver.era();
        if self.known(|known| known.of(era).contains(shard)) {
            return Ok(());
        }
        layout::check(&self.driver, &self.keys, self.layout).await?;
        self.write(self.keys.shards(), vec!["SADD".into(), shard.to_string().into()]).await?;
        // Whoever begins to watch says so before he marks the shards that are listed: one of both sees the other.
        let watch = self.keys.watch();
        if self.driver.command("EXISTS", Some(watch.clone()), vec![watch]).await?.int() == Some(1) {
            self.call(Step::Watch, shard, self.args(0)).await?;
        }
        self.known(|known| (known.era == era).then(|| known.listed.insert(shard.clone())));
        Ok(())
    }

    /// The same for a shard whose first job this is: if it was listed before, the server has lost that.
    pub(crate) async fn list_anew(&self, shard: &Shard) -> Result<(), StorageError> {
        self.known(|known| known.listed.remove(shard));
        self.list_shard(shard).await
    }

    /// Every shard that was ever listed, by name.
    pub(crate) async fn shards(&self) -> Result<Vec<Shard>, StorageError> {
        let key = self.keys.shards();
        let found = self.driver.command("SMEMBERS", Some(key.clone()), vec![key]).await?;
        let mut shards: Vec<_> =
            found.list().unwrap_or_default().iter().filter_map(|one| keys::shard(one.text()?)).collect();
        shards.sort();
        Ok(shards)
    }

    /// The shards that may be the home of an id, as far as this process knows; there may be others.
    pub(crate) fn known_homes(&self, tag: u16) -> Vec<Shard> {
        self.known(|known| known.listed.iter().filter(|shard| shard.tag() == tag).cloned().collect())
    }

    /// The others.
    pub(crate) async fn other_homes(&self, tag: u16, known: &[Shard]) -> Result<Vec<Shard>, StorageError> {
        let all = self.shards().await?.into_iter();
        Ok(all.filter(|shard| shard.tag() == tag && !known.contains(shard)).collect())
    }

    /// When each of these last called, at whatever shard; those that are not known anywhere are absent.
    pub(crate) async fn last_calls(&self, callers: &[Bytes]) -> Result<BTreeMap<Bytes, i64>, StorageError> {
        let mut seen = BTreeMap::new();
        for shard in if callers.is_empty() { Vec::new() } else { self.shards().await? } {
            let key = self.keys_of(&shard).idle();
            let args = std::iter::once(key.clone()).chain(callers.iter().cloned()).collect();
            let scores = self.driver.command("ZMSCORE", Some(key), args).await?.list().unwrap_or_default();
            for (caller, score) in callers.iter().zip(scores) {
                if let Some(at) = score.text().and_then(|text| text.parse::<f64>().ok()) {
                    let last = seen.entry(caller.clone()).or_insert(0);
                    #[expect(clippy::cast_possible_truncation, reason = "scores are whole microseconds below 2^53")]
                    let at = at as i64;
                    *last = at.max(*last);
                }
            }
        }
        Ok(seen)
    }
}

impl Known {
    /// What is listed in this era.
    fn of(&mut self, era: u64) -> &HashSet<Shard> {
        if self.era != era {
            self.listed.clear();
            self.era = era;
        }
        &self.listed
    }
}

/// A number as scripts take it.
pub(crate) fn number(n: impl fmt::Display) -> Bytes {
    n.to_string().into()
}

/// An id as scripts take it.
pub(crate) fn id_bytes(id: u128) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}
