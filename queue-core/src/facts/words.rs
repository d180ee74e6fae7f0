//! The reasons of ends, in words.

use std::borrow::Cow;

use queue_storage::model::{EndReason, Node, Trigger};

/// Why a job ended, as half a sentence.
pub(crate) fn in_words(reason: &EndReason) -> Cow<'static, str> {
    Cow::Borrowed(match reason {
        EndReason::Exhausted => "it failed, and no retry was left",
        EndReason::Fatal => "its task said that another run can't help",
        EndReason::Undecodable => "its envelope or arguments could not be decoded",
        EndReason::Unstorable => "its task succeeded, but the result could not be stored",
        EndReason::Crashed => "its workers vanished too often while it ran",
        EndReason::Interrupted => "its worker vanished while it ran, and it runs at most once",
        EndReason::Dependency => "a job it waited for did not complete",
        EndReason::NotNeeded => "it was there for the case that a job fails, and none did",
        EndReason::Requested => "someone cancelled it",
        EndReason::Revoked => "it came to run while jobs like it were revoked",
        EndReason::Full => "no slot was free when it came to run, and it was not to wait for one",
        EndReason::CalledOff => "its own task called it off",
        EndReason::Overdue => "its first run did not start in time",
        EndReason::Deadline => "it had not ended by its deadline",
        EndReason::UnknownTask => "no worker that looked at it knew its task, for too long",
        other => return Cow::Owned(format!("`{other}`, which a newer program knows")),
    })
}

/// What a job is in its flow, as a word.
pub(crate) fn node_word(node: &Node) -> &'static str {
    match node {
        Node::Task => "task",
        Node::Gather { .. } => "gather",
        Node::Hold => "hold",
        Node::Relay { .. } => "relay",
        _ => "unknown",
    }
}

/// What a job waits for in those before it, as a word.
pub(crate) fn trigger_word(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Completed => "completed",
        Trigger::Ended => "ended",
        Trigger::Failed => "failed",
        _ => "unknown",
    }
}
