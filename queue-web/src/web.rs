//! What is mounted, and how it is set.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::request::Parts;
use queue_core::Client;

use crate::access::Access;

type Decide = Arc<dyn Fn(&Parts) -> Access + Send + Sync>;
type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;
type Metrics = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// Health checks and a JSON API on one [`Client`]: cheap to clone, and the same under every framework.
///
/// [`handle`](Self::handle) answers a request of the crate `http`. `into_service` and `into_router` (feature `axum`) and
/// `into_actix` (feature `actix`) mount it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
/// use queue_core::Client;
/// use queue_web::Web;
///
/// let web = Web::new(&Client::memory());
/// let response = web.handle(http::Request::get("/readyz").body(Default::default())?).await;
/// assert_eq!(response.status(), 200);
/// assert_eq!(&response.body()[..], br#"{"status":"ready"}"#);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "it answers nothing until it is mounted, or asked with `.handle(..)`"]
pub struct Web {
    pub(crate) client: Client,
    pub(crate) settings: Arc<Settings>,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) health_limit: u64,
    pub(crate) health_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) show_arguments: bool,
    pub(crate) access: Option<Decide>,
    pub(crate) checks: Vec<Check>,
    pub(crate) metrics: Option<Metrics>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            health_limit: 10_000,
            health_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(10),
            show_arguments: false,
            access: None,
            checks: Vec::new(),
            metrics: None,
        }
    }
}

impl Web {
    /// One with default settings, on this client's storage.
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone(), settings: Arc::default() }
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// With more pending jobs than this, `/health/tasks` and `/health/queue` answer 503. Default 10,000.
    pub fn health_limit(self, pending: u64) -> Self {
        self.set(|settings| settings.health_limit = pending)
    }

    /// How long `/readyz`, `/health/tasks` and `/health/queue` wait for the storage before they answer 503. Keep it below
    /// the patience of whoever probes. Default 2 s.
    pub fn health_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.health_timeout = timeout)
    }

    /// How long every other route may take before it answers 504. Default 10 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.timeout = timeout)
    }

    /// Whether the arguments of jobs, dead letters and schedules are shown. They may hold what is nobody's business, so
    /// by default they are not.
    pub fn show_arguments(self, show: bool) -> Self {
        self.set(|settings| settings.show_arguments = show)
    }

    /// Decides of each request what it may do, by its head: a header that a proxy sets, a cookie, or under axum an
    /// extension that a layer before this one has put in (actix has guards for that: none of its extensions are seen
    /// here). Whoever it does not know it should refuse. It is asked once for each request but those for `/livez`, `/readyz` and
    /// `/healthz`, and the last one that is set counts. Default [`Access::Read`] for everyone.
    ///
    /// A layer of the framework in front of all this does as well; then `|_| Access::All` opens the rest.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// use queue_core::Client;
    /// use queue_web::{Access, Web};
    ///
    /// let web = Web::new(&Client::memory()).access(|parts| match parts.headers.get("authorization") {
    ///     Some(token) if token == "Bearer s3cret" => Access::All,
    ///     _ => Access::None,
    /// });
    /// let asked = http::Request::get("/stats").body(Default::default())?;
    /// assert_eq!(web.handle(asked).await.status(), 403);
    /// let asked = http::Request::get("/stats").header("authorization", "Bearer s3cret").body(Default::default())?;
    /// assert_eq!(web.handle(asked).await.status(), 200);
    /// # Ok(()) }
    /// ```
    pub fn access(self, decide: impl Fn(&Parts) -> Access + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.access = Some(Arc::new(decide)))
    }

    /// One more thing that must be so for `/readyz` to answer 200: `Err` says why it is not, and is shown. Checks are asked
    /// in the order in which they were added, before the storage is; the first that fails counts. They must not block.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use queue_core::Client;
    /// use queue_web::Web;
    ///
    /// let draining = Arc::new(AtomicBool::new(false));
    /// let seen = draining.clone();
    /// let web = Web::new(&Client::memory())
    ///     .ready_when(move || if seen.load(Ordering::Relaxed) { Err("draining".into()) } else { Ok(()) });
    ///
    /// draining.store(true, Ordering::Relaxed);
    /// let response = web.handle(http::Request::get("/readyz").body(Default::default())?).await;
    /// assert_eq!(response.status(), 503);
    /// assert_eq!(&response.body()[..], br#"{"reason":"draining","status":"unready"}"#);
    /// # Ok(()) }
    /// ```
    pub fn ready_when(self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.checks.push(Arc::new(check)))
    }

    /// Adds `/metrics`, which answers this text as Prometheus' text format. Without it there is no such route.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// use queue_core::Client;
    /// use queue_web::Web;
    ///
    /// let web = Web::new(&Client::memory()).metrics(|| Box::pin(async { "queue_worker_up 1\n".to_owned() }));
    /// let response = web.handle(http::Request::get("/metrics").body(Default::default())?).await;
    /// assert_eq!(&response.body()[..], b"queue_worker_up 1\n");
    /// # Ok(()) }
    /// ```
    pub fn metrics(self, text: impl Fn() -> BoxFuture<'static, String> + Send + Sync + 'static) -> Self {
        self.set(|settings| settings.metrics = Some(Arc::new(text)))
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { health_limit, health_timeout, timeout, show_arguments, .. } = &*self.settings;
        f.debug_struct("Web")
            .field("client", &self.client)
            .field("health_limit", health_limit)
            .field("health_timeout", health_timeout)
            .field("timeout", timeout)
            .field("show_arguments", show_arguments)
            .finish_non_exhaustive()
    }
}
