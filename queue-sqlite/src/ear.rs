//! What other connections commit, heard by what they leave in the file.
//!
//! Each shard's row holds two numbers: `bell` rises when its workers are to look, `news` when jobs changed. Only when
//! `PRAGMA data_version` says that another connection has committed are they read and compared, so that neighbours who
//! merely look in, as idle workers do, never wake each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use queue_storage::model::{JobId, Shard};
use queue_storage::storage::Hub;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{Error, Result};
use crate::row;
use crate::tx::Hints;

/// The jobs that someone in this process listens for, each with the state it was last seen in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interests {
    /// Locked for an insertion or a removal by those who listen, and for a copy by the writer; never across an await.
    jobs: Arc<Mutex<HashMap<JobId, Interest>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Interest {
    listeners: usize,
    state: Option<i64>,
}

/// Ends the interest of one listener when it is dropped with it.
#[derive(Debug)]
pub(crate) struct Held {
    interests: Interests,
    id: JobId,
}

impl Interests {
    pub(crate) fn add(&self, id: JobId) -> Held {
        self.lock().entry(id).or_default().listeners += 1;
        Held { interests: self.clone(), id }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Interest>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut jobs = self.interests.lock();
        if let Some(interest) = jobs.get_mut(&self.id) {
            interest.listeners -= 1;
            if interest.listeners == 0 {
                jobs.remove(&self.id);
            }
        }
    }
}

/// The writer's ear for what other connections commit.
#[derive(Debug)]
pub(crate) struct Ear {
    hub: Hub,
    interests: Interests,
    /// What `data_version` said last: it changes when another connection has committed, never by our own commits.
    version: i64,
    /// Each shard's bell and news, as far as this process has been told.
    heard: HashMap<i64, (i64, i64)>,
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
        for (shard, bell, news) in &hints.raised {
            let heard = self.heard.entry(*shard).or_default();
            *heard = (heard.0 + i64::from(*bell), heard.1 + i64::from(*news));
        }
        hints.shards.iter().for_each(|shard| self.hub.signal_shard(shard));
        hints.jobs.iter().for_each(|id| self.hub.signal_job(*id));
    }

    /// Tells of what other connections committed since the last look.
    pub(crate) fn look(&mut self, conn: &Connection, namespace: &str) -> Result<()> {
        let version = conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if version == self.version {
            return Ok(());
        }
        let mut statement =
            conn.prepare_cached("SELECT shard, bell, news, queue, idx FROM queue_shards WHERE namespace = ?1")?;
        let mut rows = statement.query([namespace])?;
        let mut news = false;
        while let Some(row) = rows.next()? {
            let now = (row.get(1)?, row.get(2)?);
            let before = self.heard.insert(row.get(0)?, now).unwrap_or_default();
            news |= now.1 != before.1;
            if now.0 != before.0 {
                let queue: String = row.get(3)?;
                let queue = queue.parse().map_err(|error| Error::corrupt(format!("a shard's queue: {error}")))?;
                self.hub.signal_shard(&Shard { queue, index: row.get(4)? });
            }
        }
        drop(rows);
        if news {
            self.look_at_jobs(conn, namespace)?;
        }
        self.version = version;
        Ok(())
    }

    /// Tells who listens for a job whose state is another than when it was last looked at.
    fn look_at_jobs(&self, conn: &Connection, namespace: &str) -> Result<()> {
        let jobs: Vec<_> = self.interests.lock().iter().map(|(id, interest)| (*id, interest.state)).collect();
        let mut statement = conn.prepare_cached(
            "SELECT j.state FROM queue_shards s JOIN queue_jobs j ON j.shard = s.shard AND j.id = ?3 \
             WHERE s.namespace = ?1 AND s.tag = ?2",
        )?;
        for (id, before) in jobs {
            let values = params![namespace, id.home_tag(), row::id_bytes(id)];
            let state = statement.query_row(values, |row| row.get::<_, i64>(0)).optional()?;
            if state != before || state.is_none() {
                self.hub.signal_job(id);
                if let Some(interest) = self.interests.lock().get_mut(&id) {
                    interest.state = state;
                }
            }
        }
        Ok(())
    }
}
