//! Lists of jobs.

use std::collections::HashMap;

use bytes::Bytes;
use queue_storage::model::{EndReason, Job, NewJob, Shard, State, Timestamp};
use queue_storage::storage::{Cursor, JobPage, JobQuery, MAX_PAGE, StorageError};
use rusqlite::{Row, params};

use crate::error::{Error, Result};
use crate::job::cells;
use crate::job::keys::Keys;
use crate::job::more::More;
use crate::job::row;
use crate::operate::shards_where;
use crate::reader::Snapshot;

/// The most records one page looks at.
const MAX_LOOKED_AT: u32 = 10_000;

/// No more than tells whether a job is shown: what does not fit is not read. Its last column is the job's place.
macro_rules! walk {
    ($place:literal, $rest:literal) => {
        concat!(
            "SELECT n, shard, id, task, state, worker, reason, enqueued_at, more, ",
            $place,
            " FROM queue_jobs ",
            $rest
        )
    };
}
pub(crate) const WALK: &str = walk!("n", "WHERE n > ?1 ORDER BY n LIMIT ?2");
pub(crate) const DEAD: &str = walk!(
    "ended_at",
    "WHERE shard = ?1 AND state = 8 AND (ended_at, n) < (?2, ?3) ORDER BY ended_at DESC, n DESC LIMIT ?4"
);

/// A page of jobs.
pub(crate) fn list(look: &Snapshot<'_>, query: &JobQuery) -> Result<JobPage> {
    let shards = shards_where(look, "AND enqueued > 0", [look.namespace])?;
    let shards = shards.into_iter().filter(|(_, shard)| query.queue.as_ref().is_none_or(|queue| *queue == shard.queue));
    let limit = if query.limit == 0 { MAX_PAGE } else { query.limit.min(MAX_PAGE) } as usize;
    let mut pager =
        Pager { look, query, shards: shards.collect(), page: JobPage::default(), limit, left: MAX_LOOKED_AT };
    if query.state == Some(State::Dead) {
        pager.dead()?;
    } else if !pager.shards.is_empty() {
        pager.walk()?;
    }
    Ok(pager.page)
}

struct Pager<'a> {
    look: &'a Snapshot<'a>,
    query: &'a JobQuery,
    shards: HashMap<i64, Shard>,
    page: JobPage,
    limit: usize,
    /// How many records it may still look at.
    left: u32,
}

impl Pager<'_> {
    /// Over all shards in the order of their rows. A row of a job that is taken in comes behind all others and never
    /// moves; that is the order of the contract, and needs no index.
    fn walk(&mut self) -> Result<()> {
        let mut last = self.query.after.as_ref().map_or(Ok(0), |cursor| {
            let n = cursor.0.parse().ok().filter(|n| *n > 0);
            n.ok_or_else(|| no_place(cursor))
        })?;
        let look = self.look;
        let mut statement = look.conn.prepare_cached(WALK)?;
        let mut rows = statement.query(params![last, self.left + 1])?;
        while let Some(found) = rows.next()? {
            if self.is_full() {
                self.page.next = Some(Cursor(last.to_string()));
                break;
            }
            last = found.get(0)?;
            self.show(found)?;
        }
        Ok(())
    }

    /// Dead letters, shard after shard in the order of their rows, within each by their death.
    fn dead(&mut self) -> Result<()> {
        let mut place = self.query.after.as_ref().map(Death::parse).transpose()?;
        let mut shards: Vec<i64> = self.shards.keys().copied().collect();
        shards.sort_unstable();
        let look = self.look;
        let mut statement = look.conn.prepare_cached(DEAD)?;
        for shard in shards {
            if place.is_some_and(|place| shard < place.shard) {
                continue;
            }
            let from = place.filter(|place| place.shard == shard).map_or((i64::MAX, i64::MAX), |p| (p.at, p.n));
            let mut rows = statement.query(params![shard, from.0, from.1, self.left + 1])?;
            while let Some(found) = rows.next()? {
                if self.is_full() {
                    self.page.next = place.map(Death::cursor);
                    return Ok(());
                }
                place = Some(Death { shard, at: found.get(9)?, n: found.get(0)? });
                self.show(found)?;
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.left == 0 || self.page.jobs.len() == self.limit
    }

    /// Puts the job of a row on the page if it is asked for.
    fn show(&mut self, found: &Row<'_>) -> Result<()> {
        self.left -= 1;
        if let Some(shard) = self.shards.get(&found.get(1)?)
            && self.query.fits(&outline(found, shard)?)
        {
            self.page.jobs.extend(row::find(self.look.conn, shard, found.get(0)?)?.map(|stored| stored.job));
        }
        Ok(())
    }
}

/// As much of a job as a query asks about.
fn outline(row: &Row<'_>, shard: &Shard) -> Result<Job> {
    let broken = |_| Error::corrupt("a job's outline can't be read");
    let id = cells::job_id(row.get_ref(2)?.as_blob().map_err(broken)?)?;
    let mut new = NewJob::new(id, cells::task(row.get_ref(3)?.as_str().map_err(broken)?)?, Bytes::new());
    let more = More::read(id, row.get_ref(8)?.as_blob_or_null().map_err(broken)?)?;
    new.tags = more.tags;
    Keys { unique: new.unique, limits: new.limits } = more.keys;
    let mut job = Job::admitted(new, shard.clone(), Timestamp::from_micros(row.get(7)?));
    job.state = cells::state(row.get(4)?)?;
    job.worker = row.get_ref(5)?.as_blob_or_null().map_err(broken)?.map(cells::worker_id).transpose()?;
    job.reason = row.get_ref(6)?.as_str_or_null().map_err(broken)?.map(EndReason::from);
    Ok(job)
}

/// A dead letter behind which a list goes on.
#[derive(Clone, Copy)]
struct Death {
    shard: i64,
    at: i64,
    n: i64,
}

impl Death {
    fn cursor(self) -> Cursor {
        Cursor(format!("{}.{}.{}", self.shard, self.at, self.n))
    }

    fn parse(cursor: &Cursor) -> Result<Self> {
        let mut parts = cursor.0.split('.').map(str::parse);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(shard)), Some(Ok(at)), Some(Ok(n)), None) => Ok(Self { shard, at, n }),
            _ => Err(no_place(cursor)),
        }
    }
}

fn no_place(cursor: &Cursor) -> Error {
    Error::Refused(StorageError::invalid(format!("`{}` is no place in a list of jobs", cursor.0)))
}
