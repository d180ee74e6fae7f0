//! Schedules.

use http::StatusCode;
use queue_core::{ScheduleError, ScheduleFacts, ScheduleHandle};
use serde_json::{Value, json};

use crate::answer::{Answer, Reply};
use crate::jobs::AFTER;
use crate::problem::Problem;
use crate::route::Kind::{Any, Count, Flag, List, Moment, Number, Object, Text};
use crate::route::{Asked, Field, Param, field, param};
use crate::view;

pub(crate) const LIST: &[Param] = &[
    param("queue", Text, "Only this queue."),
    param("limit", Count, "The most schedules on the page, 1 to 1,000; 100 if nothing is said."),
    AFTER,
];
pub(crate) const ONE: &[Param] = &[param("queue", Text, "The queue it lives in, where several have one of this name.")];
pub(crate) const PAGE: &[Field] = &[field("schedules", List), field("next", Text).or_null()];
/// A schedule, as `/schedules/{name}` shows it.
pub(crate) const SCHEDULE: &[Field] = &[
    field("name", Text),
    field("queue", Text),
    field("task", Text),
    field("arguments", Any).optional(),
    field("timing", Text),
    field("zone", Text),
    field("next", Moment).or_null(),
    field("last", Moment).or_null(),
    field("last_job", Text).or_null(),
    field("runs", Count),
    field("missed", Count),
    field("skipped", Count),
    field("paused_at", Moment).or_null(),
    field("source", Object),
    field("missed_policy", Object),
    field("overlap", Text),
    field("jitter", Number).says("Seconds."),
    field("starts", Moment).or_null(),
    field("ends", Moment).or_null(),
    field("max_runs", Count).or_null(),
    field("created_at", Moment),
    field("changed_at", Moment),
    field("links", Object),
];
pub(crate) const PAUSED: &[Field] = &[field("schedule", Text), field("paused", Flag), field("changed", Flag)];
pub(crate) const RAN: &[Field] = &[field("schedule", Text), field("task_id", Text), field("links", Object)];

pub(crate) async fn list(asked: Asked) -> Reply {
    let (only, limit) = (asked.query.queue()?, asked.query.limit()? as usize);
    let after = asked.query.text("after").map(place).transpose()?;
    let mut all = asked.web.client.schedules();
    let (mut shown, mut last, mut next) = (Vec::new(), None, None);
    while let Some(schedule) = all.next().await {
        let schedule = schedule?;
        let place = (schedule.queue.clone(), schedule.name.clone());
        if only.as_ref().is_some_and(|queue| *queue.as_str() != *schedule.queue) || after.as_ref() >= Some(&place) {
            continue;
        }
        if shown.len() == limit {
            next = last;
            break;
        }
        shown.push(schedule_value(&asked, &schedule)?);
        last = Some(place);
    }
    let next = next.map(|(queue, name)| format!("{queue} {name}"));
    Ok(Answer::ok(json!({ "schedules": shown, "next": next })))
}

/// The queue and the name of the last schedule of the page before.
fn place(text: &str) -> Result<(String, String), Problem> {
    let place = text.split_once(' ').map(|(queue, name)| (queue.to_owned(), name.to_owned()));
    let bad = || Problem::bad(format!("`after`: `{text}` is no place in this list"), "give what `next` says");
    place.ok_or_else(bad)
}

fn schedule_value(asked: &Asked, facts: &ScheduleFacts) -> Result<Value, Problem> {
    let mut shown = view::value(facts)?;
    if let Some(entries) = shown.as_object_mut() {
        let arguments = entries.remove("arguments");
        if asked.web.settings.show_arguments {
            let text = arguments.as_ref().and_then(Value::as_str);
            entries.insert("arguments".into(), text.and_then(|text| view::parsed(text).ok()).unwrap_or_default());
        }
        entries.insert("links".into(), links(asked, facts));
    }
    Ok(shown)
}

fn links(asked: &Asked, facts: &ScheduleFacts) -> Value {
    let (name, queue) = (view::segment(&facts.name), view::segment(&facts.queue));
    let to = |verb: &str| format!("{}schedules/{name}{verb}?queue={queue}", asked.base);
    json!({ "self": to(""), "pause": to("/pause"), "resume": to("/resume"), "run": to("/run") })
}

fn handle(asked: &Asked) -> Result<ScheduleHandle, Problem> {
    let schedule = asked.web.client.schedule(asked.param());
    Ok(match asked.query.queue()? {
        Some(queue) => schedule.in_queue(queue.as_str()),
        None => schedule,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
fn problem(error: ScheduleError) -> Problem {
    let message = error.to_string();
    match () {
        () if error.is_unknown() => {
            let help = "`/schedules` lists those that are stored, each with its queue";
            Problem::new(StatusCode::NOT_FOUND, "unknown", message, help)
        }
        () if error.is_invalid() => {
            Problem::bad(message, "correct the name, or say with `?queue=` which of several is meant")
        }
        () if error.is_unavailable() => Problem::unavailable(&error),
        () => Problem::conflict(message, "ask again; if that does not help, the log of the worker tells more"),
    }
}

pub(crate) async fn one(asked: Asked) -> Reply {
    let facts = handle(&asked)?.get().await.map_err(problem)?;
    Ok(Answer::ok(schedule_value(&asked, &facts)?))
}

pub(crate) async fn pause(asked: Asked) -> Reply {
    let schedule = handle(&asked)?;
    let changed = schedule.pause().await.map_err(problem)?;
    Ok(Answer::ok(json!({ "schedule": schedule.name(), "paused": true, "changed": changed })))
}

pub(crate) async fn resume(asked: Asked) -> Reply {
    let schedule = handle(&asked)?;
    let changed = schedule.resume().await.map_err(problem)?;
    Ok(Answer::ok(json!({ "schedule": schedule.name(), "paused": false, "changed": changed })))
}

pub(crate) async fn run(asked: Asked) -> Reply {
    let schedule = handle(&asked)?;
    let id = schedule.run_now().await.map_err(problem)?;
    let body =
        json!({ "schedule": schedule.name(), "task_id": id.to_string(), "links": view::links(id, &asked.base, false) });
    Ok(Answer::Json(StatusCode::ACCEPTED, body))
}
