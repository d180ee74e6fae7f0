//! Queues, workers, schedules, totals.

use queue_core::{Call, Client, Schedule, State};
use queue_web::Web;
use serde_json::{Value, json};

use crate::support::{Add, Fail, Hold, added, code, drain, get, open, post, until, work};

#[tokio::test]
async fn totals_are_those_of_the_queues() {
    let client = Client::memory();
    added(&client).await;
    Call::new(Fail { secret: String::new() }).enqueue(&client).await.unwrap();
    drain(&client).await;
    Call::new(Add { a: 1, b: 1 }).queue("mail").enqueue(&client).await.unwrap();
    let worker = work(&client);
    let held = Call::new(Hold {}).enqueue(&client).await.unwrap().id();
    until(&client, held, State::Running).await;
    let (_, stats) = get(&Web::new(&client), "/stats").await;
    let total = &stats["total"];
    assert_eq!(json!([total["pending"], total["enqueued"], total["parked"], stats["dead"]]), json!([1, 4, 0, 1]));
    assert_eq!(total["ended"], json!({ "completed": 1, "cancelled": 0, "expired": 0, "dead": 1 }));
    assert_eq!(json!([total["stored"]["running"], total["stored"]["waiting"]]), json!([1, 0]));
    let names: Vec<_> = stats["queues"].as_array().unwrap().iter().map(|queue| queue["name"].clone()).collect();
    assert_eq!(names, ["default", "mail"]);
    assert_eq!(stats["queues"][1]["pending"], 1);
    assert_eq!(json!([stats["workers"]["live"], stats["workers"]["running"]]), json!([1, 1]));
    let (_, workers) = get(&Web::new(&client), "/workers").await;
    let one = &workers["workers"][0];
    assert_eq!(
        json!([one["live"], one["queues"], one["tasks"], one["running"]]),
        json!([true, ["default"], ["add", "fail", "hold"], 1])
    );
    client.cancel(held).await.unwrap();
    worker.stop().await;
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed() {
    let client = Client::memory();
    let web = open(&client);
    assert_eq!(code(&get(&web, "/queues/a%2Fb").await), (404, "unknown"));
    let (status, body) = post(&web, "/queues/a%2Fb/pause").await;
    assert_eq!((status.as_u16(), body), (200, json!({ "queue": "a/b", "paused": true })));
    assert!(client.queue("a/b").is_paused().await.unwrap());
    let (_, queue) = get(&web, "/queues/a%2Fb").await;
    assert!(
        queue["name"] == "a/b" && queue["paused"]["since"].is_string() && queue["paused"]["until"].is_null(),
        "{queue}"
    );
    assert_eq!(post(&web, "/queues/a%2Fb/resume").await.1["paused"], false);
    assert!(!client.queue("a/b").is_paused().await.unwrap());
    client.queue("a/b").limit(Some(3)).await.unwrap();
    let (_, queue) = get(&web, "/queues/a%2Fb").await;
    assert_eq!(json!([queue["limit"], queue["paused"]]), json!([3, null]));
    for path in ["/queues/%20", "/queues/%ff", "/queues/%2520"] {
        assert_eq!(code(&get(&web, path).await), (400, "bad_request"), "{path}");
    }
    added(&client).await;
    let (_, queues) = get(&web, "/queues").await;
    assert!(queues["queues"].as_array().unwrap().iter().any(|queue| queue["name"] == "default"), "{queues}");
}

async fn scheduled(client: &Client, name: &str, queue: &str) {
    let call = Call::new(Add { a: 1, b: 2 }).queue(queue);
    client.put_schedule(Schedule::new(name, call).cron("0 3 * * *")).await.unwrap();
}

#[tokio::test]
async fn a_schedule_is_paused_resumed_and_run() {
    let client = Client::memory();
    let web = open(&client);
    scheduled(&client, "nightly", "default").await;
    let (_, page) = get(&web, "/schedules").await;
    let one = &page["schedules"][0];
    assert_eq!(json!([one["name"], one["timing"], one["paused_at"]]), json!(["nightly", "0 3 * * *", null]));
    assert_eq!(
        json!([one["source"], one["missed_policy"], one["overlap"], one["jitter"]]),
        json!([{ "from": "run_time" }, { "policy": "skip", "tolerance": 3600.0 }, "allow", 0.0])
    );
    assert_eq!(one["links"]["run"], "schedules/nightly/run?queue=default");
    let (_, mut same) = get(&web, "/schedules/nightly").await;
    assert_eq!(same["links"]["self"], "../schedules/nightly?queue=default");
    same["links"] = one["links"].clone();
    assert_eq!(same, *one);
    assert_eq!(get(&web, &format!("/{}", one["links"]["self"].as_str().unwrap())).await.0, 200);
    assert_eq!(code(&get(&web, "/schedules/nightly?queue=mail").await), (404, "unknown"));
    let paused = |paused: bool, changed: bool| json!({ "schedule": "nightly", "paused": paused, "changed": changed });
    assert_eq!(post(&web, "/schedules/nightly/pause").await.1, paused(true, true));
    assert_eq!(post(&web, "/schedules/nightly/pause").await.1, paused(true, false));
    assert!(client.schedule("nightly").get().await.unwrap().paused_at.is_some());
    assert_eq!(post(&web, "/schedules/nightly/resume").await.1, paused(false, true));
    let (status, ran) = post(&web, "/schedules/nightly/run").await;
    assert_eq!(status, 202);
    assert_eq!(get(&web, &format!("/jobs/{}", ran["task_id"].as_str().unwrap())).await.1["task"], "add");
    assert_eq!(code(&post(&web, "/schedules/none/run").await), (404, "unknown"));
    assert_eq!(code(&post(&web, "/schedules/%20/run").await), (400, "bad_request"));
    scheduled(&client, "nightly", "mail").await;
    assert_eq!(code(&post(&web, "/schedules/nightly/run").await), (400, "bad_request"));
    assert_eq!(code(&get(&web, "/schedules/nightly").await), (400, "bad_request"));
    assert_eq!(get(&web, "/schedules/nightly?queue=mail").await.1["queue"], "mail");
    assert_eq!(post(&web, "/schedules/nightly/pause?queue=mail").await.0, 200);
    assert!(client.schedule("nightly").in_queue("default").get().await.unwrap().paused_at.is_none());
}

#[tokio::test]
async fn schedules_come_in_pages() {
    let client = Client::memory();
    let web = Web::new(&client);
    for (name, queue) in [("c", "default"), ("a", "mail"), ("b", "default"), ("a", "default"), ("z", "mail")] {
        scheduled(&client, name, queue).await;
    }
    let named = |page: &Value| -> Vec<String> {
        let shown = |one: &Value| format!("{}/{}", one["queue"].as_str().unwrap(), one["name"].as_str().unwrap());
        page["schedules"].as_array().unwrap().iter().map(shown).collect()
    };
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) = get(&web, &format!("/schedules?limit=2{after}")).await;
        found.extend(named(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={}", next.replace(' ', "+"));
    }
    assert_eq!(found, ["default/a", "default/b", "default/c", "mail/a", "mail/z"]);
    assert_eq!(named(&get(&web, "/schedules?queue=mail").await.1), ["mail/a", "mail/z"]);
    assert_eq!(code(&get(&web, "/schedules?after=x").await), (400, "bad_request"));
}
