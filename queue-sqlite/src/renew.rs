//! Renewals.

use std::collections::HashMap;

use queue_storage::model::{JobId, Progress};
use queue_storage::storage::{Renewal, Renewed};
use rusqlite::params;

use crate::error::{Error, Result};
use crate::job::row;
use crate::job::tx::Tx;
use crate::job::workers::Workers;
use crate::leases;
use crate::ledger::Ledger;

/// Renews leases, each on its own, and writes how far their runs got.
pub(crate) fn renew(tx: &mut Tx<'_>, workers: &mut Workers, call: &Renewal) -> Result<Vec<Renewed>> {
    let Some(worker) = workers.calls(tx, call.worker)? else {
        return Ok(vec![Renewed::Lost; call.leases.len()]);
    };
    let mut shard = Ledger::open(tx.conn, tx.namespace, &call.shard)?;
    leases::note(tx, workers, &mut shard, &worker)?;
    let (until, holder) = ((tx.now + worker.terms.length).as_micros(), row::worker_bytes(worker.id));
    let told: HashMap<JobId, &Progress> = call.progress.iter().map(|(id, progress)| (*id, progress)).collect();
    let mut answer = Vec::with_capacity(call.leases.len());
    for (id, fence) in &call.leases {
        let held = tx
            .conn
            .prepare_cached(
                "UPDATE queue_jobs SET lease_until = ?5, delivered = 1 \
                 WHERE shard = ?1 AND id = ?2 AND state = 3 AND worker = ?3 AND fence = ?4",
            )?
            .execute(params![shard.n, row::id_bytes(*id), holder, fence.0.cast_signed(), until])?;
        if held == 0 {
            answer.push(Renewed::Lost);
            continue;
        }
        if let Some(progress) = told.get(id) {
            tell(tx, &shard, *id, progress)?;
        }
        answer.push(if is_to_stop(tx, &shard, *id)? { Renewed::Stop } else { Renewed::Held });
    }
    tx.finish(&mut shard, false)?;
    Ok(answer)
}

/// Writes how far a run got.
fn tell(tx: &mut Tx<'_>, shard: &Ledger, id: JobId, progress: &Progress) -> Result<()> {
    let progress = Progress::new(progress.done, progress.total, progress.message.as_str());
    let told = rmp_serde::to_vec_named(&progress)
        .map_err(|error| Error::corrupt(format!("the progress of job {id} can't be written: {error}")))?;
    tx.conn.prepare_cached("UPDATE queue_jobs SET progress = ?3 WHERE shard = ?1 AND id = ?2")?.execute(params![
        shard.n,
        row::id_bytes(id),
        told
    ])?;
    tx.hints.progress.push(id);
    Ok(())
}

/// Whether a running job was asked to stop.
fn is_to_stop(tx: &Tx<'_>, shard: &Ledger, id: JobId) -> Result<bool> {
    if shard.stopping == 0 {
        return Ok(false);
    }
    let mut statement =
        tx.conn.prepare_cached("SELECT 1 FROM queue_jobs WHERE shard = ?1 AND id = ?2 AND cancel_keep IS NOT NULL")?;
    Ok(statement.exists(params![shard.n, row::id_bytes(id)])?)
}
