//! How far runs got, on the way from a task to whoever renews its lease: only the latest word counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use queue_storage::model::{Progress, TaskName};
use tokio::sync::Notify;

/// Wakes whoever sends what runs have said.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    wake: Notify,
}

impl Bell {
    fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Waits until something was said since the last [`silence`](Self::silence).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn rung(&self) {
        while !self.rung.load(Ordering::Acquire) {
            self.wake.notified().await;
        }
    }

    /// From now on what is said counts as new.
    pub(crate) fn silence(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

/// How far a run got, and of which task it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) task: TaskName,
    pub(crate) progress: Progress,
}

/// What one run says of how far it got.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Never locked across an await.
    state: Mutex<State>,
    bell: Arc<Bell>,
    /// Told when something was sent, or could not be.
    sent: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Said, and not on its way yet.
    latest: Option<Said>,
    sending: bool,
}

impl Told {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self { bell, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what was said before and not sent.
    pub(crate) fn say(&self, said: Said) {
        self.lock().latest = Some(said);
        self.bell.ring();
    }

    /// What is to be sent, if anything; [`sent`](Self::sent) or [`unsent`](Self::unsent) follows.
    pub(crate) fn take(&self) -> Option<Said> {
        let mut state = self.lock();
        let latest = state.latest.take();
        state.sending |= latest.is_some();
        latest
    }

    /// What was taken has come.
    pub(crate) fn sent(&self) {
        self.lock().sending = false;
        self.sent.notify_one();
    }

    /// What was taken has not come: it is sent again unless something newer was said meanwhile.
    pub(crate) fn unsent(&self, said: Said) {
        let mut state = self.lock();
        state.sending = false;
        state.latest.get_or_insert(said);
        drop(state);
        self.bell.ring();
    }

    /// Whether something was said that has not come yet.
    pub(crate) fn is_due(&self) -> bool {
        let state = self.lock();
        state.sending || state.latest.is_some()
    }

    /// Waits until all that was said has come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn all_sent(&self) {
        while self.is_due() {
            self.sent.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn so_far(done: u64) -> Said {
        Said { task: "t".parse().unwrap(), progress: Progress::new(done, 3, "") }
    }

    async fn now<F: Future>(future: F) -> bool {
        tokio::time::timeout(Duration::ZERO, future).await.is_ok()
    }

    #[tokio::test]
    async fn only_the_latest_word_is_sent() {
        let bell = Arc::new(Bell::default());
        let told = Told::new(Arc::clone(&bell));
        assert!(!now(bell.rung()).await && now(told.all_sent()).await);
        (1..=3).for_each(|done| told.say(so_far(done)));
        assert!(now(bell.rung()).await && now(bell.rung()).await && !now(told.all_sent()).await);
        bell.silence();
        assert_eq!(told.take(), Some(so_far(3)));
        assert!(told.is_due() && !now(told.all_sent()).await && told.take().is_none());
        told.sent();
        assert!(now(told.all_sent()).await && !now(bell.rung()).await);
    }

    #[tokio::test]
    async fn what_did_not_come_is_sent_again_unless_it_is_old() {
        let told = Told::default();
        told.say(so_far(1));
        let first = told.take().unwrap();
        told.unsent(first.clone());
        assert_eq!(told.take(), Some(first.clone()));
        told.say(so_far(2));
        told.unsent(first);
        assert_eq!(told.take(), Some(so_far(2)));
    }
}
