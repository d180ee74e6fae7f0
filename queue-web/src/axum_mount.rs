//! Mounted into an axum router.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tower_service::Service;

use crate::web::Web;

impl Web {
    /// A tower service, for [`Router::nest_service`] under any path, which answers there with and without a slash at the
    /// end; at the root it is the router's [`fallback_service`](Router::fallback_service). It ignores what the body holds.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// use axum::Router;
    /// use queue_core::Client;
    /// use queue_web::Web;
    /// use tower::ServiceExt as _;
    ///
    /// let web = Web::new(&Client::memory());
    /// let app = Router::<()>::new().nest_service("/queue", web.into_service());
    ///
    /// let asked = http::Request::get("/queue/livez").body(axum::body::Body::empty())?;
    /// assert_eq!(app.oneshot(asked).await?.status(), 200);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn into_service(self) -> WebService {
        WebService { web: self }
    }

    /// A router with any state, for [`Router::merge`] and for [`Router::nest`] into one with state.
    ///
    /// Nested, it does not answer at its path with a slash at the end: axum's `nest` never does. Prefer
    /// [`into_service`](Self::into_service), unless layers are to be put around it as a router.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// use axum::Router;
    /// use queue_core::Client;
    /// use queue_web::Web;
    /// use tower::ServiceExt as _;
    ///
    /// #[derive(Clone)]
    /// struct State { client: Client }
    ///
    /// let client = Client::memory();
    /// let app = Router::new().nest("/queue", Web::new(&client).into_router::<State>()).with_state(State { client });
    ///
    /// let asked = http::Request::get("/queue/livez").body(axum::body::Body::empty())?;
    /// assert_eq!(app.oneshot(asked).await?.status(), 200);
    /// # Ok(()) }
    /// ```
    pub fn into_router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let service = self.into_service();
        Router::new().route_service("/", service.clone()).route_service("/{*rest}", service)
    }
}

/// A [`Web`] as a tower service: what [`Web::into_service`] returns. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct WebService {
    web: Web,
}

impl<B> Service<Request<B>> for WebService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let web = self.web.clone();
        let request = request.map(|_| Bytes::new());
        Box::pin(async move { Ok(web.handle(request).await.map(Body::from)) })
    }
}
