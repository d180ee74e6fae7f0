//! Mounted into actix-web applications.

use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::{Data, ServiceConfig, get, scope};
use queue_core::Client;
use queue_web::{Access, Web};

use crate::support::added;

/// An answer: the status, the header `Allow`, the body.
type Answer = (u16, Option<String>, String);

/// Asks an application that is set up so one thing after the other.
async fn ask(setup: impl FnOnce(&mut ServiceConfig), asked: &[(&str, String)]) -> Vec<Answer> {
    let app = init_service(App::new().configure(setup)).await;
    let mut answers = Vec::new();
    for (method, path) in asked {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = TestRequest::default().method(method).uri(path).insert_header(("x-role", "operator"));
        let response = call_service(&app, request.set_payload("ignored").to_request()).await;
        let allow = response.headers().get("allow").map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.ok().unwrap();
        answers.push((status, allow, String::from_utf8(body.to_vec()).unwrap()));
    }
    answers
}

/// Asks everything of a mount whose path is this.
async fn works_at(setup: impl FnOnce(&mut ServiceConfig), client: &Client, mount: &str) {
    let id = added(client).await;
    let at = |method, path: &str| (method, format!("{mount}{path}"));
    let index = if mount.is_empty() { "/" } else { "" };
    let asked = [
        at("GET", index),
        at("GET", "/"),
        at("GET", "/livez"),
        at("GET", &format!("/jobs/{id}")),
        at("GET", "/health/tasks?queue=default"),
        at("POST", "/queues/a%2Fb/pause"),
        at("DELETE", "/stats"),
        at("GET", "/nowhere"),
        at("HEAD", "/livez"),
        at("GET", "/queues/%20%3F%25"),
        at("GET", "//livez"),
    ];
    let answers = ask(setup, &asked).await;
    let statuses: Vec<_> = answers.iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 405, 404, 200, 400, 404], "{mount}");
    assert!(answers[0].2.contains("/openapi.json") && answers[1].2 == answers[0].2, "{mount}: {answers:?}");
    assert!(answers[3].2.contains(&id.to_string()), "{mount}: {answers:?}");
    assert_eq!(answers[5].2, r#"{"paused":true,"queue":"a/b"}"#, "{mount}");
    assert_eq!(answers[6].1.as_deref(), Some("GET, HEAD"), "{mount}");
    assert!(answers[7].2.contains("no_route") && answers[8].2.is_empty(), "{mount}: {answers:?}");
    assert!(answers[9].2.contains("` ?%`"), "{mount}: {answers:?}");
}

fn web() -> (Client, Web) {
    let client = Client::memory();
    let web = Web::new(&client).access(|_| Access::All);
    (client, web)
}

#[actix_web::test]
async fn at_the_root_and_below() {
    let (client, web) = web();
    works_at(web.clone().into_actix(), &client, "").await;
    let below = |path: &'static str| {
        let web = web.clone();
        move |config: &mut ServiceConfig| {
            config.service(scope(path).configure(web.into_actix()));
        }
    };
    works_at(below("/queue"), &client, "/queue").await;
    works_at(below("/admin/queue"), &client, "/admin/queue").await;
    works_at(below("/{tenant}/queue"), &client, "/ac%2Fme%20x/queue").await;
    let web = web.clone();
    let twice = move |config: &mut ServiceConfig| {
        config.service(scope("/admin").service(scope("/queue").configure(web.into_actix())));
    };
    works_at(twice, &client, "/admin/queue").await;
}

#[actix_web::test]
async fn beside_routes_with_state() {
    let (client, web) = web();
    let setup = |config: &mut ServiceConfig| {
        config.app_data(Data::new("mine".to_owned()));
        config.service(scope("/queue").configure(web.into_actix()));
        config.route("/name", get().to(async |name: Data<String>| name.to_string()));
    };
    let answers = ask(setup.clone(), &[("GET", "/name".into()), ("GET", "/queue/livez".into())]).await;
    assert_eq!((&*answers[0].2, &*answers[1].2), ("mine", r#"{"status":"alive"}"#));
    works_at(setup, &client, "/queue").await;
}

#[actix_web::test]
async fn access_sees_the_head() {
    let client = Client::memory();
    let web = Web::new(&client).access(|parts| match parts.headers.get("x-role") {
        Some(role) if role == "operator" => Access::Read,
        _ => Access::None,
    });
    let answers = ask(web.into_actix(), &[("GET", "/stats".into()), ("POST", "/queues/mail/pause".into())]).await;
    assert!(answers[0].0 == 200 && answers[1].0 == 403 && answers[1].2.contains("read_only"), "{answers:?}");
}
