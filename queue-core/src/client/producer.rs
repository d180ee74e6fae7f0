//! A client's numbered enqueue calls to one shard: one in flight, and what comes meanwhile rides on the next.
//!
//! Whoever enqueues takes the turn if it is free and sends for all who wait (flat combining; Hendler, Incze, Shavit,
//! Tzafrir, SPAA 2010), so a lone call goes out at once. Sending is a task of its own as soon as it has to wait: a
//! future of the user's may live on without being polled, and would hold up everyone behind it. A sender that is
//! dropped with its runtime leaves the unanswered call behind; the next to take the turn repeats it with its number, so
//! nobody who waits is lost and nothing is stored twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use queue_storage::clock::Clock;
use queue_storage::model::{CallerId, NewJob, Shard, Timestamp};
use queue_storage::storage::{Admission, EnqueueCall, MAX_ENQUEUE, Storage, StorageError};
use tokio::sync::{Notify, OwnedMutexGuard, oneshot};

/// A call carries no further submission once the envelopes in it hold this many bytes.
pub(crate) const MAX_CALL_BYTES: usize = 4 * 1024 * 1024;
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
    turn: Arc<tokio::sync::Mutex<Turn>>,
    /// Told when the turn is free.
    freed: Notify,
    /// What the storage said last, for whoever runs out of time.
    last_error: Mutex<Option<Arc<StorageError>>>,
}

#[derive(Debug)]
struct Submission {
    jobs: Vec<NewJob>,
    deadline: Timestamp,
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
            turn: Arc::default(),
            freed: Notify::new(),
            last_error: Mutex::default(),
        }
    }

    /// Stores the jobs, at most [`MAX_ENQUEUE`], all or none.
    ///
    /// # Cancel safety
    /// When the future is dropped, the jobs may be stored or not.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        jobs: Vec<NewJob>,
        clock: &Arc<dyn Clock>,
        deadline: Timestamp,
    ) -> Result<Vec<Admission>, Unanswered> {
        debug_assert!(jobs.len() <= MAX_ENQUEUE);
        let (answer, mut mine) = oneshot::channel();
        locked(&self.waiting).push_back(Submission { jobs, deadline, answer });
        let late = clock.sleep_until(deadline);
        tokio::pin!(late);
        loop {
            // Heard from before the turn is tried, so that no turn falls free between the two.
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() {
                let sender = Sender { producer: Arc::clone(self), turn: Some(turn) };
                let mut sending = Box::pin(sender.send_all(Arc::clone(clock)));
                // A storage that answers at once needs no task.
                if futures_util::poll!(sending.as_mut()).is_pending() {
                    tokio::spawn(sending);
                }
            }
            tokio::select! {
                // An answer that has come counts before anything else.
                biased;
                answer = &mut mine => return match answer {
                    Ok(answer) => answer.map_err(Unanswered::Refused),
                    // Given up at its deadline.
                    Err(_) => Err(Unanswered::TimedOut(locked(&self.last_error).clone())),
                },
                () = &mut late => return Err(Unanswered::TimedOut(locked(&self.last_error).clone())),
                () = freed => {}
            }
        }
    }

    /// Sees to it that there is a call to send: the unanswered one if anyone still waits for it, else what has come.
    fn load(&self, turn: &mut Turn, now: Timestamp) -> bool {
        let given_up =
            |pending: &Pending| pending.submissions.iter().all(|s| s.answer.is_closed() || s.deadline <= now);
        // A call whose callers are all gone is not repeated: the next number sees to it that it comes late or never.
        if turn.unanswered.as_ref().is_some_and(given_up) {
            turn.unanswered = None;
        }
        if turn.unanswered.is_none() {
            let submissions = self.next_batch();
            if submissions.is_empty() {
                return false;
            }
            turn.number += 1;
            turn.unanswered = Some(Pending { number: turn.number, submissions });
        }
        true
    }

    /// What waits and is still waited for, as much as fits one call.
    fn next_batch(&self) -> Vec<Submission> {
        let mut waiting = locked(&self.waiting);
        let (mut batch, mut jobs, mut bytes): (Vec<Submission>, usize, usize) = (Vec::new(), 0, 0);
        while let Some(next) = waiting.front() {
            let full = jobs + next.jobs.len() > MAX_ENQUEUE || bytes >= MAX_CALL_BYTES;
            if !next.answer.is_closed() && !batch.is_empty() && full {
                break;
            }
            jobs += next.jobs.len();
            bytes += next.jobs.iter().map(|job| job.envelope.len()).sum::<usize>();
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

/// Who has the turn: a task of its own, because a future of the user's may live on without being polled.
struct Sender {
    producer: Arc<Producer>,
    turn: Option<OwnedMutexGuard<Turn>>,
}

impl Sender {
    /// Sends until nobody waits.
    async fn send_all(mut self, clock: Arc<dyn Clock>) {
        let mut pause = REPEAT_PAUSE.0;
        let producer = Arc::clone(&self.producer);
        while let Some(turn) = self.turn.as_mut() {
            if !producer.load(turn, clock.now()) {
                break;
            }
            let waiting = turn.unanswered.iter().flat_map(|pending| &pending.submissions);
            let latest = waiting.map(|s| s.deadline).max().unwrap_or_default();
            let sent = tokio::select! {
                sent = producer.send(turn) => sent,
                // Whoever waits for this call has gone: the next number makes sure that it comes late or never.
                () = clock.sleep_until(latest) => continue,
            };
            if sent {
                pause = REPEAT_PAUSE.0;
            } else {
                clock.sleep_until(clock.now() + pause).await;
                pause = (pause * 2).min(REPEAT_PAUSE.1);
            }
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.turn = None;
        // Also when the runtime goes down: whoever waits elsewhere takes the turn.
        self.producer.freed.notify_waiters();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pending {
    /// Gives each submission its part of the answer. Whoever waited for it may have gone.
    fn deliver(self, answer: &Answer) {
        let mut at = 0;
        for Submission { jobs, answer: waiting, .. } in self.submissions {
            let part = at..at + jobs.len();
            at = part.end;
            let own = answer.as_ref().map(|admissions| admissions.get(part).unwrap_or_default().to_vec());
            let _ = waiting.send(own.map_err(Arc::clone));
        }
    }
}
