//! What can be part of a flow, and unlike parts side by side.

use super::graph::Tail;
use super::{Flow, Group};
use crate::call::Call;
use crate::task::Task;

/// What can be part of a flow, handing on an [`Output`](Self::Output): a [`Call`], a [`Flow`], a [`Group`], a tuple of these.
///
/// A list has members of one type. Calls of several tasks, and calls beside pipelines, are of several: `.into_flow()` on each
/// makes them one, if they return the same. (Those that return different things go into a tuple: [`join`].)
///
/// ```
/// # use queue_core::{Call, Context, Flow, Task, TaskError, group};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Square { n: u64 }
/// # impl Task for Square { type Output = u64; const NAME: &'static str = "square";
/// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.n * self.n) } }
/// # #[derive(serde::Serialize)] struct Rest {}
/// # impl Square { fn new(n: u64) -> Call<Self> { Call::new(Square { n }) }
/// #   fn after() -> queue_core::After<Self, u64> { queue_core::After::new("n", &Rest {}) } }
/// let squares = group([Square::new(2).into_flow(), Square::new(3).then(Square::after())]);
/// # assert_eq!(squares.len(), 2);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be part of a flow",
    label = "neither a call nor a flow",
    note = "a call of a task is `task::new(..)`, a pipeline `call.then(step)`, a group `group([..])`; unlike ones side by side are a \
            tuple: `join((a, b))`"
)]
pub trait IntoFlow {
    /// What its end hands on.
    type Output;

    /// The flow it is.
    fn into_flow(self) -> Flow<Self::Output>;
}

impl<T: Task> IntoFlow for Call<T> {
    type Output = T::Output;

    fn into_flow(self) -> Flow<T::Output> {
        Call::into_flow(self)
    }
}

impl<Out> IntoFlow for Flow<Out> {
    type Output = Out;

    fn into_flow(self) -> Self {
        self
    }
}

impl<Out> IntoFlow for Group<Out> {
    type Output = Vec<Out>;

    fn into_flow(self) -> Flow<Vec<Out>> {
        self.0
    }
}

/// Calls and flows side by side, whatever each returns: the end hands on a tuple, in their order.
///
/// `join((a, b)).then(step)` runs the step when both have completed; its first argument is a tuple `(A, B)`. Takes two to
/// eight. Calls and flows that return the same go into a [`group`](super::group()), of any number.
pub fn join<J: IntoFlow>(parts: J) -> Flow<J::Output> {
    parts.into_flow()
}

macro_rules! joins {
    ($($part:ident)+) => {
        impl<$($part: IntoFlow),+> IntoFlow for ($($part,)+) {
            type Output = ($($part::Output,)+);

            fn into_flow(self) -> Flow<Self::Output> {
                #[expect(non_snake_case, reason = "a part is named as its type")]
                let ($($part,)+) = self;
                let mut graph = super::Graph::default();
                let tails = vec![$({
                    let flow = $part.into_flow();
                    graph.merge(flow.graph);
                    flow.tail
                }),+];
                Flow::new(graph, Tail::List(tails))
            }
        }
    };
}

joins!(A B);
joins!(A B C);
joins!(A B C D);
joins!(A B C D E);
joins!(A B C D E F);
joins!(A B C D E F G);
joins!(A B C D E F G H);
