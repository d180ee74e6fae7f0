//! The reason, in words.

use std::time::SystemTime;

use queue_storage::model::{EndReason, Failure, JobId, Node, QueueName, State, TaskName, Timestamp, Trigger};

use super::{Blocker, Why};
use crate::facts::show::Shown;
use crate::facts::words::in_words;

/// The whole sentence.
pub(super) fn sentence(id: JobId, task: Option<&TaskName>, place: Option<(&QueueName, State)>, why: &Why) -> String {
    let of = task.map_or_else(String::new, |task| format!(" of task `{task}`"));
    let Some((queue, state)) = place else {
        return match why {
            Why::Unknown => format!("job {id} was never stored"),
            _ => format!("job {id} ended, and the time it is kept has passed"),
        };
    };
    let rest = match why {
        Why::OnItsWay { to, queue: target, carriers } => on_its_way(*to, target, queue, *carriers),
        Why::Running { .. }
        | Why::NotWhole { .. }
        | Why::Elsewhere
        | Why::Ended { .. }
        | Why::WaitsFor { .. }
        | Why::Scheduled { .. }
        | Why::Retrying { .. } => doing(state, why),
        _ => format!("is {}, but {}", ready(state), obstacle(queue, task, why)),
    };
    let rest = if matches!(why, Why::InLine { .. }) { rest.replacen(", but ", ": ", 1) } else { rest };
    format!("job {id}{of} {rest}")
}

/// A job that is due is as good as ready.
fn ready(state: State) -> &'static str {
    match state {
        State::Scheduled | State::Retrying => "due",
        other => other.as_str(),
    }
}

fn doing(state: State, why: &Why) -> String {
    match why {
        Why::WaitsFor { jobs, others, trigger, node } => {
            let waits = waits(jobs, *others, *trigger);
            match node {
                Node::Gather { .. } => format!("gathers: it {waits}"),
                Node::Relay { shard, .. } => format!("{waits}, and then tells queue `{}` of it", shard.queue),
                _ => waits,
            }
        }
        Why::NotWhole { until } => {
            let until = at(*until);
            format!(
                "stands for the rest of its flow, which is not stored whole yet; if that is not there by {until}, it expires"
            )
        }
        Why::Elsewhere => "stands for a job in another queue, and waits for the end of that".to_owned(),
        Why::Scheduled { until } => format!("is scheduled until {}", at(*until)),
        Why::Retrying { until, after, failure } => {
            format!("is retrying until {}, after attempt {after}{}", at(*until), with(failure.as_ref()))
        }
        Why::Running { worker, host, since, progress, asked_to_stop, lost_since } => {
            let mut text = String::from("runs");
            text += &worker.map_or_else(String::new, |worker| format!(" on worker {worker}"));
            text += &host.as_ref().map_or_else(String::new, |host| format!(" ({host})"));
            text += &since.map_or_else(String::new, |since| format!(" since {}", at(since)));
            text += &progress.as_ref().map_or_else(String::new, |p| format!("; it got to {}", Shown(p)));
            text += if *asked_to_stop { "; it was asked to stop" } else { "" };
            text + &lost_since.map_or_else(String::new, |since| {
                format!("; its lease ran out at {}: the next worker that looks takes it back", at(since))
            })
        }
        Why::Ended { at: ended, because, culprit, failure } => {
            let verb = match state {
                State::Completed => "completed",
                State::Cancelled => "was cancelled",
                State::Expired => "expired",
                _ => "died",
            };
            let ended = ended.map_or_else(String::new, |ended| format!(" at {}", at(ended)));
            let because = because.as_ref().map_or_else(String::new, |reason| format!(": {}", in_words(reason)));
            let culprit = culprit.map_or_else(String::new, |id| format!(" (job {id})"));
            format!("{verb}{ended}{because}{culprit}{}", with(failure.as_ref()))
        }
        _ => String::new(),
    }
}

fn waits(jobs: &[Blocker], others: usize, trigger: Trigger) -> String {
    let each = |job: &Blocker| match (&job.task, job.state) {
        (Some(task), Some(state)) => format!("job {} of task `{task}` ({state})", job.id),
        _ => format!("job {} (gone)", job.id),
    };
    let mut all: Vec<_> = jobs.iter().map(each).collect();
    if others > 0 {
        all.push(format!("{others} more"));
    }
    match (trigger, all.is_empty()) {
        (_, true) => "waits for jobs that have just ended".to_owned(),
        (Trigger::Ended, _) => format!("waits for the end, whatever it is, of {}", all.join(" and ")),
        (Trigger::Failed, _) => format!("runs only if one of these does not complete: {}", all.join(", ")),
        _ => format!("waits for {}", all.join(" and ")),
    }
}

fn on_its_way(to: JobId, target: &str, queue: &QueueName, carriers: usize) -> String {
    let by = match carriers {
        0 => format!("no live worker serves queue `{queue}`, which would carry it: start one"),
        1 => format!("1 live worker serves queue `{queue}` and carries it"),
        count => format!("{count} live workers serve queue `{queue}`, and one of them carries it"),
    };
    format!("hands on what it waited for, which is on its way to job {to} in queue `{target}`; {by}")
}

fn obstacle(queue: &QueueName, task: Option<&TaskName>, why: &Why) -> String {
    let task = task.map_or("", TaskName::as_str);
    match why {
        Why::Overdue { since, reason_to_be } => {
            let limit = if *reason_to_be == EndReason::Deadline { "deadline" } else { "time to start" };
            format!("its {limit} passed at {}: the next worker that looks expires it", at(*since))
        }
        Why::QueuePaused { since, until } => format!("queue `{queue}` is paused {}", from_to(*since, *until)),
        Why::TaskPaused { since, until } => {
            format!("task `{task}` is paused in queue `{queue}` {}", from_to(*since, *until))
        }
        Why::Revoked { until, next_only } => {
            let scope = if *next_only { ", as the next of its sort" } else { "" };
            let until = until.map_or_else(String::new, |until| format!(" until {}", at(until)));
            format!("it is revoked{until}{scope}: it will be cancelled when a worker takes it")
        }
        Why::LimitFull { key, most, running, waiting } => {
            let of = key.as_ref().map_or_else(|| format!("in queue `{queue}`"), |key| format!("under `{key}`"));
            let others = others(*waiting);
            format!("{running} jobs run {of} and {most} may at once{others}")
        }
        Why::RateWindow { key, until, waiting } => {
            let of = key.as_ref().map_or_else(|| format!("queue `{queue}`"), |key| format!("`{key}`"));
            format!("the rate of {of} admits no start before {}{}", at(*until), others(*waiting))
        }
        Why::NoWorker => format!("no live worker serves queue `{queue}`: start one"),
        Why::UnknownTask { workers, known_in } => {
            let elsewhere = match known_in.is_empty() {
                true => "no live worker does: add it to a worker's `.tasks(tasks![…])`".to_owned(),
                false => format!("workers that serve {} do", quoted(known_in)),
            };
            format!("{} queue `{queue}` and none knows task `{task}`; {elsewhere}", serve(*workers, "live worker"))
        }
        Why::NewerProgram { needs, understood } => format!(
            "a newer program stored it: it needs a worker of level {needs}, and those that know task `{task}` are of level \
             {understood}; upgrade them"
        ),
        Why::WorkersPaused { workers } => {
            format!("every live worker that could run it is paused ({workers})")
        }
        Why::InLine { ready, workers, slots, suspect } => {
            let line = match ready {
                0 | 1 => "nothing is before it".to_owned(),
                ready => format!("{ready} jobs are ready in queue `{queue}`, itself among them"),
            };
            let able = format!("{workers} live worker{} with {slots} slots can run it", plural(*workers));
            let suspect = if *suspect {
                "; its last worker vanished while it ran, so it is run when no other such job runs in that process"
            } else {
                ""
            };
            format!("{line}; {able}{suspect}")
        }
        _ => String::new(),
    }
}

/// Who else waits for the same.
fn others(waiting: u64) -> String {
    match waiting {
        0 => String::new(),
        1 => "; 1 other waits for the same".to_owned(),
        more => format!("; {more} others wait for the same"),
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn serve(count: usize, who: &str) -> String {
    if count == 1 { format!("1 {who} serves") } else { format!("{count} {who}s serve") }
}

fn quoted(queues: &[String]) -> String {
    queues.iter().map(|queue| format!("`{queue}`")).collect::<Vec<_>>().join(", ")
}

fn from_to(since: SystemTime, until: Option<SystemTime>) -> String {
    match until {
        Some(until) => format!("since {}, until {}", at(since), at(until)),
        None => format!("since {}, until someone resumes it", at(since)),
    }
}

fn at(moment: SystemTime) -> Timestamp {
    moment.into()
}

fn with(failure: Option<&Failure>) -> String {
    failure.map_or_else(String::new, |failure| format!(": {failure}"))
}
