//! Mounted into axum routers.

use std::sync::Arc;

use ::axum::Router;
use ::axum::body::{Body, to_bytes};
use ::axum::extract::State;
use ::axum::routing::get;
use http::{Request, Response};
use queue_core::Client;
use queue_web::{Access, Web};
use tower::ServiceExt as _;

use crate::support::added;

async fn ask(app: &Router, method: &str, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).body(Body::from("ignored")).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

/// Asks everything of a mount whose path is this.
async fn works_at(app: &Router, client: &Client, mount: &str, with_slash: bool) {
    let id = added(client).await;
    for path in [format!("{mount}/livez"), format!("{mount}/jobs/{id}"), format!("{mount}/health/tasks?queue=default")]
    {
        assert_eq!(ask(app, "GET", &path).await.status(), 200, "{path}");
    }
    let index = if mount.is_empty() { "/" } else { mount };
    assert!(text(ask(app, "GET", index).await).await.contains("/openapi.json"), "{mount}");
    assert_eq!(ask(app, "GET", &format!("{mount}/")).await.status() == 200, with_slash, "{mount}/");
    let paused = ask(app, "POST", &format!("{mount}/queues/a%2Fb/pause")).await;
    assert_eq!(text(paused).await, r#"{"paused":true,"queue":"a/b"}"#, "{mount}");
    let wrong = ask(app, "DELETE", &format!("{mount}/stats")).await;
    assert_eq!((wrong.status().as_u16(), &wrong.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()), "{mount}");
    assert!(text(ask(app, "GET", &format!("{mount}/nowhere")).await).await.contains("no_route"), "{mount}");
    let head = ask(app, "HEAD", &format!("{mount}/livez")).await;
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"18".parse().unwrap()));
    assert_eq!(text(head).await, "");
}

fn web() -> (Client, Web) {
    let client = Client::memory();
    let web = Web::new(&client).access(|_| Access::All);
    (client, web)
}

#[tokio::test]
async fn as_a_service_at_the_root_and_below() {
    let (client, web) = web();
    works_at(&Router::new().fallback_service(web.clone().into_service()), &client, "", true).await;
    let app = Router::new().nest_service("/queue", web.clone().into_service());
    works_at(&app, &client, "/queue", true).await;
    works_at(&Router::new().nest("/admin", app), &client, "/admin/queue", true).await;
    let app = Router::new().nest_service("/{tenant}/queue", web.into_service());
    works_at(&app, &client, "/ac%2Fme/queue", true).await;
}

#[derive(Clone)]
struct App {
    name: Arc<str>,
}

async fn name(State(app): State<App>) -> String {
    app.name.to_string()
}

#[tokio::test]
async fn beside_routes_with_state() {
    let (client, web) = web();
    let state = || App { name: "mine".into() };
    let mine = || Router::new().route("/name", get(name));
    let nested = mine().nest("/queue", web.clone().into_router::<App>()).with_state(state());
    works_at(&nested, &client, "/queue", false).await;
    assert_eq!(text(ask(&nested, "GET", "/name").await).await, "mine");
    let twice = Router::new().nest("/admin", mine().nest("/queue", web.clone().into_router())).with_state(state());
    works_at(&twice, &client, "/admin/queue", false).await;
    let service = mine().nest_service("/queue", web.clone().into_service()).with_state(state());
    works_at(&service, &client, "/queue", true).await;
    let merged = mine().merge(web.into_router::<App>()).with_state(state());
    works_at(&merged, &client, "", true).await;
    assert_eq!(text(ask(&merged, "GET", "/name").await).await, "mine");
}

#[tokio::test]
async fn access_sees_what_layers_put_in() {
    #[derive(Clone)]
    struct Operator;
    let client = Client::memory();
    let web = Web::new(&client).access(|parts| match parts.extensions.get::<Operator>() {
        Some(_) => Access::All,
        None => Access::None,
    });
    let app = Router::new().nest_service("/queue", web.into_service());
    assert_eq!(ask(&app, "GET", "/queue/stats").await.status(), 403);
    let app = app.layer(::axum::Extension(Operator));
    assert_eq!(ask(&app, "POST", "/queue/queues/mail/pause").await.status(), 200);
}
