//! What other connections commit, heard by what they leave in the file.
//!
//! Each shard's row holds three numbers: `bell` rises when its workers are to look, `news` when jobs changed or told how
//! far they got, `stops` when running jobs were asked to stop. Only when `PRAGMA data_version` says that another
//! connection has committed are they read and compared, so that neighbours who merely look in, as idle workers do, never
//! wake each other.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use queue_storage::model::{JobId, Progress, Shard, WorkerId};
use queue_storage::storage::{Heard, Hub};
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Error, Result};
use crate::job::cells;
use crate::job::more::More;
use crate::job::tx::{Hints, Raised};

/// What someone in this process listens for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interests {
    /// Locked for an insertion or a removal by those who listen, and for a copy by the writer; never across an await.
    all: Arc<Mutex<All>>,
}

#[derive(Debug, Default)]
struct All {
    jobs: HashMap<JobId, Interest>,
    /// Listeners for stops, by worker and shard.
    stops: HashMap<(WorkerId, Shard), usize>,
}

/// Listeners for a job, and what it was last seen to be.
#[derive(Clone, Debug, Default)]
struct Interest {
    listeners: usize,
    state: Option<i64>,
    progress: Option<Progress>,
}

/// Ends the interest of one listener when it is dropped with it.
#[derive(Debug)]
pub(crate) struct Held {
    interests: Interests,
    what: What,
}

#[derive(Debug)]
enum What {
    Job(JobId),
    Stops((WorkerId, Shard)),
}

impl Interests {
    pub(crate) fn in_job(&self, id: JobId) -> Held {
        self.lock().jobs.entry(id).or_default().listeners += 1;
        Held { interests: self.clone(), what: What::Job(id) }
    }

    pub(crate) fn in_stops(&self, worker: WorkerId, shard: Shard) -> Held {
        *self.lock().stops.entry((worker, shard.clone())).or_default() += 1;
        Held { interests: self.clone(), what: What::Stops((worker, shard)) }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.interests.lock();
        match &self.what {
            What::Job(id) => leave(&mut all.jobs, id, |interest| &mut interest.listeners),
            What::Stops(key) => leave(&mut all.stops, key, |listeners| listeners),
        }
    }
}

/// Counts one listener less; the last one takes the entry along.
fn leave<K: Eq + Hash, V>(all: &mut HashMap<K, V>, key: &K, listeners: impl Fn(&mut V) -> &mut usize) {
    if let Some(left) = all.get_mut(key).map(listeners) {
        *left -= 1;
        if *left == 0 {
            all.remove(key);
        }
    }
}

/// Changes when another connection has committed, never by our own commits.
pub(crate) fn data_version(conn: &Connection) -> Result<i64> {
    Ok(conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

/// The writer's ear for what other connections commit.
#[derive(Debug)]
pub(crate) struct Ear {
    hub: Hub,
    interests: Interests,
    /// What `data_version` said last.
    version: i64,
    /// Each shard's numbers, as far as this process has been told.
    heard: HashMap<i64, Raised>,
}

impl Ear {
    pub(crate) fn new(hub: Hub, interests: Interests) -> Self {
        Self { hub, interests, version: 0, heard: HashMap::new() }
    }

    /// Whether nobody listens.
    pub(crate) fn is_idle(&self) -> bool {
        self.hub.is_idle()
    }

    /// Tells of our own commit, which needs no look at the file.
    pub(crate) fn tell(&mut self, hints: &Hints) {
        for (shard, raised) in &hints.raised {
            let heard = self.heard.entry(*shard).or_default();
            heard.bell += raised.bell;
            heard.news += raised.news;
            heard.stops += raised.stops;
        }
        hints.shards.iter().for_each(|shard| self.hub.signal_shard(shard));
        hints.jobs.iter().for_each(|id| self.hub.signal_job(*id));
        hints.progress.iter().for_each(|id| self.hub.signal_progress(*id));
        hints.stops.iter().for_each(|worker| self.hub.signal_stop(*worker));
        hints.announced.iter().for_each(|news| self.hub.announce(Heard::News(news.clone())));
    }

    /// Tells of what other connections committed since the last look.
    pub(crate) fn look(&mut self, conn: &Connection, namespace: &str) -> Result<()> {
        let version = data_version(conn)?;
        if version == self.version {
            return Ok(());
        }
        let mut statement =
            conn.prepare_cached("SELECT shard, bell, news, stops, queue, idx FROM queue_shards WHERE namespace = ?1")?;
        let mut rows = statement.query([namespace])?;
        let mut news = false;
        while let Some(row) = rows.next()? {
            let now = Raised { bell: row.get(1)?, news: row.get(2)?, stops: row.get(3)? };
            let before = self.heard.insert(row.get(0)?, now).unwrap_or_default();
            news |= now.news != before.news;
            if (now.bell, now.stops) != (before.bell, before.stops) {
                let queue: String = row.get(4)?;
                let queue = queue.parse().map_err(|error| Error::corrupt(format!("a shard's queue: {error}")))?;
                let shard = Shard { queue, index: row.get(5)? };
                if now.bell != before.bell {
                    self.hub.signal_shard(&shard);
                }
                if now.stops != before.stops {
                    self.tell_to_look(&shard);
                }
            }
        }
        drop(rows);
        if news {
            self.look_at_jobs(conn, namespace)?;
        }
        self.version = version;
        Ok(())
    }

    /// Tells the workers of a shard that some run of it is to stop: their renewals tell them which.
    fn tell_to_look(&self, shard: &Shard) {
        let listening = self.interests.lock();
        let here = listening.stops.keys().filter(|(_, listened)| listened == shard);
        here.for_each(|(worker, _)| self.hub.signal_stop(*worker));
    }

    /// Tells who listens for a job that is no more as it was when it was last looked at.
    fn look_at_jobs(&self, conn: &Connection, namespace: &str) -> Result<()> {
        let jobs: Vec<_> = self.interests.lock().jobs.iter().map(|(id, interest)| (*id, interest.clone())).collect();
        let mut statement = conn.prepare_cached(
            "SELECT j.state, j.more FROM queue_shards s JOIN queue_jobs j ON j.shard = s.shard AND j.id = ?3 \
             WHERE s.namespace = ?1 AND s.tag = ?2",
        )?;
        for (id, before) in jobs {
            let values = params![namespace, id.home_tag(), cells::id_bytes(id)];
            let found = statement
                .query_row(values, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?)))
                .optional()?;
            let (state, more) = found.map_or((None, None), |(state, more)| (Some(state), more));
            // What can't be read is told to whoever asks for the job; the others are to hear of theirs.
            let progress = More::read(id, more.as_deref()).ok().and_then(|more| more.progress);
            if state != before.state || state.is_none() {
                self.hub.signal_job(id);
            } else if progress != before.progress {
                self.hub.signal_progress(id);
            } else {
                continue;
            }
            if let Some(interest) = self.interests.lock().jobs.get_mut(&id) {
                (interest.state, interest.progress) = (state, progress);
            }
        }
        Ok(())
    }
}
