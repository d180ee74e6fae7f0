//! Stored jobs, seen from outside: plain data for people, programs and pages.

mod dead;
pub(crate) mod show;
pub(crate) mod words;

use std::time::SystemTime;

use queue_storage::model::{
    Attempt, AttemptEnd, EndReason, Failure, Job, JobId, Node, Parked, Progress, State, Timestamp, Trigger, WorkerId,
};
use serde::Serialize;

pub use dead::DeadLetter;

/// A stored job, seen from outside.
///
/// Serialised, words and ids are texts and moments are RFC 3339 in UTC, to the millisecond.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct JobFacts {
    /// Its id.
    #[serde(serialize_with = "show::text")]
    pub id: JobId,
    /// Where it is in its life.
    #[serde(serialize_with = "show::text")]
    pub state: State,
    /// The name of its task.
    pub task: String,
    /// What it is in its flow; not serialised of a task's job.
    #[serde(serialize_with = "show::node", skip_serializing_if = "Node::is_task")]
    pub node: Node,
    /// What it waits for in those before it; not serialised where that is the usual: that all complete.
    #[serde(serialize_with = "show::trigger", skip_serializing_if = "show::is_usual")]
    pub trigger: Trigger,
    /// The name of its queue.
    pub queue: String,
    /// Higher runs first.
    pub priority: i32,
    /// Labels to find it by.
    pub tags: Vec<String>,
    /// Runs that its task answered.
    pub attempts: u32,
    /// Times its worker vanished.
    pub crashes: u32,
    /// Why it does not run although it is ready.
    #[serde(serialize_with = "show::maybe_text")]
    pub parked: Option<Parked>,
    /// Since when.
    #[serde(serialize_with = "show::maybe_time")]
    pub parked_at: Option<SystemTime>,
    /// When it was enqueued.
    #[serde(serialize_with = "show::time")]
    pub enqueued_at: SystemTime,
    /// When it is or was due, if it was to start later.
    #[serde(serialize_with = "show::maybe_time")]
    pub due_at: Option<SystemTime>,
    /// By when its first run must have started.
    #[serde(serialize_with = "show::maybe_time")]
    pub expires_at: Option<SystemTime>,
    /// By when it must have ended.
    #[serde(serialize_with = "show::maybe_time")]
    pub deadline_at: Option<SystemTime>,
    /// When its first run started.
    #[serde(serialize_with = "show::maybe_time")]
    pub first_started_at: Option<SystemTime>,
    /// When its latest run started.
    #[serde(serialize_with = "show::maybe_time")]
    pub started_at: Option<SystemTime>,
    /// When it ended.
    #[serde(serialize_with = "show::maybe_time")]
    pub ended_at: Option<SystemTime>,
    /// Until when the ended job is kept.
    #[serde(serialize_with = "show::maybe_time")]
    pub keep_until: Option<SystemTime>,
    /// The worker that runs it, or ran it when it ended.
    #[serde(serialize_with = "show::maybe_text")]
    pub worker: Option<WorkerId>,
    /// Whether it runs and was asked to stop.
    pub cancel_requested: bool,
    /// Why it ended, unless it completed.
    #[serde(serialize_with = "show::maybe_text")]
    pub reason: Option<EndReason>,
    /// The job that did not complete, so that this one was cancelled; the first of them all where several were, one for the
    /// other.
    #[serde(serialize_with = "show::maybe_text")]
    pub culprit: Option<JobId>,
    /// What went wrong last.
    #[serde(serialize_with = "show::maybe_failure")]
    pub failure: Option<Failure>,
    /// How far its latest run got, by its own word.
    pub progress: Option<Progress>,
    /// The runs that have ended, as far as they are remembered, oldest first.
    pub history: Vec<AttemptFacts>,
}

impl JobFacts {
    /// The facts of a stored job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self {
            id: job.id,
            state: job.state,
            task: job.task.to_string(),
            node: job.node.clone(),
            trigger: job.trigger,
            queue: job.shard.queue.to_string(),
            priority: job.priority,
            tags: job.tags.iter().map(ToString::to_string).collect(),
            attempts: job.attempts,
            crashes: job.crashes,
            parked: job.parked.clone(),
            parked_at: time(job.parked_at),
            enqueued_at: job.enqueued_at.into(),
            due_at: time(job.due_at),
            expires_at: time(job.expires_at),
            deadline_at: time(job.deadline_at),
            first_started_at: time(job.first_started_at),
            started_at: time(job.started_at),
            ended_at: time(job.ended_at),
            keep_until: time(job.keep_until),
            worker: job.worker,
            cancel_requested: job.cancel_requested,
            reason: job.reason.clone(),
            culprit: job.culprit,
            failure: job.failure.clone(),
            progress: job.progress.clone(),
            history: AttemptFacts::all_of(job),
        }
    }
}

/// One run of a job that has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AttemptFacts {
    /// The worker that ran it.
    #[serde(serialize_with = "show::text")]
    pub worker: WorkerId,
    /// When it started.
    #[serde(serialize_with = "show::time")]
    pub started_at: SystemTime,
    /// When the storage learned of its end.
    #[serde(serialize_with = "show::time")]
    pub ended_at: SystemTime,
    /// How it ended.
    #[serde(serialize_with = "show::text")]
    pub end: AttemptEnd,
    /// What went wrong.
    #[serde(serialize_with = "show::maybe_failure")]
    pub failure: Option<Failure>,
}

impl AttemptFacts {
    /// The runs of a job that have ended, as far as they are remembered, oldest first.
    fn all_of(job: &Job) -> Vec<Self> {
        job.attempts_made().into_iter().map(Self::from).collect()
    }
}

impl From<Attempt> for AttemptFacts {
    fn from(attempt: Attempt) -> Self {
        let Attempt { worker, started_at, ended_at, end, failure, .. } = attempt;
        Self { worker, started_at: started_at.into(), ended_at: ended_at.into(), end, failure }
    }
}

fn time(moment: Option<Timestamp>) -> Option<SystemTime> {
    moment.map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use bytes::Bytes;
    use queue_storage::model::{NewJob, Shard};

    #[test]
    fn what_is_not_usual_of_a_flow_is_shown() {
        let shard = Shard::of("q".parse().unwrap());
        let shown = |node, trigger| {
            let mut new = NewJob::new(JobId::from_u128(7), "mail".parse().unwrap(), Bytes::new());
            (new.node, new.trigger) = (node, trigger);
            let json =
                serde_json::to_value(JobFacts::of(&Job::admitted(new, shard.clone(), Timestamp::EPOCH))).unwrap();
            ["node", "trigger"].map(|key| json.get(key).map(|word| word.as_str().unwrap().to_owned()))
        };
        let relay = Node::Relay { shard: shard.clone(), to: JobId::from_u128(8) };
        let gather = Node::Gather { keep: Duration::ZERO };
        assert_eq!(shown(Node::Task, Trigger::Completed), [None, None]);
        assert_eq!(shown(Node::Task, Trigger::Failed), [None, Some("failed".to_owned())]);
        assert_eq!(shown(gather, Trigger::Ended), [Some("gather".to_owned()), Some("ended".to_owned())]);
        assert_eq!(shown(Node::Hold, Trigger::Completed), [Some("hold".to_owned()), None]);
        assert_eq!(shown(relay, Trigger::Ended), [Some("relay".to_owned()), Some("ended".to_owned())]);
    }
}
