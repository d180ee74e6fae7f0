//! A client's numbered enqueue calls to one shard: one in flight, and what comes meanwhile rides on the next.
//!
//! There is no task behind it: whoever enqueues takes the turn if it is free and sends for all who wait (flat
//! combining; Hendler, Incze, Shavit, Tzafrir, SPAA 2010). A lone call therefore goes out at once. A sender whose
//! future is dropped leaves the unanswered call behind; the next to take the turn repeats it with its number, so
//! nobody who waits is lost and nothing is stored twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use queue_storage::clock::Clock;
use queue_storage::model::{CallerId, NewJob, Shard, Timestamp};
use queue_storage::storage::{Admission, EnqueueCall, MAX_ENQUEUE, Storage, StorageError};
use tokio::sync::oneshot;

/// Pauses between repeats of an unanswered call: doubling from the first to the second.
const REPEAT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

type Answer = Result<Vec<Admission>, Arc<StorageError>>;

/// Why a submission has no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The storage refused it.
    Refused(Arc<StorageError>),
    /// Its deadline came first; the last thing heard from the storage.
    TimedOut(Option<Arc<StorageError>>),
}

#[derive(Debug)]
pub(crate) struct Producer {
    storage: Arc<dyn Storage>,
    caller: CallerId,
    shard: Shard,
    /// What waits for the next call. Never locked across an await.
    waiting: Mutex<VecDeque<Submission>>,
    /// Held while a call is in flight: it makes the numbers rise one by one.
    turn: tokio::sync::Mutex<Turn>,
    /// What the storage said last, for whoever runs out of time.
    last_error: Mutex<Option<Arc<StorageError>>>,
}

#[derive(Debug)]
struct Submission {
    jobs: Vec<NewJob>,
    answer: oneshot::Sender<Answer>,
}

#[derive(Debug, Default)]
struct Turn {
    /// The number of the last call sent.
    number: u64,
    /// The call that is sent, or about to be, and not answered yet.
    unanswered: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    number: u64,
    submissions: Vec<Submission>,
}

impl Producer {
    pub(crate) fn new(storage: Arc<dyn Storage>, caller: CallerId, shard: Shard) -> Self {
        Self {
            storage,
            caller,
            shard,
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            last_error: Mutex::default(),
        }
    }

    /// Stores the jobs, at most [`MAX_ENQUEUE`], all or none.
    ///
    /// # Cancel safety
    /// When the future is dropped, the jobs may be stored or not.
    pub(crate) async fn submit(
        &self,
        jobs: Vec<NewJob>,
        clock: &dyn Clock,
        deadline: Timestamp,
    ) -> Result<Vec<Admission>, Unanswered> {
        debug_assert!(jobs.len() <= MAX_ENQUEUE);
        let (answer, answered) = oneshot::channel();
        locked(&self.waiting).push_back(Submission { jobs, answer });
        tokio::select! {
            // An answer that has come counts before anything else.
            biased;
            answer = self.answered(answered, clock) => answer.map_err(Unanswered::Refused),
            () = clock.sleep_until(deadline) => Err(Unanswered::TimedOut(locked(&self.last_error).clone())),
        }
    }

    /// Waits for the answer, or for the turn; then sends calls until this submission has been in one that was answered.
    async fn answered(&self, mut mine: oneshot::Receiver<Answer>, clock: &dyn Clock) -> Answer {
        let mut turn = tokio::select! {
            biased;
            Ok(answer) = &mut mine => return answer,
            turn = self.turn.lock() => turn,
        };
        let mut pause = REPEAT_PAUSE.0;
        loop {
            if let Ok(answer) = mine.try_recv() {
                return answer;
            }
            self.load(&mut turn);
            if self.send(&mut turn).await {
                pause = REPEAT_PAUSE.0;
            } else {
                clock.sleep_until(clock.now() + pause).await;
                pause = (pause * 2).min(REPEAT_PAUSE.1);
            }
        }
    }

    /// Sees to it that there is a call to send: the unanswered one if anyone still waits for it, else what has come.
    fn load(&self, turn: &mut Turn) {
        let given_up = |pending: &Pending| pending.submissions.iter().all(|s| s.answer.is_closed());
        // A call whose callers are all gone is not repeated: the next number sees to it that it comes late or never.
        if turn.unanswered.as_ref().is_some_and(given_up) {
            turn.unanswered = None;
        }
        if turn.unanswered.is_none() {
            let submissions = self.next_batch();
            turn.number += 1;
            turn.unanswered = Some(Pending { number: turn.number, submissions });
        }
    }

    /// What waits and is still waited for, as much as fits one call.
    fn next_batch(&self) -> Vec<Submission> {
        let mut waiting = locked(&self.waiting);
        let (mut batch, mut jobs): (Vec<Submission>, usize) = (Vec::new(), 0);
        while let Some(next) = waiting.front() {
            if !next.answer.is_closed() && !batch.is_empty() && jobs + next.jobs.len() > MAX_ENQUEUE {
                break;
            }
            jobs += next.jobs.len();
            batch.extend(waiting.pop_front().filter(|next| !next.answer.is_closed()));
        }
        batch
    }

    /// Sends the unanswered call once; whether that ended it.
    async fn send(&self, turn: &mut Turn) -> bool {
        // It stays in the turn over the await: if this future is dropped, the next to take the turn repeats it.
        let Some(pending) = &turn.unanswered else { return true };
        let answer = match self.storage.enqueue(self.call(pending)).await {
            Err(error) if error.is_unavailable() => {
                *locked(&self.last_error) = Some(Arc::new(error));
                return false;
            }
            Err(error) => Err(Arc::new(error)),
            Ok(admissions) => Ok(admissions),
        };
        *locked(&self.last_error) = None;
        turn.unanswered.take().into_iter().for_each(|pending| pending.deliver(&answer));
        true
    }

    fn call(&self, pending: &Pending) -> EnqueueCall {
        let jobs = pending.submissions.iter().flat_map(|s| s.jobs.iter().cloned()).collect();
        EnqueueCall { caller: self.caller, shard: self.shard.clone(), number: pending.number, jobs }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pending {
    /// Gives each submission its part of the answer. Whoever waited for it may have gone.
    fn deliver(self, answer: &Answer) {
        let mut at = 0;
        for Submission { jobs, answer: waiting } in self.submissions {
            let part = at..at + jobs.len();
            at = part.end;
            let own = answer.as_ref().map(|admissions| admissions.get(part).unwrap_or_default().to_vec());
            let _ = waiting.send(own.map_err(Arc::clone));
        }
    }
}
