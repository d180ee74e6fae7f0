//! Dead letters, for people.

use std::time::SystemTime;

use queue_storage::model::{EndReason, Envelope, Job, JobId};
use serde::Serialize;

use super::{AttemptFacts, show};
use crate::json;

/// A job that failed for good, with what someone needs who decides what becomes of it.
///
/// Serialised, words and ids are texts and moments are RFC 3339 in UTC, to the millisecond.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The job's id.
    #[serde(serialize_with = "show::text")]
    pub id: JobId,
    /// The name of its task.
    pub task: String,
    /// The name of its queue.
    pub queue: String,
    /// Its arguments as JSON text, an object by argument name; bytes are a list of numbers. `None` when they can't be
    /// shown: [`undecodable`](Self::undecodable) says why.
    pub arguments: Option<String>,
    /// Why its arguments can't be shown.
    pub undecodable: Option<String>,
    /// What went wrong in its last run.
    pub error: Option<String>,
    /// The Rust type of that error, where there was one.
    pub error_type: Option<String>,
    /// When it died.
    #[serde(serialize_with = "show::time")]
    pub failed_at: SystemTime,
    /// Why it is dead.
    #[serde(serialize_with = "show::maybe_text")]
    pub reason: Option<EndReason>,
    /// Labels to find it by.
    pub tags: Vec<String>,
    /// When it was enqueued.
    #[serde(serialize_with = "show::time")]
    pub enqueued_at: SystemTime,
    /// Its runs, as far as they are remembered, oldest first; the last is the one it died of, if it died of a run.
    pub attempts: Vec<AttemptFacts>,
}

impl DeadLetter {
    /// The letter of a stored job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        let shown = Envelope::decode(&job.envelope).map_err(|error| error.to_string());
        let shown = shown.and_then(|envelope| json::to_text(&envelope.args));
        let (arguments, undecodable) = match shown {
            Ok(text) => (Some(text), None),
            Err(why) => (None, Some(why)),
        };
        Self {
            id: job.id,
            task: job.task.to_string(),
            queue: job.shard.queue.to_string(),
            arguments,
            undecodable,
            error: job.failure.as_ref().map(ToString::to_string),
            error_type: job.failure.as_ref().and_then(|failure| failure.error_type.clone()),
            failed_at: job.ended_at.unwrap_or(job.enqueued_at).into(),
            reason: job.reason.clone(),
            tags: job.tags.iter().map(ToString::to_string).collect(),
            enqueued_at: job.enqueued_at.into(),
            attempts: AttemptFacts::all_of(job),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use bytes::Bytes;
    use queue_storage::model::{Attempt, AttemptEnd, Failure, FailureKind, NewJob, Shard, State, Timestamp, WorkerId};

    fn dead(envelope: Bytes) -> Job {
        let noon = Timestamp::from_micros(1_795_348_800_000_000);
        let shard = Shard::of("q".parse().unwrap());
        let mut new = NewJob::new("01M82CPPHQE7PAX6BS1MZEJDWH".parse().unwrap(), "mail".parse().unwrap(), envelope);
        new.tags = vec!["acme".parse().unwrap()];
        let mut job = Job::admitted(new, shard, noon);
        (job.state, job.reason) = (State::Dead, Some(EndReason::Exhausted));
        let failure = Failure::new(FailureKind::Panic, "boom").of_type("app::Boom");
        (job.worker, job.failure) = (Some(WorkerId::from_u128(7)), Some(failure.clone()));
        let times = [1, 2].map(|second| noon + Duration::from_secs(second));
        (job.started_at, job.ended_at) = (Some(times[0]), Some(times[1]));
        let first = Attempt::remembered(WorkerId::from_u128(6), noon, times[0], AttemptEnd::Failed, Some(&failure));
        job.history = vec![first];
        job
    }

    #[test]
    fn a_letter_as_data() {
        let args = Bytes::from_static(b"\x81\xa2to\xa5a@b.c");
        let letter = DeadLetter::of(&dead(Envelope { args, ..Envelope::default() }.encode().unwrap()));
        let text = serde_json::to_string(&letter).unwrap();
        let run = |worker, from, to| {
            format!(
                "{{\"worker\":\"0000000000000000000000000{worker}\",\"started_at\":\"2026-11-22T12:00:0{from}.000Z\",\
                 \"ended_at\":\"2026-11-22T12:00:0{to}.000Z\",\"end\":\"failed\",\"failure\":{{\"kind\":\"panic\",\
                 \"message\":\"boom\",\"error_type\":\"app::Boom\",\"version\":null}}}}"
            )
        };
        let expected = format!(
            "{{\"id\":\"01M82CPPHQE7PAX6BS1MZEJDWH\",\"task\":\"mail\",\"queue\":\"q\",\
             \"arguments\":\"{{\\\"to\\\":\\\"a@b.c\\\"}}\",\"undecodable\":null,\"error\":\"panicked: boom\",\
             \"error_type\":\"app::Boom\",\"failed_at\":\"2026-11-22T12:00:02.000Z\",\"reason\":\"exhausted\",\
             \"tags\":[\"acme\"],\"enqueued_at\":\"2026-11-22T12:00:00.000Z\",\"attempts\":[{},{}]}}",
            run(6, 0, 1),
            run(7, 1, 2)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn what_can_not_be_read_says_so() {
        let damaged = DeadLetter::of(&dead(Bytes::from_static(&[1, 0, 0xc1])));
        assert!(
            damaged.arguments.is_none() && damaged.undecodable.unwrap().starts_with("the envelope can't be opened")
        );
        let newer = DeadLetter::of(&dead(Bytes::from_static(&[9, 0, 0x80])));
        assert!(newer.undecodable.unwrap().contains("upgrade the worker"));
        let args = Bytes::from_static(&[0xc1]);
        let odd = DeadLetter::of(&dead(Envelope { args, ..Envelope::default() }.encode().unwrap()));
        assert!(odd.arguments.is_none() && odd.undecodable.is_some());
    }
}
