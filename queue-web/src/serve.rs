//! From a request to a response: every request goes through here.

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};

use crate::access::{Access, admit, is_write};
use crate::answer::{Reply, response};
use crate::problem::Problem;
use crate::query::Query;
use crate::route::{Asked, Gate, Path, Route, Time, decoded};
use crate::table::ROUTES;
use crate::web::Web;

impl Web {
    /// Answers a request. Its path is relative to where this is mounted: `/queue/jobs/7` under `/queue` is `/jobs/7`, with
    /// or without the first slash. Its body is ignored.
    ///
    /// What goes wrong is answered as JSON, `{"error":{"code","message","help"}}`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # use queue_core::Client;
    /// # use queue_web::Web;
    /// let web = Web::new(&Client::memory());
    /// let response = web.handle(http::Request::post("/queues/mail/pause").body(Default::default())?).await;
    /// assert_eq!(response.status(), 403);
    /// assert!(String::from_utf8_lossy(response.body()).contains(r#""code":"read_only""#));
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    /// Dropped, a change may have been made or not.
    ///
    /// # Panics
    /// Outside a Tokio runtime that has its time enabled; and where a function panics that was handed to this `Web`.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (parts, _) = request.into_parts();
        let reply = self.reply(&parts).await.map_err(|problem| problem.without_place(&self.client.location()));
        response(reply, parts.method == Method::HEAD)
    }

    async fn reply(&self, parts: &Parts) -> Reply {
        let path = Path::of(parts.uri.path());
        let found = find(self, &path, &parts.method);
        // The one gate for every route: what is neither a probe's nor let in by `Access` ends here, also where nothing is.
        let is_write = found.as_ref().is_ok_and(|(route, _)| is_write(&route.method));
        let is_open = !is_write && found.as_ref().is_ok_and(|(route, _)| route.gate == Gate::Open);
        if !is_open {
            admit(self.allowed(parts), parts, is_write)?;
        }
        let (route, params) = found?;
        let params = params.into_iter().map(decoded).collect::<Result<_, _>>()?;
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let known: Vec<_> = route.query.iter().map(|param| param.name).collect();
        query.check(&format!("{} {}", route.method, route.path), &known)?;
        let asked = Asked { web: self.clone(), params, query, base: path.base(), routes: ROUTES };
        self.run(route, asked).await
    }

    fn allowed(&self, parts: &Parts) -> Access {
        self.settings.access.as_ref().map(|decide| decide(parts)).unwrap_or_default()
    }

    async fn run(&self, route: &Route, asked: Asked) -> Reply {
        let running = (route.run)(asked);
        if route.time == Time::Own {
            return running.await;
        }
        let patience = self.settings.timeout;
        let late = |_| {
            tracing::warn!(storage = self.client.location(), ?patience, "the storage does not answer");
            let message = format!("the storage does not answer: timed out after {patience:?}");
            let help = "check the storage and ask again; what was to be changed may have been";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message, help)
        };
        tokio::time::timeout(patience, running).await.map_err(late)?
    }
}

/// The route of a request, and what stands for the names in its braces.
fn find<'a>(web: &Web, path: &Path<'a>, method: &Method) -> Result<(&'static Route, Vec<&'a str>), Problem> {
    let there = ROUTES.iter().filter(|route| route.is_in(web));
    let here: Vec<_> = there.filter_map(|route| Some((route, route.fits(path)?))).collect();
    if here.is_empty() {
        let help = "the document at the mount point, and `openapi.json`, list what there is";
        return Err(Problem::new(StatusCode::NOT_FOUND, "no_route", "there is nothing at this path", help));
    }
    let allow = methods(here.iter().map(|(route, _)| &route.method));
    let asked = if *method == Method::HEAD { &Method::GET } else { method };
    let found = here.into_iter().find(|(route, _)| route.method == *asked);
    found.ok_or_else(|| Problem {
        allow: Some(allow.clone()),
        ..Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong_method",
            format!("this path does not take {method}"),
            format!("use {allow}"),
        )
    })
}

/// As the header `Allow` lists them.
fn methods<'a>(methods: impl Iterator<Item = &'a Method>) -> String {
    let shown = methods.map(|method| if *method == Method::GET { "GET, HEAD" } else { method.as_str() });
    shown.collect::<Vec<_>>().join(", ")
}
