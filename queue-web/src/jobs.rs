//! Jobs, and what people do to them.

use http::StatusCode;
use queue_core::{Cancelled, Cursor, Job, JobPage, Lookup, Selection, State};
use serde_json::{Value, json};

use crate::answer::{Answer, Reply};
use crate::problem::Problem;
use crate::route::Kind::{Count, Flag, Object, Text};
use crate::route::{Asked, Field, Param, field, param};
use crate::view;

pub(crate) const ACTED: &[Field] = &[field("task_id", Text), field("outcome", Text), field("links", Object)];

pub(crate) const ONE: &[Param] = &[param("explain", Flag, "Adds why the job is where it is.")];
pub(crate) const LIMIT: Param = param("limit", Count, "The most jobs on the page, 1 to 1,000; 100 if nothing is said.");
pub(crate) const AFTER: Param = param("after", Text, "What `next` of the page before says.");
pub(crate) const QUEUE: Param = param("queue", Text, "Only this queue.");
pub(crate) const LIST: &[Param] = &[
    QUEUE,
    param("state", Text, "Only jobs in this state."),
    param("task", Text, "Only jobs of this task."),
    param("tag", Text, "Only jobs with this tag."),
    LIMIT,
    AFTER,
];
pub(crate) const DEAD: &[Param] = &[QUEUE, LIMIT, AFTER];

pub(crate) async fn one(asked: Asked) -> Reply {
    let id = asked.job()?;
    let (client, settings) = (&asked.web.client, &asked.web.settings);
    let job = match client.job(id).await? {
        Lookup::Found(job) => job,
        Lookup::Gone => return Err(Problem::gone_job(id)),
        Lookup::Unknown => return Err(Problem::unknown_job(id)),
    };
    let mut shown = view::job(&job, &asked.base)?;
    let (result, mut undecodable) = result(&asked, &job).await?;
    shown.insert("result".into(), result);
    if settings.show_arguments {
        let (arguments, why) = view::arguments(&job);
        shown.insert("arguments".into(), arguments);
        undecodable = undecodable.or(why);
    }
    if let Some(why) = undecodable {
        shown.insert("undecodable".into(), json!(why));
    }
    if asked.query.is_set("explain") {
        let explained = client.explain(id).await?;
        shown.insert("explanation".into(), view::explanation(&explained, settings.show_arguments)?);
    }
    Ok(Answer::ok(Value::Object(shown)))
}

/// What the job returned: `null` where it has not completed, and where it can't be shown, then with why.
async fn result(asked: &Asked, job: &Job) -> Result<(Value, Option<String>), Problem> {
    let text = match asked.web.client.result_json(job).await {
        Ok(text) => text,
        Err(error) if error.is_unavailable() => return Err(Problem::unavailable(&error)),
        Err(error) => return Ok((Value::Null, Some(error.to_string()))),
    };
    Ok(match text.map(|text| view::parsed(&text)) {
        Some(Ok(value)) => (value, None),
        Some(Err(why)) => (Value::Null, Some(why)),
        None => (Value::Null, None),
    })
}

pub(crate) async fn list(asked: Asked) -> Reply {
    let mut selection = selected(&asked, asked.web.client.select())?;
    if let Some(state) = asked.query.parsed::<State>("state")? {
        selection = selection.state(state);
    }
    if let Some(task) = asked.query.text("task") {
        selection = selection.task_named(task);
    }
    if let Some(tag) = asked.query.text("tag") {
        selection = selection.tag(tag);
    }
    let page = page(&asked, &selection).await?;
    Ok(Answer::ok(view::page(&page, &asked.base, asked.web.settings.show_arguments, false)?))
}

pub(crate) async fn dead(asked: Asked) -> Reply {
    let letters = selected(&asked, asked.web.client.dead_letters())?;
    let page = page(&asked, &letters).await?;
    Ok(Answer::ok(view::page(&page, &asked.base, asked.web.settings.show_arguments, true)?))
}

fn selected(asked: &Asked, selection: Selection) -> Result<Selection, Problem> {
    Ok(match asked.query.queue()? {
        Some(queue) => selection.queue(queue),
        None => selection,
    })
}

async fn page(asked: &Asked, selection: &Selection) -> Result<JobPage, Problem> {
    let after = asked.query.text("after").map(|text| Cursor(text.to_owned()));
    Ok(selection.page(after.as_ref(), asked.query.limit()?).await?)
}

pub(crate) async fn cancel(asked: Asked) -> Reply {
    let id = asked.job()?;
    let client = &asked.web.client;
    let (status, outcome) = match client.cancel(id).await? {
        Cancelled::Done | Cancelled::Ended(State::Cancelled) => (StatusCode::OK, "cancelled"),
        Cancelled::Asked => (StatusCode::ACCEPTED, "asked"),
        Cancelled::Ended(state) => {
            let message = format!("job {id} can't be cancelled: it has ended ({state})");
            return Err(Problem::conflict(message, "nothing is left to be cancelled; `/retry` runs it again"));
        }
        Cancelled::Gone => return Err(Problem::gone_job(id)),
        _ => return Err(Problem::unknown_job(id)),
    };
    acted(&asked, status, outcome, outcome == "cancelled")
}

pub(crate) async fn retry(asked: Asked) -> Reply {
    let id = asked.job()?;
    let client = &asked.web.client;
    match client.revive(id).await {
        Ok(()) => acted(&asked, StatusCode::OK, "revived", false),
        Err(error) if error.is_gone() => Err(Problem::gone_job(id)),
        Err(error) if error.is_unknown() => Err(Problem::unknown_job(id)),
        Err(error) if error.is_refused() => {
            Err(Problem::conflict(error.to_string(), "only a job that has ended is run again"))
        }
        Err(error) if error.is_unavailable() => Err(Problem::unavailable(&error)),
        Err(error) => Err(Problem::unreadable(&error)),
    }
}

fn acted(asked: &Asked, status: StatusCode, outcome: &str, is_over: bool) -> Reply {
    let id = asked.job()?;
    let links = view::links(id, &asked.base, is_over);
    let body = json!({ "task_id": id.to_string(), "outcome": outcome, "links": links });
    Ok(Answer::Json(status, body))
}
