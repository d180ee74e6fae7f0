//! What the health port answers: whether the process lives, whether its worker takes jobs, and what it measures. Nobody is
//! asked who he is, so nothing else.

use std::pin::Pin;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use queue_core::{Client, Readiness};
use queue_web::Web;

/// A text that is to come.
pub(crate) type Text = Pin<Box<dyn Future<Output = String> + Send>>;
/// What measures.
pub(crate) type Source = Box<dyn Fn() -> Text + Send + Sync>;

#[derive(Clone, Debug)]
pub(crate) struct Health {
    web: Web,
    measures: bool,
}

impl Health {
    pub(crate) fn new(client: &Client, readiness: Readiness, metrics: Option<Source>) -> Self {
        let ready = move || match () {
            () if readiness.is_draining() || readiness.is_stopped() => Err("the worker stops".to_owned()),
            () if readiness.is_ready() => Ok(()),
            () => Err("the storage does not know the worker yet".to_owned()),
        };
        let (web, measures) = (Web::new(client).ready_when(ready), metrics.is_some());
        let web = match metrics {
            Some(metrics) => web.metrics(metrics),
            None => web,
        };
        Self { web, measures }
    }

    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path();
        match path.strip_suffix('/').unwrap_or(path) {
            "/livez" | "/readyz" | "/healthz" => self.web.handle(request).await,
            "/metrics" if self.measures => self.web.handle(request).await,
            "/metrics" => not_found(
                "this program measures nothing",
                "switch it on in its code, with the feature `metrics`: \
                 `queue::cli::program(build).metrics(|client| Metrics::new(client).source())`",
            ),
            _ if self.measures => not_found(NOTHING, "there are `/livez`, `/readyz`, `/healthz` and `/metrics`"),
            _ => not_found(NOTHING, "there are `/livez`, `/readyz` and `/healthz`"),
        }
    }
}

const NOTHING: &str = "there is nothing at this path of a worker's health port";

/// As [`Web`] tells what goes wrong. Neither text has anything in it that JSON escapes.
fn not_found(message: &str, help: &str) -> Response<Bytes> {
    let body = format!(r#"{{"error":{{"code":"no_route","message":"{message}","help":"{help}"}}}}"#);
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use queue_core::{Context, Task, TaskError, TaskList, Worker};

    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Add;

    impl Task for Add {
        type Output = ();
        const NAME: &'static str = "add";

        async fn run(self, _: Context) -> Result<(), TaskError> {
            Ok(())
        }
    }

    async fn asked(health: &Health, path: &str) -> (StatusCode, String) {
        let answer = health.answer(Request::get(path).body(Bytes::new()).unwrap()).await;
        (answer.status(), String::from_utf8(answer.body().to_vec()).unwrap())
    }

    /// Who can sign in nowhere is not told to, and who looks for metrics learns how there are some.
    #[tokio::test]
    async fn what_is_not_there_says_what_is() {
        let client = Client::memory();
        let worker = Worker::builder(&client).tasks(TaskList::new().with::<Add>()).build().unwrap();
        let source = || -> Source { Box::new(|| Box::pin(async { "up 1\n".to_owned() })) };
        let of = |metrics| Health::new(&client, worker.readiness(), metrics);
        let (without, with) = (of(None), of(Some(source())));
        let table = [
            (&without, "/health", "there are `/livez`, `/readyz` and `/healthz`"),
            (&with, "/queue/stats", "there are `/livez`, `/readyz`, `/healthz` and `/metrics`"),
            (&without, "/metrics", "queue::cli::program(build).metrics("),
        ];
        for (health, path, help) in table {
            let (status, body) = asked(health, path).await;
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let said = &body["error"];
            assert_eq!((status.as_u16(), &said["code"]), (404, &"no_route".into()), "{path}");
            assert!(said["help"].as_str().unwrap().contains(help), "{path}: {said}");
        }
        for path in ["/livez", "/livez/"] {
            assert_eq!(asked(&without, path).await.0, 200, "{path}");
        }
        assert_eq!(asked(&without, "/readyz").await.0, 503);
        assert_eq!(asked(&with, "/metrics").await, (StatusCode::OK, "up 1\n".to_owned()));
    }
}
