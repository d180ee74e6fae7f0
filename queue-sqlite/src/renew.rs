//! Renewals.

use std::collections::HashMap;

use queue_storage::model::{JobId, Progress};
use queue_storage::storage::{Renewal, Renewed};
use rusqlite::params;

use crate::error::Result;
use crate::job::cells;
use crate::job::more::More;
use crate::job::tx::Tx;
use crate::job::workers::Workers;
use crate::job::write;
use crate::leases;
use crate::ledger::Ledger;

/// Renews leases, each on its own, and writes how far their runs got.
pub(crate) fn renew(tx: &mut Tx<'_>, workers: &mut Workers, call: &Renewal) -> Result<Vec<Renewed>> {
    let Some(worker) = workers.calls(tx, call.worker)? else {
        return Ok(vec![Renewed::Lost; call.leases.len()]);
    };
    let mut shard = Ledger::open(tx.conn, tx.namespace, &call.shard)?;
    leases::note(tx, workers, &mut shard, &worker)?;
    let (until, holder) = ((tx.now + worker.terms.length).as_micros(), cells::worker_bytes(worker.id));
    let told: HashMap<JobId, &Progress> = call.progress.iter().map(|(id, progress)| (*id, progress)).collect();
    let mut answer = Vec::with_capacity(call.leases.len());
    for (id, fence) in &call.leases {
        let held = tx
            .conn
            .prepare_cached(
                "UPDATE queue_jobs SET lease_until = ?5, delivered = 1 \
                 WHERE shard = ?1 AND id = ?2 AND state = 3 AND worker = ?3 AND fence = ?4",
            )?
            .execute(params![shard.n, cells::id_bytes(*id), holder, fence.0.cast_signed(), until])?;
        if held == 0 {
            answer.push(Renewed::Lost);
            continue;
        }
        let told = told.get(id).copied();
        let stop = (told.is_some() || shard.stopping > 0) && look(tx, &shard, *id, told)?;
        answer.push(if stop { Renewed::Stop } else { Renewed::Held });
    }
    tx.finish(&mut shard, false)?;
    Ok(answer)
}

/// Looks at what few jobs have: writes how far a run got, if it told; whether it was asked to stop.
fn look(tx: &mut Tx<'_>, shard: &Ledger, id: JobId, told: Option<&Progress>) -> Result<bool> {
    let (n, more) = tx
        .conn
        .prepare_cached("SELECT n, more FROM queue_jobs WHERE shard = ?1 AND id = ?2")?
        .query_row(params![shard.n, cells::id_bytes(id)], |row| Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?)))?;
    let mut more = More::read(id, more.as_deref())?;
    if let Some(told) = told {
        more.progress = Some(Progress::new(told.done, told.total, told.message.as_str()));
        write::more(tx.conn, n, id, &more)?;
        tx.hints.progress.push(id);
    }
    Ok(more.cancel_keep.is_some())
}
