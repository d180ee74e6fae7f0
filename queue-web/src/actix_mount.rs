//! Mounted into an actix-web application.

use actix_web::body::BoxBody;
use actix_web::web::{ServiceConfig, route};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};

use crate::answer::response;
use crate::problem::Problem;
use crate::web::Web;

/// The part of a path that is not the mount point's; a name that no scope around it has.
const REST: &str = "queue_web_rest";

impl Web {
    /// Mounts it in the scope, or the application, that it is handed to with `configure`; it answers there with and without
    /// a slash at the end. It ignores what the body holds.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), queue_core::BoxError> {
    /// use actix_web::{App, test, web::scope};
    /// use queue_core::Client;
    /// use queue_web::Web;
    ///
    /// let web = Web::new(&Client::memory());
    /// let app = App::new().service(scope("/queue").configure(web.clone().into_actix()));
    ///
    /// let app = test::init_service(app).await;
    /// let response = test::call_service(&app, test::TestRequest::get().uri("/queue/livez").to_request()).await;
    /// assert_eq!(response.status(), 200);
    /// # Ok(()) }
    /// ```
    pub fn into_actix(self) -> impl FnOnce(&mut ServiceConfig) + Clone {
        move |config| {
            let handler = move |request: HttpRequest| {
                let web = self.clone();
                async move { web.answer(&request).await }
            };
            config.route("", route().to(handler.clone())).route(&format!("/{{{REST}:.*}}"), route().to(handler));
        }
    }

    async fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let response = match neutral(request) {
            Some(request) => self.handle(request).await,
            None => {
                response(Err(Problem::bad("this request can't be read", "correct its path and its headers")), false)
            }
        };
        actix(response, request.method() == actix_web::http::Method::HEAD)
    }
}

/// The path behind the mount point, as it was sent. Actix decodes paths before it matches them, all but `/` and `%`; so
/// the mount point ends at the same slash in both.
fn rest(request: &HttpRequest) -> String {
    let matched = request.match_info();
    let mount = matched.as_str().strip_suffix(matched.get(REST).unwrap_or_default()).unwrap_or_default();
    let slashes = mount.trim_end_matches('/').matches('/').count();
    let path = request.uri().path();
    match path.match_indices('/').nth(slashes) {
        Some((at, _)) => path[at..].to_owned(),
        None => "/".to_owned(),
    }
}

/// The request in the types of `http` 1: actix-web has those of 0.2.
fn neutral(request: &HttpRequest) -> Option<Request<Bytes>> {
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let method = Method::from_bytes(request.method().as_str().as_bytes()).ok()?;
    let mut neutral = Request::builder().method(method).uri(format!("{}{query}", rest(request)));
    for (name, value) in request.headers() {
        neutral = neutral.header(name.as_str(), value.as_bytes());
    }
    // HTTP/2 has it in the URI, which loses it here.
    if let Some(authority) = request.uri().authority().filter(|_| !request.headers().contains_key("host")) {
        neutral = neutral.header("host", authority.as_str());
    }
    neutral.body(Bytes::new()).ok()
}

/// The response in actix-web's types, which tell the length themselves.
fn actix(response: Response<Bytes>, head_only: bool) -> HttpResponse {
    let (parts, body) = response.into_parts();
    let status = actix_web::http::StatusCode::from_u16(parts.status.as_u16());
    let mut actix = HttpResponse::build(status.unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in parts.headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH) {
        actix.insert_header((name.as_str(), value.as_bytes()));
    }
    if head_only { actix.body(actix_web::body::None::new()) } else { actix.body(BoxBody::new(body)) }
}
