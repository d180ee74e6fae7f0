//! Calls on their way through a client's middleware.

use std::future::Future;

use async_trait::async_trait;
use queue_storage::model::JobId;

use super::error::Cause;
use crate::client::Client;
use crate::draft::Draft;
use crate::middleware::{Chain, NextEnqueue, Outgoing, Store};
use crate::task_error::BoxError;

/// Why other calls are not stored than those that were handed in.
const OTHERS: &str = "it went on with other calls than it was given: it may change them or refuse them all, and leaves none \
                      out, adds none and keeps their order";

/// What is done with calls that have passed.
pub(super) trait Verb: Send {
    /// What the storage said.
    type Answer: Send;

    fn store(&self, client: &Client, calls: &[Outgoing]) -> impl Future<Output = Result<Self::Answer, Cause>> + Send;
}

/// The innermost part of a way. It keeps what the storage said from those who pass it on.
struct Innermost<'a, V: Verb> {
    client: &'a Client,
    verb: V,
    /// The calls that were handed in: handles are for them, and a flow has its places for them.
    given: Vec<JobId>,
    /// Whether the storage may have been asked.
    begun: bool,
    answer: Option<Result<V::Answer, Cause>>,
}

#[async_trait]
impl<V: Verb + Sync> Store for Innermost<'_, V> {
    async fn store(&mut self, calls: &mut [Outgoing]) -> Result<(), BoxError> {
        if !self.given.iter().copied().eq(calls.iter().map(Outgoing::id)) {
            return Err(OTHERS.into());
        }
        self.begun = true;
        let answer = self.verb.store(self.client, calls).await;
        let said = answer.as_ref().map(|_| ()).map_err(|cause| cause.to_string().into());
        self.answer = Some(answer);
        said
    }
}

impl Client {
    /// Lets calls pass and does with them then what the verb says, unless they are refused.
    pub(super) async fn pass<V: Verb + Sync>(
        &self,
        chain: &Chain,
        drafts: Vec<Draft>,
        verb: V,
    ) -> Result<V::Answer, Cause> {
        let mut calls: Vec<_> = drafts.into_iter().map(|draft| Outgoing { draft }).collect();
        let given = calls.iter().map(Outgoing::id).collect();
        let mut innermost = Innermost { client: self, verb, given, begun: false, answer: None };
        // Asked before it passes: a middleware may put another call in its place.
        let task = calls.first().map_or("", |call| call.draft.task);
        let begun_at = self.clock().now();
        let passed = NextEnqueue::new(chain, &mut innermost).run(&mut calls).await;
        match (innermost.answer, passed) {
            (Some(Ok(answer)), passed) => {
                if let Err(error) = passed {
                    tracing::warn!(error, "a middleware failed when the calls were stored: they stay stored");
                }
                Ok(answer)
            }
            (Some(Err(cause)), _) => Err(cause),
            // A middleware did not wait for the answer: the calls may be stored.
            (None, _) if innermost.begun => {
                Err(Cause::TimedOut { location: self.location(), after: self.clock().now() - begun_at, error: None })
            }
            (None, passed) => {
                let why = passed.err().unwrap_or_else(|| "it did not go on".into());
                Err(Cause::Refused { task, calls: calls.len(), why: why.into() })
            }
        }
    }
}
