//! Doing one thing to many jobs: page by page, in batches, with a report.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bytes::Bytes;
use queue_storage::model::{Job, JobId, Shard, State, TaskName, Timestamp};
use queue_storage::storage::{Act, Acted, Edit, MAX_ACT, StorageError};
use serde::Serialize;

use super::edit::JobEdit;
use super::listing::Walk;
use super::select::Selection;
use crate::client::{Client, ClientConfig};
use crate::facts::show;

/// What became of the jobs of a bulk act.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct BulkReport {
    /// How many jobs the selection held.
    pub matched: u64,
    /// To how many it was done.
    pub done: u64,
    /// How many run and were asked to stop.
    pub asked: u64,
    /// How many were in a state in which it can't be done.
    pub refused: u64,
    /// How many were gone by then.
    pub gone: u64,
    /// How many can't have these arguments: an unreadable envelope of a newer program.
    pub unfit: u64,
    /// Those it was done to, by the state they are in now, or were removed in.
    #[serde(serialize_with = "show::by_state")]
    pub done_by_state: BTreeMap<State, u64>,
    /// Those that were refused, by the state that was why.
    #[serde(serialize_with = "show::by_state")]
    pub refused_by_state: BTreeMap<State, u64>,
    /// Why the first of those was refused, where more is known than its state: of a flow that is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl BulkReport {
    pub(crate) fn note(&mut self, acted: Acted) {
        match acted {
            Acted::Done(state) => {
                self.done += 1;
                *self.done_by_state.entry(state).or_default() += 1;
            }
            Acted::Asked => self.asked += 1,
            Acted::Refused(state) => {
                self.refused += 1;
                *self.refused_by_state.entry(state).or_default() += 1;
            }
            _ => self.gone += 1,
        }
    }
}

/// `12 jobs: 9 done, 1 asked to stop, 2 refused (2 running)`
impl fmt::Display for BulkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} job{}: {} done", self.matched, if self.matched == 1 { "" } else { "s" }, self.done)?;
        if self.asked > 0 {
            write!(f, ", {} asked to stop", self.asked)?;
        }
        if self.refused > 0 {
            let by_state: Vec<_> = self.refused_by_state.iter().map(|(state, n)| format!("{n} {state}")).collect();
            write!(f, ", {} refused ({})", self.refused, by_state.join(", "))?;
        }
        for (count, what) in [(self.gone, "gone"), (self.unfit, "unfit for these arguments")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        self.why.as_ref().map_or(Ok(()), |why| write!(f, "; {why}"))
    }
}

/// A bulk act that could not be finished. What was done until then is done; doing it again does the rest.
pub struct BulkError {
    report: BulkReport,
    error: StorageError,
}

impl BulkError {
    pub(crate) fn new(report: BulkReport, error: StorageError) -> Self {
        Self { report, error }
    }

    /// What became of the jobs until then. The last batch is not in it: it may have been done.
    #[must_use]
    pub fn report(&self) -> &BulkReport {
        &self.report
    }

    /// What the storage said.
    #[must_use]
    pub fn storage_error(&self) -> &StorageError {
        &self.error
    }

    /// Whether the storage could not be asked, or its answer was lost.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.error.is_unavailable()
    }

    /// Whether what was asked for can't be: a name that is none, arguments that are none.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.error.is_invalid()
    }
}

impl fmt::Display for BulkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.report.matched {
            0 => self.error.fmt(f),
            _ => write!(f, "stopped after {}: {}", self.report, self.error),
        }
    }
}

impl fmt::Debug for BulkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        queue_storage::debug_as_text("BulkError", self, f)
    }
}

impl std::error::Error for BulkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

/// What is done to each job.
pub(super) enum Deeds {
    /// The same to all.
    Same(Act),
    /// Arguments go into each job's own envelope.
    Each(JobEdit, fn(Edit) -> Act),
}

impl Deeds {
    pub(super) fn edited(edit: JobEdit, act: fn(Edit) -> Act) -> Self {
        if edit.has_arguments() { Self::Each(edit, act) } else { Self::Same(act(edit.common())) }
    }

    /// What to do to the jobs of a page, by shard and, where envelopes differ, by envelope.
    fn of(&self, jobs: &[Job], config: &ClientConfig, report: &mut BulkReport) -> Vec<(Shard, Act, Vec<JobId>)> {
        let mut batches: BTreeMap<(Shard, Option<Bytes>), (Act, Vec<JobId>)> = BTreeMap::new();
        for job in jobs {
            let act = match self {
                Self::Same(act) => Ok((None, act.clone())),
                Self::Each(edit, act) => edit.of(job, config).map(|edit| (edit.envelope.clone(), act(edit))),
            };
            match act {
                Ok((envelope, act)) => {
                    let batch = batches.entry((job.shard.clone(), envelope)).or_insert_with(|| (act, Vec::new()));
                    batch.1.push(job.id);
                }
                Err(_) => report.unfit += 1,
            }
        }
        batches.into_iter().map(|((shard, _), (act, ids))| (shard, act, ids)).collect()
    }
}

/// Does it to every job of a walk.
pub(super) async fn act(
    client: &Client,
    mut walk: Walk,
    deeds: &Deeds,
    tell: impl Fn(&BulkReport),
) -> Result<BulkReport, BulkError> {
    let mut report = BulkReport::default();
    if let Deeds::Each(edit, _) = deeds {
        edit.check(client.config()).map_err(|why| BulkError::new(report.clone(), StorageError::invalid(why)))?;
    }
    loop {
        let page = walk.next_page().await;
        let Some(jobs) = page.map_err(|error| BulkError::new(report.clone(), error))? else {
            client.has_told(Timestamp::MAX).await;
            return Ok(report);
        };
        let known: HashMap<_, _> = jobs.iter().map(|job| (job.id, (job.task.clone(), job.node.is_task()))).collect();
        report.matched += jobs.len() as u64;
        for (shard, act, ids) in deeds.of(&jobs, client.config(), &mut report) {
            for ids in ids.chunks(MAX_ACT) {
                let acted = batch(client, &shard, ids, &act, &known).await;
                let acted = acted.map_err(|error| BulkError::new(report.clone(), error))?;
                acted.into_iter().for_each(|acted| report.note(acted));
            }
        }
        if !jobs.is_empty() {
            tell(&report);
        }
    }
}

async fn batch(
    client: &Client,
    shard: &Shard,
    ids: &[JobId],
    act: &Act,
    known: &HashMap<JobId, (TaskName, bool)>,
) -> Result<Vec<Acted>, StorageError> {
    let expected = client.teller().expect(shard, ids.iter().copied());
    let acted = client.storage().act(shard, ids, act).await?;
    client.tell_acted(shard, (ids, &acted), act, |id| known.get(&id).cloned());
    drop(expected);
    if matches!(act, Act::Revive(_) | Act::Edit(_)) {
        client.run_inline(shard).await?;
    }
    Ok(acted)
}

impl Selection {
    /// Cancels them, as [`Client::cancel`] does; those that run are asked to stop.
    ///
    /// # Errors
    /// [`BulkError`] tells what was done until then.
    ///
    /// # Cancel safety
    /// Dropping the future ends it after some of them.
    pub async fn cancel(&self) -> Result<BulkReport, BulkError> {
        self.act(Deeds::Same(Act::Cancel { keep: self.client.config().keep_cancelled })).await
    }

    /// Removes them, as [`Client::delete`] does; those that run are refused.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    ///
    /// # Cancel safety
    /// As [`cancel`](Self::cancel).
    pub async fn delete(&self) -> Result<BulkReport, BulkError> {
        self.act(Deeds::Same(Act::Delete)).await
    }

    /// Runs them again, as [`Client::revive`] does; those that have not ended are refused.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    ///
    /// # Cancel safety
    /// As [`cancel`](Self::cancel).
    pub async fn revive(&self) -> Result<BulkReport, BulkError> {
        self.revive_with(JobEdit::new()).await
    }

    /// The same, with other arguments, another priority, or for later.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    ///
    /// # Cancel safety
    /// As [`cancel`](Self::cancel).
    pub async fn revive_with(&self, edit: JobEdit) -> Result<BulkReport, BulkError> {
        self.act(Deeds::edited(edit, Act::Revive)).await
    }

    /// Changes them, as [`Client::edit`] does; those that run or have ended are refused.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    ///
    /// # Cancel safety
    /// As [`cancel`](Self::cancel).
    pub async fn edit(&self, edit: JobEdit) -> Result<BulkReport, BulkError> {
        self.act(Deeds::edited(edit, Act::Edit)).await
    }

    async fn act(&self, deeds: Deeds) -> Result<BulkReport, BulkError> {
        let walk = self.walk(MAX_ACT as u32).map_err(|error| BulkError::new(BulkReport::default(), error))?;
        act(&self.client, walk, &deeds, |so_far| self.tell(so_far)).await
    }
}
