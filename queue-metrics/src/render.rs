//! What a program holds.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use metrics::set_global_recorder;
use queue_core::clock::{Clock, SystemClock};
use queue_core::{Client, Timestamp};
use tokio::sync::Mutex;

use crate::counting::{COUNTED, Counting};
use crate::labels::{Limits, Names};
use crate::names::{BACKEND_UP, BUILD};
use crate::observed::Observed;
use crate::sink::{Global, Sink, prometheus};
use crate::stored::Stored;
use crate::text::Page;

/// How long a scrape waits for the storage.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it then waits for a word at all: Prometheus gives up after ten seconds.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The metrics of a client, of its clones, and of the workers on it: counted as things happen, from the moment that this
/// is made, and shown by [`render`](Self::render). Cheap to clone.
///
/// Make one for each storage, when the client is made and before it is used. Two of one client count on their own.
///
/// ```
/// # use queue_core::{Call, Context, Task, TaskError};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
/// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
/// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
/// use queue_core::Client;
/// use queue_metrics::Metrics;
///
/// let client = Client::memory();
/// let metrics = Metrics::new(&client);
/// Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
///
/// let text = metrics.render().await;
/// assert!(text.contains(r#"queue_jobs_enqueued_total{queue="default",task="add"} 1"#));
/// assert!(text.contains(r#"queue_jobs{queue="default",state="ready"} 1"#));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    client: Client,
    clock: Arc<dyn Clock>,
    sink: Arc<Sink>,
    counting: Arc<Counting>,
    reads_storage: bool,
    cache_for: Duration,
    /// Whoever asks meanwhile waits for the one who reads.
    last: Mutex<Last>,
}

/// What was read last.
struct Last {
    /// The text, and when it was read.
    text: Option<(Timestamp, String)>,
    /// The queues that are told apart in it.
    queues: Names,
}

impl Metrics {
    /// Counts what this client does, on a recorder of its own: nothing of it is seen by the macros of the crate `metrics`,
    /// nor the other way round.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self::builder(client).build()
    }

    /// The same, with settings of your own.
    pub fn builder(client: &Client) -> MetricsBuilder {
        MetricsBuilder {
            client: client.clone(),
            clock: Arc::new(SystemClock),
            limits: Limits { queues: 100, tasks: 200 },
            reads_storage: true,
            cache_for: Duration::from_secs(1),
            backend: None,
        }
    }

    /// All of it in Prometheus' text format, version 0.0.4: what was counted so far, and how it stands now with queues,
    /// workers and schedules.
    ///
    /// The storage is asked for the latter, with two small calls for each queue, at most once a second
    /// ([`MetricsBuilder::cache_for`]) however many ask here. Where it does not tell all of that within five seconds, that
    /// part is left out; `queue_backend_up` is 0 if it answers nothing at all, not a ping within two seconds more either.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn render(&self) -> String {
        let stored = self.0.stored().await;
        self.0.sink.text() + &stored
    }

    /// What answers `/metrics`: for `Web::metrics` of the feature `web`, or an endpoint of your own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use queue_core::Client;
    /// # use queue_metrics::Metrics;
    /// let source = Metrics::new(&Client::memory()).source();
    /// assert!(source().await.contains("queue_backend_up 1\n"));
    /// # }
    /// ```
    pub fn source(&self) -> impl Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Clone + Send + Sync + use<> {
        let metrics = self.clone();
        move || {
            let metrics = metrics.clone();
            Box::pin(async move { metrics.render().await })
        }
    }
}

impl Inner {
    async fn stored(&self) -> String {
        let mut last = self.last.lock().await;
        let now = self.clock.now();
        if let Some((at, text)) = &last.text
            && *at <= now
            && now.since(*at) < self.cache_for
        {
            return text.clone();
        }
        let text = self.read(&mut last.queues).await;
        // From now: a storage that is away takes as long as it may, and who waited for that is not to ask again.
        last.text = Some((self.clock.now(), text.clone()));
        text
    }

    async fn read(&self, queues: &mut Names) -> String {
        let mut page = Page::default();
        if self.reads_storage {
            let up = match tokio::time::timeout(PATIENCE, Stored::read(&self.client)).await {
                Ok(Ok(stored)) => {
                    stored.admit(queues, |queue| self.counting.tells(queue));
                    stored.show(&mut page, self.clock.now(), queues, &self.counting.busy());
                    true
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "metrics without what is stored: the storage can't be asked");
                    false
                }
                Err(_) => self.answers().await,
            };
            page.put(&BACKEND_UP, vec![(Vec::new(), f64::from(u8::from(up)))]);
        }
        let location = self.client.location();
        let backend = location.split(':').next().unwrap_or_default().to_owned();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        page.put(&BUILD, vec![(vec![("version", version), ("backend", backend)], 1.0)]);
        page.into_text()
    }

    /// Whether a storage that has not told everything in time answers at all.
    async fn answers(&self) -> bool {
        let why = match tokio::time::timeout(LAST_WORD, self.client.ping()).await {
            Ok(Ok(())) => {
                tracing::warn!("metrics without what is stored: the storage answers, but takes too long to tell all");
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "not even a ping is answered".to_owned(),
        };
        tracing::warn!(why, "metrics without what is stored: the storage does not answer in time");
        false
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.client).finish()
    }
}

/// Builds [`Metrics`]: what [`Metrics::builder`] returns.
#[must_use = "nothing is counted until it is built"]
pub struct MetricsBuilder {
    client: Client,
    clock: Arc<dyn Clock>,
    limits: Limits,
    reads_storage: bool,
    cache_for: Duration,
    backend: Option<Arc<Observed>>,
}

impl MetricsBuilder {
    /// How many queues have a label of their own; those that come later share `_other`, which tells of them as of one queue:
    /// added up, paused once all are, and as late as the latest that is not paused. Of what is stored, queues in which this
    /// process counted something come first, then the others by name. Default 100.
    pub fn queue_limit(mut self, queues: usize) -> Self {
        self.limits.queues = queues;
        self
    }

    /// How many tasks have a label of their own; those that come later share `_other`. Default 200.
    pub fn task_limit(mut self, tasks: usize) -> Self {
        self.limits.tasks = tasks;
        self
    }

    /// Whether it tells what the storage tells: of queues, workers and schedules. That is the same from every process on
    /// one storage, so where there are many, let one or two tell it. Default yes.
    pub fn stored(mut self, tell: bool) -> Self {
        self.reads_storage = tell;
        self
    }

    /// How long what was read from the storage is shown before it is read again. Default 1 s.
    pub fn cache_for(mut self, time: Duration) -> Self {
        self.cache_for = time;
        self
    }

    /// Tells how long this storage takes to answer, and what goes wrong there.
    pub fn backend(mut self, observed: &Arc<Observed>) -> Self {
        self.backend = Some(Arc::clone(observed));
        self
    }

    /// The clock by which what was read grows old. Default the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Begins to count, on a recorder of its own.
    #[must_use]
    pub fn build(self) -> Metrics {
        let recorder = prometheus();
        let text = recorder.handle();
        self.on(Sink::new(Arc::new(recorder), Some(text)))
    }

    /// Begins to count, and makes its recorder that of the process: what a program counts with `metrics::counter!` and its
    /// like from now on is rendered as well.
    ///
    /// # Errors
    /// The process has a recorder: see [`through_global`](Self::through_global).
    pub fn install_global(self) -> Result<Metrics, InstallError> {
        let recorder = Arc::new(prometheus());
        let text = recorder.handle();
        set_global_recorder(Arc::clone(&recorder)).map_err(|_| InstallError(()))?;
        Ok(self.on(Sink::new(recorder, Some(text))))
    }

    /// Begins to count on the recorder that the process has installed before, whatever it exports to; without one nothing
    /// is counted. Buckets are that recorder's affair, and [`Metrics::render`] tells what is stored and nothing else.
    #[must_use]
    pub fn through_global(self) -> Metrics {
        self.on(Sink::new(Arc::new(Global), None))
    }

    fn on(self, sink: Sink) -> Metrics {
        let sink = Arc::new(sink);
        let counting = Arc::new(Counting::new(Arc::clone(&sink), self.limits));
        let ears = Arc::clone(&counting);
        self.client.observe(COUNTED, move |event| ears.hear(event));
        if let Some(observed) = &self.backend {
            observed.tell(&sink);
        }
        let Self { client, clock, reads_storage, cache_for, .. } = self;
        let last = Mutex::new(Last { text: None, queues: Names::new(self.limits.queues) });
        Metrics(Arc::new(Inner { client, clock, sink, counting, reads_storage, cache_for, last }))
    }
}

impl fmt::Debug for MetricsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsBuilder")
            .field("client", &self.client)
            .field("queue_limit", &self.limits.queues)
            .field("task_limit", &self.limits.tasks)
            .field("stored", &self.reads_storage)
            .field("cache_for", &self.cache_for)
            .finish_non_exhaustive()
    }
}

/// The process has a recorder of the crate `metrics` already.
#[derive(Debug, thiserror::Error)]
#[error(
    "the metrics of queue can't be the process's recorder: it has installed another already; count through that one \
     (`through_global`), or on one of their own (`build`)"
)]
pub struct InstallError(());
