//! Jobs, by id and in pages, and what is done to them.

use std::time::Duration;

use queue_core::{Call, Client, JobId, JobQuery, Limit, Node, State, group, tasks};
use queue_web::Web;
use serde_json::{Value, json};

use crate::support::{Add, Fail, Hold, added, code, drain, get, open, post, until, work};

#[tokio::test]
async fn a_completed_job_shows_its_result() {
    let client = Client::memory();
    let id = added(&client).await;
    let web = Web::new(&client);
    let (status, body) = get(&web, &format!("/jobs/{id}")).await;
    let part = json!([body["state"], body["complete"], body["result"], body["attempts"], body["ended_at"]]);
    assert_eq!((status.as_u16(), part), (200, json!(["ready", false, null, 0, null])));
    drain(&client).await;
    let (_, body) = get(&web, &format!("/jobs/{id}")).await;
    assert_eq!(body["task_id"], id.to_string());
    let part = json!([body["task"], body["queue"], body["state"], body["complete"], body["result"], body["attempts"]]);
    assert_eq!(part, json!(["add", "default", "completed", true, 3, 1]));
    assert_eq!(json!([body["crashes"], body["error"], body["reason"]]), json!([0, null, null]));
    for moment in ["enqueued_at", "started_at", "ended_at"] {
        assert!(body[moment].as_str().unwrap().ends_with('Z'), "{moment}: {body}");
    }
}

#[tokio::test]
async fn the_four_answers() {
    let client = Client::memory();
    let id = added(&client).await;
    let web = Web::new(&client);
    assert_eq!(code(&get(&web, "/jobs/nonsense").await), (400, "bad_request"));
    let younger = JobId::from_u128(u128::MAX >> 1);
    assert_eq!(code(&get(&web, &format!("/jobs/{younger}")).await), (404, "unknown"));
    assert_eq!(get(&web, &format!("/jobs/{id}")).await.0, 200);
    client.delete(id).await.unwrap();
    assert_eq!(code(&get(&web, &format!("/jobs/{id}")).await), (410, "gone"));
    for verb in ["cancel", "retry"] {
        assert_eq!(code(&post(&open(&client), &format!("/jobs/nonsense/{verb}")).await), (400, "bad_request"));
        assert_eq!(code(&post(&open(&client), &format!("/jobs/{younger}/{verb}")).await), (404, "unknown"));
        assert_eq!(code(&post(&open(&client), &format!("/jobs/{id}/{verb}")).await), (410, "gone"));
    }
}

#[tokio::test]
async fn arguments_are_shown_to_whom_they_are_to_be() {
    let client = Client::memory();
    let id = Call::new(Fail { secret: "hunter2".into() }).enqueue(&client).await.unwrap().id();
    drain(&client).await;
    client
        .put_schedule(queue_core::Schedule::new("s", Call::new(Fail { secret: "hunter2".into() })).cron("0 3 * * *"))
        .await
        .unwrap();
    let shown = Web::new(&client).show_arguments(true);
    let one = format!("/jobs/{id}?explain");
    for path in [&*one, "/jobs", "/dead", "/schedules"] {
        let (_, body) = get(&Web::new(&client), path).await;
        assert!(!body.to_string().contains("hunter2") && !body.to_string().contains("\"arguments\""), "{path}: {body}");
        let (_, body) = get(&shown, path).await;
        assert!(body.to_string().contains(r#""arguments":{"secret":"hunter2"}"#), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_limit_by_an_argument_does_not_tell_the_argument() {
    let client = Client::memory();
    let call = || {
        Call::new(Add { a: 7, b: 0 }).limit(Limit::rate_by(queue_core::Rate::per(Duration::from_secs(3_600), 1), "a"))
    };
    call().enqueue(&client).await.unwrap();
    let second = call().enqueue(&client).await.unwrap().id();
    let worker = work(&client);
    let parked = async {
        while client.job(second).await.unwrap().found().unwrap().parked.is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, parked).await.unwrap();
    let (_, body) = get(&Web::new(&client), &format!("/jobs/{second}?explain")).await;
    assert_eq!(body["explanation"]["why"]["key"], "arg:add:a:…");
    assert!(!body.to_string().contains("arg:add:a:7"), "{body}");
    let (_, body) = get(&Web::new(&client).show_arguments(true), &format!("/jobs/{second}?explain")).await;
    assert!(body["explanation"]["text"].as_str().unwrap().contains("`arg:add:a:7`"), "{body}");
    worker.stop().await;
}

#[tokio::test]
async fn why_a_job_waits() {
    let client = Client::memory();
    let id = added(&client).await;
    let (_, body) = get(&Web::new(&client), &format!("/jobs/{id}?explain")).await;
    assert_eq!(body["explanation"]["why"]["reason"], "no_worker");
    assert!(body["explanation"]["text"].as_str().unwrap().ends_with("start one"));
    assert!(get(&Web::new(&client), &format!("/jobs/{id}")).await.1.get("explanation").is_none());
}

#[tokio::test]
async fn a_group_shows_what_its_members_returned() {
    let client = Client::immediate(tasks![Add]).build().unwrap();
    let calls = (1..=3).map(|b| Call::new(Add { a: 0, b }));
    group(calls).enqueue(&client).await.unwrap();
    let jobs = client.jobs(&JobQuery::default()).await.unwrap().jobs;
    let gather = jobs.iter().find(|job| matches!(job.node, Node::Gather { .. })).unwrap();
    let (_, body) = get(&Web::new(&client), &format!("/jobs/{}", gather.id)).await;
    assert_eq!(json!([body["state"], body["result"]]), json!(["completed", [1, 2, 3]]));
}

#[tokio::test]
async fn a_running_job_is_asked_to_stop_and_a_dead_one_runs_again() {
    let client = Client::memory();
    let web = open(&client);
    let worker = work(&client);
    let held = Call::new(Hold {}).enqueue(&client).await.unwrap().id();
    until(&client, held, State::Running).await;
    let (status, body) = post(&web, &format!("/jobs/{held}/cancel")).await;
    assert_eq!((status.as_u16(), &body["outcome"]), (202, &json!("asked")));
    assert!(body["links"]["cancel"].is_string() && body["links"]["retry"].is_null(), "{body}");
    until(&client, held, State::Cancelled).await;
    let (status, body) = post(&web, &format!("/jobs/{held}/cancel")).await;
    assert_eq!((status.as_u16(), &body["outcome"]), (200, &json!("cancelled")));
    assert!(body["links"]["cancel"].is_null() && body["links"]["retry"].is_string(), "{body}");

    let failed = Call::new(Fail { secret: String::new() }).enqueue(&client).await.unwrap().id();
    until(&client, failed, State::Dead).await;
    assert_eq!(code(&post(&web, &format!("/jobs/{failed}/cancel")).await), (409, "refused"));
    worker.stop().await;
    let (_, body) = get(&web, &format!("/jobs/{failed}")).await;
    assert_eq!(body["error"]["message"], "no such address");
    let (status, body) = post(&web, &format!("/jobs/{failed}/retry")).await;
    assert_eq!((status.as_u16(), &body["outcome"]), (200, &json!("revived")));
    until(&client, failed, State::Ready).await;
    assert_eq!(code(&post(&web, &format!("/jobs/{failed}/retry")).await), (409, "refused"));
    assert_eq!(post(&web, &format!("/jobs/{failed}/cancel")).await.1["outcome"], "cancelled");
}

/// Every id of a list, page by page.
async fn walk(web: &Web, path: &str) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = get(web, &format!("{path}&limit=2{after}")).await;
        assert_eq!(status, 200, "{page}");
        found.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["task_id"].clone()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", next.replace('+', "%2B")),
            None => return found,
        }
    }
}

#[tokio::test]
async fn pages_show_each_job_once() {
    let client = Client::memory();
    let web = Web::new(&client);
    let mut ids = Vec::new();
    for n in 0..5 {
        let call = Call::new(Add { a: n, b: 0 }).queue("mail");
        let call = if n == 3 { call.tag("acme") } else { call };
        ids.push(json!(call.enqueue(&client).await.unwrap().id().to_string()));
    }
    added(&client).await;
    assert_eq!(walk(&web, "/jobs?queue=mail").await, ids);
    assert_eq!(walk(&web, "/jobs?").await.len(), 6);
    assert_eq!(walk(&web, "/jobs?tag=acme").await, [ids[3].clone()]);
    assert_eq!(walk(&web, "/jobs?task=add&state=ready").await.len(), 6);
    assert!(walk(&web, "/jobs?task=fail").await.is_empty() && walk(&web, "/jobs?state=dead").await.is_empty());
    let unknown = get(&web, "/jobs?sate=dead").await;
    assert_eq!(code(&unknown), (400, "bad_request"));
    let help = "it takes `queue`, `state`, `task`, `tag`, `limit` and `after`";
    let error = &unknown.1["error"];
    assert_eq!(json!([error["message"], error["help"]]), json!(["`sate` is no parameter of `GET /jobs`", help]));
    for query in ["state=gone", "queue=%20", "task=%20", "tag=%20", "limit=0", "limit=x", "after=nonsense"] {
        assert_eq!(code(&get(&web, &format!("/jobs?{query}")).await), (400, "bad_request"), "{query}");
    }
}

#[tokio::test]
async fn dead_letters_come_newest_first() {
    let client = Client::memory();
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = Call::new(Fail { secret: String::new() }).enqueue(&client).await.unwrap().id();
        drain(&client).await;
        ids.insert(0, json!(id.to_string()));
    }
    added(&client).await;
    let web = Web::new(&client);
    assert_eq!(walk(&web, "/dead?").await, ids);
    let (_, page) = get(&web, "/dead?limit=1").await;
    assert_eq!(page["jobs"][0]["history"][0]["failure"]["message"], "no such address");
    assert_eq!(page["jobs"][0]["reason"], "fatal");
    // Whoever waits until it is complete waits no longer.
    assert_eq!(json!([page["jobs"][0]["complete"], page["jobs"][0]["state"]]), json!([true, "dead"]));
}

#[tokio::test]
async fn complete_is_said_of_every_end() {
    let client = Client::memory();
    let called_off = added(&client).await;
    client.cancel(called_off).await.unwrap();
    let dead = Call::new(Fail { secret: String::new() }).enqueue(&client).await.unwrap().id();
    let done = added(&client).await;
    drain(&client).await;
    let waits = added(&client).await;
    let web = Web::new(&client);
    for (id, complete, state, verb) in [
        (called_off, true, "cancelled", "retry"),
        (dead, true, "dead", "retry"),
        (done, true, "completed", "retry"),
        (waits, false, "ready", "cancel"),
    ] {
        let (_, body) = get(&web, &format!("/jobs/{id}")).await;
        assert_eq!(json!([body["complete"], body["state"]]), json!([complete, state]));
        let links: Vec<_> = body["links"].as_object().unwrap().keys().collect();
        let mut expected = [verb, "explain", "self"];
        expected.sort_unstable();
        assert_eq!(links, expected, "a job that is {state}");
    }
}

#[tokio::test]
async fn links_lead_where_they_say() {
    let client = Client::memory();
    let id = added(&client).await;
    for (path, base) in [
        (format!("/jobs/{id}"), "../"),
        (format!("/jobs/{id}/"), "../../"),
        ("/jobs".into(), ""),
        ("/jobs/".into(), "../"),
    ] {
        let (_, body) = get(&Web::new(&client), &path).await;
        let job = if body["jobs"].is_array() { &body["jobs"][0] } else { &body };
        assert_eq!(job["links"]["cancel"], format!("{base}jobs/{id}/cancel"), "{path}");
    }
}
