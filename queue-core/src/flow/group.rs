//! Like parts side by side.

use std::fmt;

use queue_storage::model::JobId;

use super::graph::{Graph, Tail};
use super::{Flow, IntoFlow};
use crate::failed::Failed;
use crate::step::IntoStep;
use crate::task::Task;

/// Calls and flows that return the same, side by side: what [`group`] returns. Its end hands on a `Vec<Out>`, in their order.
#[must_use = "a group does nothing until `.enqueue(&client).await`"]
pub struct Group<Out>(pub(super) Flow<Vec<Out>>);

/// Puts calls or flows that return the same side by side; any number of them, none among them.
///
/// `group(calls).then(step)` runs the step when all have completed, with what they returned as a `Vec`, in their order: a
/// chord. Of no calls it runs at once, with an empty list. Groups of pipelines, groups of groups: all go. Calls of several
/// tasks that return the same are of several types: [`into_flow`](IntoFlow::into_flow) makes them one.
///
/// ```
/// # use queue_core::{Call, Client, Context, Task, TaskError, group, tasks};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Square { n: u64 }
/// # impl Task for Square { type Output = u64; const NAME: &'static str = "square";
/// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.n * self.n) } }
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Sum { all: Vec<u64> }
/// # impl Task for Sum { type Output = u64; const NAME: &'static str = "sum";
/// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.all.iter().sum()) } }
/// # #[derive(serde::Serialize)] struct Rest {}
/// # impl Sum { fn after() -> queue_core::After<Self, Vec<u64>> { queue_core::After::new("all", &Rest {}) } }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
/// # let client = Client::immediate(tasks![Square, Sum]).build()?;
/// let squares = group((1..=3).map(|n| Call::new(Square { n })));
/// let sum = squares.then(Sum::after()).enqueue(&client).await?;
/// assert_eq!(sum.result().await?, Some(14));
/// # Ok(()) }
/// ```
///
/// They are stored in calls of at most 1,000 jobs, and none starts before the last is stored: see [`Flow::enqueue`].
pub fn group<I>(members: I) -> Group<<I::Item as IntoFlow>::Output>
where
    I: IntoIterator<Item: IntoFlow>,
{
    let mut graph = Graph::default();
    let mut tails = Vec::new();
    for member in members {
        let flow = member.into_flow();
        graph.merge(flow.graph);
        tails.push(flow.tail);
    }
    Group(Flow::new(graph, Tail::List(tails)))
}

impl<Out> Group<Out> {
    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tails().len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tails(&self) -> &[Tail] {
        match &self.0.tail {
            Tail::List(tails) => tails,
            Tail::One(_) | Tail::Told(_) => &[],
        }
    }

    /// The flow, and the one job of each member that hands on what it does.
    pub(crate) fn pointed(self) -> (Flow<Vec<Out>>, Vec<JobId>) {
        let mut flow = self.0;
        let Tail::List(tails) = &mut flow.tail else { return (flow, Vec::new()) };
        let ids: Vec<JobId> = tails.iter().map(|tail| flow.graph.point(tail)).collect();
        *tails = ids.iter().copied().map(Tail::One).collect();
        (flow, ids)
    }

    pub(crate) fn of(flow: Flow<Vec<Out>>) -> Self {
        Self(flow)
    }

    /// The flow it is, for what a group has no method of its own for.
    pub fn into_flow(self) -> Flow<Vec<Out>> {
        self.0
    }

    /// Adds a step that runs when all have completed, with what they returned: see [`Flow::then`].
    pub fn then<S: IntoStep<Vec<Out>>>(self, step: S) -> Flow<<S::Task as Task>::Output> {
        self.0.then(step)
    }

    /// Hands on how each ended instead of what it returned, so that the step after it runs in any case: see
    /// [`Flow::settled`].
    pub fn settled(self) -> Flow<Vec<Result<Out, Failed>>> {
        let Flow { mut graph, tail, .. } = self.0;
        let tail = match tail {
            Tail::List(tails) => Tail::List(tails.iter().map(|tail| Tail::Told(graph.point(tail))).collect()),
            other => other,
        };
        Flow::new(graph, tail)
    }

    /// Adds a handler that runs as soon as a member ends without completing: see [`Flow::on_failure`].
    pub fn on_failure<S: IntoStep<Failed>>(self, handler: S) -> Self {
        Self(self.0.on_failure(handler))
    }

    /// Adds a handler that runs when all have completed, or as soon as one ends otherwise: see [`Flow::on_complete`].
    pub fn on_complete<S: IntoStep<Result<Vec<Out>, Failed>>>(self, handler: S) -> Self {
        Self(self.0.on_complete(handler))
    }

    /// The ids of its jobs, each after those it waits for.
    #[must_use]
    pub fn ids(&self) -> Vec<JobId> {
        self.0.ids()
    }
}

impl<Out> Clone for Group<Out> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Out> fmt::Debug for Group<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
