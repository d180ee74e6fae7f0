//! The driver's thread: what is opened there, and how it ends.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use queue_storage::storage::StorageError;
use tokio::runtime::{self, Handle};
use tokio::select;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::dial::Dialer;
use super::ear::{Channels, Ear};
use super::line::{Keeper, Line, Loaded, News, line};
use super::{Hooks, Script, probe};
use crate::error::Place;
use crate::options::RedisOptions;

/// What the thread is to do.
pub(super) struct Plan {
    pub(super) options: RedisOptions,
    pub(super) place: Place,
    pub(super) scripts: Arc<[Script]>,
    pub(super) hooks: Hooks,
    pub(super) channels: Arc<watch::Sender<Channels>>,
    pub(super) lost: Arc<AtomicU64>,
    pub(super) stop: watch::Receiver<bool>,
}

/// What callers need of it.
pub(super) struct Opened {
    pub(super) runtime: Handle,
    pub(super) lines: Vec<Line>,
    pub(super) scripts: Vec<Loaded>,
}

/// What stays on the thread.
struct Kept {
    keepers: Vec<Keeper>,
    ear: Ear,
    restored: Arc<Notify>,
}

type Opening = oneshot::Receiver<Result<Opened, StorageError>>;

/// Starts the thread. `alive` is dropped as the last thing it does.
pub(super) fn start(plan: Plan, alive: watch::Sender<()>) -> Result<(JoinHandle<()>, Opening), StorageError> {
    let place = plan.place.clone();
    let failed = |what: &str, error: std::io::Error| {
        StorageError::unavailable(format!("{place}: {what} can't be started ({error})")).because(error)
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|e| failed("a runtime", e))?;
    let (opened, opening) = oneshot::channel();
    let work = move || {
        runtime.block_on(serve(plan, opened));
        // A name that is still being resolved must not keep the thread.
        runtime.shutdown_background();
        drop(alive);
    };
    let thread = Builder::new().name("queue-redis".into()).spawn(work).map_err(|error| failed("a thread", error))?;
    Ok((thread, opening))
}

/// The thread's whole life.
async fn serve(plan: Plan, mut opened: oneshot::Sender<Result<Opened, StorageError>>) {
    let limit = plan.options.connect_timeout;
    let open = async {
        let late = || Err(plan.place.down(&format!("no answer within {limit:?}")));
        timeout(limit, open(&plan)).await.unwrap_or_else(|_| late())
    };
    let kept = select! {
        biased;
        () = opened.closed() => return,
        tried = open => match tried {
            Ok((callers, kept)) => opened.send(Ok(callers)).is_ok().then_some(kept),
            // Nobody may wait for it any more.
            Err(error) => { let _ = opened.send(Err(error)); None },
        },
    };
    if let Some(kept) = kept {
        keep(plan, kept).await;
    }
}

async fn open(plan: &Plan) -> Result<(Opened, Kept), StorageError> {
    let (options, place) = (&plan.options, &plan.place);
    let dialer = Dialer::for_calls(options, place)?;
    let (moved, restored) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (mut lines, mut keepers, mut scripts) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..options.connections {
        let connection = dialer.dial().await.map_err(|error| place.unopened(&error))?;
        if number == 0 {
            scripts = probe::prepare(place, &connection.client, &plan.scripts, options.allow_eviction).await?;
        }
        let news = News { moved: Arc::clone(&moved), restored: Arc::clone(&restored), lost: Arc::clone(&plan.lost) };
        let ends = line(dialer.clone(), connection, options.timeout, news);
        lines.push(ends.0);
        keepers.push(ends.1);
    }
    let dialer = dialer.for_messages();
    let connection = dialer.dial().await.map_err(|error| place.unopened(&error))?;
    let (channels, on_message) = (Arc::clone(&plan.channels), Arc::clone(&plan.hooks.on_message));
    let ear = Ear { dialer, connection, channels, on_message, moved, restored: Arc::clone(&restored) };
    Ok((Opened { runtime: Handle::current(), lines, scripts }, Kept { keepers, ear, restored }))
}

/// Keeps the connections until the driver stops.
async fn keep(plan: Plan, kept: Kept) {
    let Plan { options, hooks, channels, stop, .. } = plan;
    tokio::spawn(herald(kept.restored, channels, hooks, options.timeout));
    let mut tasks = JoinSet::new();
    for keeper in kept.keepers {
        tasks.spawn(keeper.keep(stop.clone()));
    }
    tasks.spawn(kept.ear.listen(stop));
    tasks.join_all().await;
}

/// Tells of reconnects, once for several that come together, when the subscriptions stand again.
async fn herald(restored: Arc<Notify>, channels: Arc<watch::Sender<Channels>>, hooks: Hooks, patience: Duration) {
    let mut changes = channels.subscribe();
    loop {
        restored.notified().await;
        let settled = changes.wait_for(|channels| channels.wanted.is_subset(&channels.standing));
        // If they never stand, calls work all the same.
        let _ = timeout(patience, settled).await;
        (hooks.on_reconnect)();
    }
}
