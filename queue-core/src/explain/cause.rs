//! What lies beneath: the job that holds up one that waits, and the one for whose end another was cancelled.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt};
use queue_storage::model::{Job, JobId, State};
use queue_storage::storage::{Lookup, StorageError, WorkerRecord};

use super::{Explanation, Why};
use crate::client::Client;
use crate::flow::named;

/// How many jobs are looked up below one that waits, and how many at once.
const MAX_LOOKS: usize = 256;
const AT_ONCE: usize = 32;

/// How many of those that do not wait are asked what keeps them.
const MAX_ASKED: usize = 10;

impl Client {
    /// The job that another one waits for, or was cancelled for, at the end of all edges.
    pub(super) async fn cause(&self, job: &Job, workers: &[WorkerRecord]) -> Result<Option<Explanation>, StorageError> {
        match (job.state, job.culprit.filter(|culprit| *culprit != job.id)) {
            (State::Waiting, _) => self.holds_up(job, workers).await,
            (state, Some(culprit)) if state.is_end() => match self.storage().get(culprit).await? {
                Lookup::Found(culprit) => Ok(Some(self.explained(&culprit, workers).await?)),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Of those at the bottom the first that does not go on by itself, or else the first.
    async fn holds_up(&self, job: &Job, workers: &[WorkerRecord]) -> Result<Option<Explanation>, StorageError> {
        let mut bottom = self.bottom(job).await?;
        bottom.sort_by_key(|job| (job.parked.is_none(), job.state != State::Ready));
        let mut first = None;
        for job in bottom.iter().take(MAX_ASKED) {
            let explained = self.explained(job, workers).await?;
            if explained.why.wants_someone() {
                return Ok(Some(explained));
            }
            first.get_or_insert(explained);
        }
        Ok(first)
    }

    /// The live jobs below this one that wait for no other job, as far as they are looked up.
    async fn bottom(&self, job: &Job) -> Result<Vec<Job>, StorageError> {
        let (mut seen, mut next) = (BTreeSet::from([job.id]), below(job));
        let mut bottom = Vec::new();
        while !next.is_empty() {
            next.retain(|id| seen.len() <= MAX_LOOKS && seen.insert(*id));
            let looks = stream::iter(std::mem::take(&mut next)).map(async |id| self.storage().get(id).await);
            let looks: Vec<_> = looks.buffered(AT_ONCE).collect().await;
            for look in looks {
                let Lookup::Found(job) = look? else { continue };
                let deeper = if job.state == State::Waiting { below(&job) } else { Vec::new() };
                next.extend(&deeper);
                if deeper.is_empty() && !job.state.is_end() {
                    bottom.push(*job);
                }
            }
        }
        Ok(bottom)
    }
}

fn below(job: &Job) -> Vec<JobId> {
    named(job).0
}

impl Why {
    /// Whether nothing changes before someone does something about it.
    fn wants_someone(&self) -> bool {
        matches!(
            self,
            Self::NoWorker
                | Self::UnknownTask { .. }
                | Self::NewerProgram { .. }
                | Self::WorkersPaused { .. }
                | Self::QueuePaused { .. }
                | Self::TaskPaused { .. }
                | Self::NotWhole { .. }
                | Self::OnItsWay { carriers: 0, .. }
                | Self::Running { lost_since: Some(_), .. }
        )
    }
}
