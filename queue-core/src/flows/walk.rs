//! All jobs of a flow, from the last one back.

use std::collections::{BTreeSet, HashMap};

use futures_util::stream::{self, StreamExt};
use queue_storage::model::{Job, JobId};
use queue_storage::storage::{Lookup, StorageError};

use crate::client::Client;
use crate::flow::named;

/// How many jobs are asked for at once.
const AT_ONCE: usize = 32;

/// The stored jobs of a flow.
pub(super) struct Walk {
    /// Each behind those it waits for; across shards a hold behind its relay, which is behind what it tells of.
    pub(super) jobs: Vec<Job>,
    /// Whom each waits for, as the flow was built: a hold stands for the job it is told of.
    pub(super) before: HashMap<JobId, Vec<JobId>>,
    /// Jobs that handle the end of others.
    pub(super) handlers: BTreeSet<JobId>,
    /// Jobs of the flow that are not stored any more.
    pub(super) gone: BTreeSet<JobId>,
}

impl Walk {
    /// Reads the flow that ends with this job.
    pub(super) async fn read(client: &Client, end: JobId) -> Result<Self, StorageError> {
        let mut walk =
            Self { jobs: Vec::new(), before: HashMap::new(), handlers: BTreeSet::new(), gone: BTreeSet::new() };
        let mut found: HashMap<JobId, Job> = HashMap::new();
        let (mut seen, mut next) = (BTreeSet::from([end]), vec![end]);
        while !next.is_empty() {
            let looks = stream::iter(next).map(async |id| (id, client.storage().get(id).await));
            let looks: Vec<_> = looks.buffer_unordered(AT_ONCE).collect().await;
            next = Vec::new();
            for (id, look) in looks {
                let Lookup::Found(job) = look? else {
                    walk.gone.insert(id);
                    continue;
                };
                let others = walk.note(&job);
                found.insert(id, *job);
                next.extend(others.into_iter().filter(|id| seen.insert(*id)));
            }
        }
        walk.order(end, found);
        Ok(walk)
    }

    /// Notes whom a job waits for, and who handles its end and theirs; all jobs that it names.
    fn note(&mut self, job: &Job) -> Vec<JobId> {
        let (before, handlers) = named(job);
        let all = before.iter().chain(&handlers).copied().collect();
        self.before.insert(job.id, before);
        self.handlers.extend(handlers);
        all
    }

    /// Puts each job behind those it waits for.
    fn order(&mut self, end: JobId, mut found: HashMap<JobId, Job>) {
        let roots: Vec<JobId> = std::iter::once(end).chain(self.handlers.iter().copied()).collect();
        let mut entered = BTreeSet::new();
        for root in roots {
            // A stack of its own: a pipeline may be as long as it likes.
            let mut stack = vec![(root, false)];
            while let Some((id, left)) = stack.pop() {
                if left {
                    self.jobs.extend(found.remove(&id));
                } else if entered.insert(id) {
                    stack.push((id, true));
                    let before = self.before.get(&id).into_iter().flatten().rev();
                    stack.extend(before.filter(|id| !entered.contains(id)).map(|id| (*id, false)));
                }
            }
        }
    }

    /// One of them.
    pub(super) fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    /// Whom a job waits for.
    pub(super) fn before(&self, id: JobId) -> impl Iterator<Item = JobId> + '_ {
        self.before.get(&id).into_iter().flatten().copied()
    }
}
