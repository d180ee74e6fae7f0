//! The reasons of ends, in words.

use std::borrow::Cow;

use queue_storage::model::EndReason;

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
        EndReason::Requested => "someone cancelled it",
        EndReason::Revoked => "it came to run while jobs like it were revoked",
        EndReason::CalledOff => "its own task called it off",
        EndReason::Overdue => "its first run did not start in time",
        EndReason::Deadline => "it had not ended by its deadline",
        EndReason::UnknownTask => "no worker that looked at it knew its task, for too long",
        other => return Cow::Owned(format!("`{other}`, which a newer program knows")),
    })
}
