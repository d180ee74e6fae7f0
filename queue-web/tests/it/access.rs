//! Who may do what: every route, by the description.

use http::{Request, StatusCode};
use queue_core::{Client, State};
use queue_web::{Access, Web};
use serde_json::Value;

use crate::support::{Line, added, ask, code, get, open, post};

/// The routes that probes may ask without being let in.
const OPEN: [&str; 3] = ["/livez", "/readyz", "/healthz"];

/// Every route of the description, as method and path with something in place of names.
async fn routes(client: &Client) -> Vec<(String, String)> {
    let web = Web::new(client).metrics(|| Box::pin(async { String::new() }));
    let (_, described) = get(&web, "/openapi.json").await;
    let id = added(client).await.to_string();
    let mut routes = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        let path = path.replace("{id}", &id).replace("{name}", "default");
        assert!(!path.contains('{'), "{path}");
        routes.extend(methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    assert!(routes.len() >= 24, "{routes:?}");
    routes
}

async fn status(web: &Web, method: &str, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).body(Default::default()).unwrap();
    let response = web.handle(request).await;
    (response.status(), String::from_utf8_lossy(response.body()).into_owned())
}

#[tokio::test]
async fn whoever_may_only_look_changes_nothing() {
    let client = Client::memory();
    let web = Web::new(&client).metrics(|| Box::pin(async { String::new() }));
    let mut refused = 0;
    for (method, path) in routes(&client).await {
        let (status, body) = status(&web, &method, &path).await;
        let is_safe = method == "GET";
        assert_eq!(status != 403, is_safe, "{method} {path}: {body}");
        if !is_safe {
            assert!(body.contains("read_only"), "{method} {path}: {body}");
            refused += 1;
        }
    }
    assert_eq!(refused, 7);
    let jobs = client.jobs(&Default::default()).await.unwrap().jobs;
    assert!(jobs.iter().all(|job| job.state == State::Ready) && !client.queue("default").is_paused().await.unwrap());
}

#[tokio::test]
async fn whoever_may_do_nothing_sees_what_probes_see() {
    let (line, client) = Line::new();
    let routes = routes(&client).await;
    let web = Web::new(&client).access(|_| Access::None);
    for path in OPEN {
        assert_eq!(get(&web, path).await.0, 200, "{path}");
    }
    // Nothing else so much as asks the storage.
    line.silence();
    for (method, path) in routes.iter().filter(|(_, path)| !OPEN.contains(&&**path)) {
        assert_eq!(code(&ask(&web, method, path).await), (403, "forbidden"), "{method} {path}");
    }
    for (method, path) in [("GET", "/nowhere"), ("DELETE", "/stats"), ("POST", "/livez")] {
        assert_eq!(code(&ask(&web, method, path).await), (403, "forbidden"), "{method} {path}");
    }
}

#[tokio::test]
async fn another_site_can_not_make_a_browser_change_anything() {
    let client = Client::memory();
    let web = open(&client).metrics(|| Box::pin(async { String::new() }));
    let routes = routes(&client).await;
    for (method, path) in routes {
        for (site, may) in
            [("cross-site", false), ("same-site", false), ("odd", false), ("same-origin", true), ("none", true)]
        {
            let request = Request::builder().method(&*method).uri(&path).header("sec-fetch-site", site);
            let response = web.handle(request.body(Default::default()).unwrap()).await;
            let refused = String::from_utf8_lossy(response.body()).contains("\"cross_site\"");
            assert_eq!(refused, method != "GET" && !may, "{method} {path} from {site}");
            assert_eq!(response.status() == 403, refused, "{method} {path} from {site}");
        }
    }
}

#[tokio::test]
async fn without_tls_the_origin_tells_the_site() {
    let web = open(&Client::memory());
    for (host, origin, status) in [
        (Some("jobs.example:8080"), "http://jobs.example:8080", 200),
        (Some("Jobs.example:8080"), "http://jobs.example:8080", 200),
        (Some("jobs.example:8080"), "http://evil.example:8080", 403),
        (Some("jobs.example:8080"), "http://jobs.example", 403),
        (Some("jobs.example"), "null", 403),
        (None, "http://jobs.example", 403),
    ] {
        let mut request = Request::post("/queues/mail/pause").header("origin", origin);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let response = web.handle(request.body(Default::default()).unwrap()).await;
        assert_eq!(response.status(), status, "{origin} to {host:?}");
    }
    // What the browser says of the site counts for more: a proxy may have changed the host.
    let request =
        Request::post("/queues/mail/pause").header("origin", "https://x").header("sec-fetch-site", "same-origin");
    assert_eq!(web.handle(request.body(Default::default()).unwrap()).await.status(), 200);
}

#[tokio::test]
async fn the_head_of_the_request_decides() {
    let client = Client::memory();
    let web = Web::new(&client).access(|parts| match parts.headers.get("x-role") {
        Some(role) if role == "operator" => Access::All,
        Some(_) => Access::Read,
        None => Access::None,
    });
    for (role, [look, change]) in [(None, [403, 403]), (Some("guest"), [200, 403]), (Some("operator"), [200, 200])] {
        for (method, path, expected) in [("GET", "/stats", look), ("POST", "/queues/mail/pause", change)] {
            let mut request = Request::builder().method(method).uri(path);
            if let Some(role) = role {
                request = request.header("x-role", role);
            }
            let status = web.handle(request.body(Default::default()).unwrap()).await.status();
            assert_eq!(status, expected, "{role:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let client = Client::memory();
    let id = added(&client).await;
    for (method, path, allow) in [
        ("POST", "/stats".to_owned(), "GET, HEAD"),
        ("DELETE", format!("/jobs/{id}"), "GET, HEAD"),
        ("GET", format!("/jobs/{id}/cancel"), "POST"),
        ("HEAD", format!("/jobs/{id}/cancel"), "POST"),
        ("BREW", "/queues/mail/pause".to_owned(), "POST"),
    ] {
        let request = Request::builder().method(method).uri(&path).body(Default::default()).unwrap();
        let response = open(&client).handle(request).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &allow.parse().unwrap()),
            "{path}"
        );
    }
    assert_eq!(code(&post(&open(&client), "/livez").await), (405, "wrong_method"));
    for path in ["/nowhere", "/jobs/x/y/z", "/stats/now", "//stats", "/queues//pause", "/metrics", "/favicon.ico"] {
        assert_eq!(code(&get(&open(&client), path).await), (404, "no_route"), "{path}");
    }
}

#[tokio::test]
async fn the_head_alone_is_that_of_the_whole() {
    let client = Client::memory();
    let id = added(&client).await;
    let (line, cut) = Line::new();
    line.cut();
    for (client, path) in [(&client, format!("/jobs/{id}")), (&client, "/nowhere".into()), (&cut, "/readyz".into())] {
        let [whole, head] = ["GET", "HEAD"].map(|method| Request::builder().method(method).uri(&path));
        let whole = Web::new(client).handle(whole.body(Default::default()).unwrap()).await;
        let head = Web::new(client).handle(head.body(Default::default()).unwrap()).await;
        assert_eq!((head.status(), head.headers()), (whole.status(), whole.headers()), "{path}");
        assert!(head.body().is_empty() && whole.body().len().to_string() == head.headers()["content-length"]);
    }
}

#[tokio::test]
async fn a_storage_that_is_away_is_told_by_every_route() {
    let (line, client) = Line::new();
    let routes = routes(&client).await;
    line.cut();
    let still: [&str; 5] = ["/", "/livez", "/openapi.json", "/metrics", "/nowhere"];
    for (method, path) in routes.iter().filter(|(_, path)| !still.contains(&&**path)) {
        let (status, body) = ask(&open(&client), method, path).await;
        let told =
            body["status"] == "unready" || body["status"] == "unhealthy" || body["error"]["code"] == "unavailable";
        assert!(status == 503 && told, "{method} {path}: {status} {body}");
        assert!(
            body.to_string().contains("the storage does not answer: connection refused"),
            "{method} {path}: {body}"
        );
        assert!(!body.to_string().contains("far.example"), "{method} {path}: {body}");
    }
}

#[tokio::test]
async fn no_refusal_tells_where_the_storage_is() {
    let (_line, client) = Line::new();
    let gone = added(&client).await;
    client.delete(gone).await.unwrap();
    let never = "3ZZZZZZZZZZZZZZZZZZZZZZZZZ";
    let asked = [
        ("GET", format!("/jobs/{never}"), 404),
        ("GET", format!("/jobs/{gone}"), 410),
        ("POST", format!("/jobs/{never}/cancel"), 404),
        ("POST", format!("/jobs/{gone}/cancel"), 410),
        ("POST", format!("/jobs/{never}/retry"), 404),
        ("POST", format!("/jobs/{gone}/retry"), 410),
        ("GET", "/queues/none".into(), 404),
        ("GET", "/health/queue?queue=none".into(), 404),
        ("GET", "/schedules/none".into(), 404),
        ("POST", "/schedules/none/run?queue=mail".into(), 404),
    ];
    for (method, path, expected) in asked {
        let (status, body) = ask(&open(&client), method, &path).await;
        let text = body.to_string();
        assert!(
            status == expected && !text.contains("redis") && !text.contains("far.example"),
            "{method} {path}: {body}"
        );
    }
}

#[tokio::test]
async fn metrics_are_what_the_program_says() {
    let web = Web::new(&Client::memory()).metrics(|| Box::pin(async { "up 1\n".to_owned() }));
    let response = web.handle(Request::get("/metrics").body(Default::default()).unwrap()).await;
    assert_eq!(&response.body()[..], b"up 1\n");
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let has = |described: &Value| described["paths"].get("/metrics").is_some();
    assert!(has(&get(&web, "/openapi.json").await.1));
    assert!(!has(&get(&Web::new(&Client::memory()), "/openapi.json").await.1));
}
