//! What is described is what is answered.

use std::collections::BTreeSet;

use queue_core::{Call, Client, Schedule, State};
use queue_web::Web;
use serde_json::Value;

use crate::support::{Add, Fail, Hold, Line, added, ask, drain, get, open, until, work};

/// A description, and which of its answers have been seen.
struct Described {
    paths: Value,
    seen: BTreeSet<String>,
}

impl Described {
    async fn of(web: &Web) -> Self {
        let (_, described) = get(web, "/openapi.json").await;
        assert_eq!(described["openapi"], "3.1.0");
        Self { paths: described["paths"].clone(), seen: BTreeSet::new() }
    }

    /// Asks, and holds the answer against the description: no field too few, none too many, each of its type.
    async fn check(&mut self, web: &Web, method: &str, path: &str, at: &str) {
        let (status, body) = ask(web, method, at).await;
        let response = &self.paths[path][method.to_lowercase()]["responses"][status.as_str()];
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {at}: {status} is not described: {body}");
        self.seen.insert(format!("{method} {path} {}", status.as_str()));
        if schema["$ref"] == "#/components/schemas/Error" {
            assert!(body["error"]["code"].is_string(), "{method} {at}: {body}");
            return;
        }
        for field in schema["required"].as_array().unwrap() {
            assert!(body.get(field.as_str().unwrap()).is_some(), "{method} {at}: no {field} in {body}");
        }
        for (name, value) in body.as_object().unwrap() {
            let kind = &schema["properties"][name];
            assert!(kind.is_object(), "{method} {at}: `{name}` is not described");
            let kinds = match &kind["type"] {
                Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
                Value::String(kind) => vec![&**kind],
                _ => continue,
            };
            let is = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_f64() => "number",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            assert!(kinds.contains(&is), "{method} {at}: `{name}` is {is}, described as {kinds:?}");
        }
    }

    /// The answers that are described and were not seen.
    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for (path, methods) in self.paths.as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let statuses = operation["responses"].as_object().unwrap().keys().filter(|key| *key != "default");
                let all = statuses.map(|status| format!("{} {path} {status}", method.to_uppercase()));
                missed.extend(all.filter(|answer| !self.seen.contains(answer)));
            }
        }
        missed
    }
}

#[tokio::test]
async fn every_described_answer_is_given() {
    let client = Client::memory();
    let web = open(&client).show_arguments(true).health_limit(0);
    let mut all = Described::of(&web).await;
    let schedule = Schedule::new("nightly", Call::new(Add { a: 1, b: 2 })).cron("0 3 * * *");
    client.put_schedule(schedule).await.unwrap();
    let gone = added(&client).await;
    let dead = Call::new(Fail { secret: "x".into() }).enqueue(&client).await.unwrap().id();
    drain(&client).await;
    client.delete(gone).await.unwrap();
    let worker = work(&client);
    let held = Call::new(Hold {}).enqueue(&client).await.unwrap().id();
    until(&client, held, State::Running).await;

    for path in ["/", "/livez", "/readyz", "/healthz", "/health/tasks", "/health/queue", "/jobs", "/dead", "/stats"] {
        all.check(&web, "GET", path, path).await;
    }
    for path in ["/queues", "/workers", "/schedules", "/openapi.json"] {
        all.check(&web, "GET", path, path).await;
    }
    for (path, at) in [("/health/tasks", "?queue=%20"), ("/health/queue", "?queue=%20"), ("/jobs", "?limit=x")] {
        all.check(&web, "GET", path, &format!("{path}{at}")).await;
    }
    for path in ["/health/tasks", "/health/queue"] {
        all.check(&web, "GET", path, &format!("{path}?queue=none")).await;
    }
    for path in ["/dead", "/schedules"] {
        all.check(&web, "GET", path, &format!("{path}?limit=x")).await;
    }
    let never = "3ZZZZZZZZZZZZZZZZZZZZZZZZZ";
    let done = added(&client).await;
    until(&client, done, State::Completed).await;
    for id in [&*done.to_string(), &dead.to_string(), &held.to_string(), "x", never, &gone.to_string()] {
        all.check(&web, "GET", "/jobs/{id}", &format!("/jobs/{id}?explain")).await;
        all.check(&web, "POST", "/jobs/{id}/cancel", &format!("/jobs/{id}/cancel")).await;
        all.check(&web, "POST", "/jobs/{id}/retry", &format!("/jobs/{id}/retry")).await;
    }
    until(&client, held, State::Cancelled).await;
    all.check(&web, "POST", "/jobs/{id}/cancel", &format!("/jobs/{held}/cancel")).await;
    for name in ["default", "none", "%20"] {
        all.check(&web, "GET", "/queues/{name}", &format!("/queues/{name}")).await;
        for verb in ["pause", "resume"] {
            all.check(&web, "POST", &format!("/queues/{{name}}/{verb}"), &format!("/queues/{name}/{verb}")).await;
        }
    }
    for name in ["nightly", "none", "%20"] {
        all.check(&web, "GET", "/schedules/{name}", &format!("/schedules/{name}")).await;
        for verb in ["pause", "resume", "run"] {
            all.check(&web, "POST", &format!("/schedules/{{name}}/{verb}"), &format!("/schedules/{name}/{verb}")).await;
        }
    }
    worker.stop().await;
    added(&client).await;
    let (line, cut) = Line::new();
    line.cut();
    for web in [web, Web::new(&cut)] {
        for path in ["/readyz", "/healthz", "/health/tasks", "/health/queue"] {
            all.check(&web, "GET", path, path).await;
        }
    }
    assert!(all.missed().is_empty(), "{:#?}", all.missed());
}

#[tokio::test]
async fn the_documents_name_every_route() {
    let web = Web::new(&Client::memory()).metrics(|| Box::pin(async { String::new() }));
    let (_, described) = get(&web, "/openapi.json").await;
    let (_, index) = get(&web, "/").await;
    let guide = include_str!("../../src/lib.rs");
    let (mut count, mut ids) = (0, BTreeSet::new());
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let (method, listed) = (method.to_uppercase(), index["routes"].as_array().unwrap());
            assert!(listed.iter().any(|route| route["method"] == *method && route["path"] == **path), "{path}");
            let named = |end: char| guide.contains(&format!("{method} {path}{end}"));
            assert!(named('`') || named('?'), "the crate's table lacks {method} {path}");
            let in_path: Vec<_> =
                operation["parameters"].as_array().unwrap().iter().filter(|one| one["in"] == "path").collect();
            assert_eq!(in_path.len(), path.matches('{').count(), "{path}");
            ids.insert(operation["operationId"].as_str().unwrap().to_owned());
            count += 1;
        }
    }
    assert_eq!((index["routes"].as_array().unwrap().len(), ids.len()), (count, count));
    assert_eq!(
        guide.matches("//! | `GET /").count() + guide.matches("`POST /").count() + guide.matches(", `GET /").count(),
        count
    );
}
