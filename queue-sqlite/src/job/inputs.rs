//! What the jobs before a job hand on to it.

use queue_storage::model::{Input, JobId, Node, Shard, State};
use rusqlite::{Connection, params};

use crate::error::{Error, Result};
use crate::job::cells::{self, id_bytes};
use crate::job::more::More;
use crate::job::row;

pub(crate) const INPUT: &str = "SELECT state, result, CASE WHEN state = 5 THEN more END FROM queue_jobs \
    WHERE shard = ?1 AND id = ?2";

/// What each of these jobs of a shard hands on now.
pub(crate) fn of(conn: &Connection, shard: (i64, &Shard), waits_for: &[JobId]) -> Result<Vec<Input>> {
    if waits_for.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = conn.prepare_cached(INPUT)?;
    let mut inputs = Vec::with_capacity(waits_for.len());
    for id in waits_for {
        let mut rows = statement.query(params![shard.0, id_bytes(*id)])?;
        let Some(row) = rows.next()? else {
            inputs.push(Input::Gone);
            continue;
        };
        let state = cells::state(row.get(0)?)?;
        inputs.push(match state {
            State::Completed => {
                let broken = |_| Error::corrupt(format!("job {id}: more"));
                let more = More::read(*id, row.get_ref(2)?.as_blob_or_null().map_err(broken)?)?;
                completed(*id, &more, row.get(1)?)
            }
            state if state.is_end() => row::by_id(conn, shard, *id)?.map_or(Input::Gone, |found| Input::of(&found.job)),
            state => Input::Open(state),
        });
    }
    Ok(inputs)
}

fn completed(id: JobId, more: &More, result: Option<Vec<u8>>) -> Input {
    match (&more.node, result) {
        (Node::Gather { .. }, _) => Input::Gathered(id),
        (_, Some(result)) => Input::Returned(result.into()),
        (_, None) => Input::Nothing,
    }
}
