//! The members of a group as they end.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::select_all;
use futures_util::stream::{self, Stream, StreamExt};
use queue_storage::model::{Input, JobId};
use queue_storage::storage::{Listener, StorageError, Topic};

use crate::codec;
use crate::handle::{JobHandle, WaitError};
use crate::task::TaskOutput;

/// Between two looks although nobody told of an end: the least, which doubles while nothing comes, and the most.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Of how many members it asks to be told.
const LISTENS: usize = 64;

/// A gather, and the place of the first member that it gathers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) gather: JobId,
    pub(crate) first: usize,
    pub(crate) len: usize,
}

/// The members of a group as they end: what [`GroupHandle::as_completed`](crate::GroupHandle::as_completed) returns. A
/// [`Stream`], with a [`next`](Self::next) of its own for whoever has no crate for streams. It ends with the last member.
pub struct Arrivals<Out>(Pin<Box<dyn Stream<Item = Arrival<Out>> + Send>>);

type Arrival<Out> = (usize, Result<Out, WaitError>);

impl<Out: TaskOutput> Arrivals<Out> {
    pub(super) fn new(members: Vec<JobHandle<Out>>, pages: Vec<Page>) -> Self {
        let open = vec![true; members.len()];
        let watch = Watch { members, pages, open, ready: VecDeque::new(), pause: LOOK_EVERY.0, listeners: Vec::new() };
        Self(Box::pin(stream::unfold(watch, Watch::next)))
    }
}

impl<Out> Arrivals<Out> {
    /// Waits for the next member that ends: its place, and what it returned; `None` when all have ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses no member.
    pub async fn next(&mut self) -> Option<(usize, Result<Out, WaitError>)> {
        StreamExt::next(&mut self.0).await
    }
}

impl<Out> Stream for Arrivals<Out> {
    type Item = (usize, Result<Out, WaitError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl<Out> fmt::Debug for Arrivals<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arrivals")
    }
}

struct Watch<Out> {
    members: Vec<JobHandle<Out>>,
    pages: Vec<Page>,
    /// Which members have not been handed out.
    open: Vec<bool>,
    ready: VecDeque<Arrival<Out>>,
    pause: Duration,
    listeners: Vec<(usize, Listener)>,
}

impl<Out: TaskOutput> Watch<Out> {
    async fn next(mut self) -> Option<(Arrival<Out>, Self)> {
        loop {
            if let Some(arrival) = self.ready.pop_front() {
                return Some((arrival, self));
            }
            let client = self.members.first()?.client().clone();
            if !self.open.contains(&true) {
                return None;
            }
            self.listen();
            for at in 0..self.pages.len() {
                self.look(self.pages[at]).await;
            }
            if self.ready.is_empty() {
                let told = select_all(self.listeners.iter().map(|(_, listener)| Box::pin(listener.changed())));
                let clock = client.clock();
                tokio::select! {
                    _ = told, if !self.listeners.is_empty() => {}
                    () = clock.sleep_until(clock.now() + self.pause) => {}
                }
                self.pause = (self.pause * 2).min(LOOK_EVERY.1);
            } else {
                self.pause = LOOK_EVERY.0;
            }
        }
    }

    /// Asks to be told of the first members that are open.
    fn listen(&mut self) {
        let open = &self.open;
        self.listeners.retain(|(place, _)| open[*place]);
        let from = self.listeners.last().map_or(0, |(place, _)| place + 1);
        let more = (from..self.open.len()).filter(|place| self.open[*place]).take(LISTENS - self.listeners.len());
        for place in more.collect::<Vec<_>>() {
            let member = &self.members[place];
            self.listeners.push((place, member.client().storage().listen(Topic::Job(member.id()))));
        }
    }

    /// Looks at a hundred members in one call.
    async fn look(&mut self, page: Page) {
        let places = page.first..page.first + page.len;
        if !self.open[places.clone()].contains(&true) {
            return;
        }
        let inputs = match self.members[page.first].client().storage().inputs(page.gather).await {
            Ok(Some(inputs)) => inputs.inputs,
            // The gather has been pruned: so its members have ended.
            Ok(None) => vec![Input::Gone; page.len],
            Err(error) if error.is_unavailable() => return,
            Err(error) => return self.fail(places.clone(), &error),
        };
        for (place, input) in places.zip(inputs) {
            if self.open[place]
                && !matches!(input, Input::Open(_))
                && let Some(output) = output(self.members[place].clone(), input).await
            {
                self.open[place] = false;
                self.ready.push_back((place, output));
            }
        }
    }

    /// Tells of an error that asking again can't help.
    fn fail(&mut self, places: std::ops::Range<usize>, error: &StorageError) {
        for place in places {
            if std::mem::take(&mut self.open[place]) {
                let error = StorageError::corrupt(error.to_string());
                self.ready.push_back((place, Err(WaitError::storage(self.members[place].id(), error))));
            }
        }
    }
}

/// What a member that has ended returned; `None` if that can't be told yet.
async fn output<Out: TaskOutput>(member: JobHandle<Out>, input: Input) -> Option<Result<Out, WaitError>> {
    let bytes = match &input {
        Input::Returned(bytes) => &bytes[..],
        Input::Nothing => codec::NIL,
        _ => &[],
    };
    match codec::decode(bytes) {
        Ok(output) if !bytes.is_empty() => Some(Ok(output)),
        // Its own handle says what is wrong, or gathers what it hands on.
        _ => match member.result().await {
            Ok(output) => output.map(Ok),
            Err(error) if error.is_unavailable() => None,
            Err(error) => Some(Err(error)),
        },
    }
}
