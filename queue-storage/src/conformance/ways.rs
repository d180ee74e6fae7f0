//! Who leaves the line without having run makes way: as long as a slot is free and jobs are parked for it, one of them is
//! in line.

use super::actors::{TestWorker, ids, settled};
use super::stage::{DAY, MINUTE, Stage, completed, key, rate, slots, slots_now_or_never, task};
use crate::model::{Conflict, EndReason, JobId, LEVEL, Limit, NewJob, Parked, State, Unique, When, Window};
use crate::storage::{Act, Acted, Admission, Control, Edit, Revocation, Scope};

/// The one slot of the key `k`.
fn one() -> [Limit; 1] {
    [slots("k", 1)]
}

/// How a job that came back into line leaves it without a lease.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaves {
    Cancelled,
    Deleted,
    ToLater,
    Debounced,
    Expired,
    PastDeadline,
    UnknownTask,
    NewerProgram,
    TaskPaused,
    Revoked,
    OtherSlot,
    OtherSlotNowOrNever,
    Throttled,
}

impl Leaves {
    const ALL: [Self; 13] = [
        Self::Cancelled,
        Self::Deleted,
        Self::ToLater,
        Self::Debounced,
        Self::Expired,
        Self::PastDeadline,
        Self::UnknownTask,
        Self::NewerProgram,
        Self::TaskPaused,
        Self::Revoked,
        Self::OtherSlot,
        Self::OtherSlotNowOrNever,
        Self::Throttled,
    ];

    /// Whether a call of people or clients takes it out of the line, or else the claim that looks at it.
    fn is_at_once(self) -> bool {
        matches!(self, Self::Cancelled | Self::Deleted | Self::ToLater | Self::Debounced)
    }

    /// A job under the key that can leave so.
    fn job(self, stage: &Stage) -> NewJob {
        let under = |limit| stage.job_under([slots("k", 1), limit]);
        let plain = stage.job_under(one());
        match self {
            Self::Debounced => NewJob { unique: Some(debounced()), ..plain },
            Self::Expired => NewJob { expires: Some(When::In(MINUTE / 2)), ..plain },
            Self::PastDeadline => NewJob { deadline: Some(When::In(MINUTE / 2)), ..plain },
            Self::UnknownTask | Self::TaskPaused => NewJob { task: task("strange"), ..plain },
            Self::NewerProgram => NewJob { needs: LEVEL + 1, ..plain },
            Self::OtherSlot => under(slots("m", 1)),
            Self::OtherSlotNowOrNever => under(slots_now_or_never("m", 1)),
            Self::Throttled => under(rate("r", DAY, 1)),
            _ => plain,
        }
    }

    /// Makes the job leave the line, or prepares that it does when it comes to run.
    async fn make(self, stage: &Stage, id: JobId) {
        match self {
            Self::Cancelled => assert_eq!(stage.cancel(id).await, Acted::Done(State::Cancelled)),
            Self::Deleted => assert_eq!(stage.act(id, &Act::Delete).await, Acted::Done(State::Cancelled)),
            Self::ToLater => {
                let later = Act::Edit(Edit::new().when(When::In(DAY)));
                assert_eq!(stage.act(id, &later).await, Acted::Done(State::Scheduled));
            }
            Self::Debounced => {
                let comer = NewJob { unique: Some(debounced()), ..stage.job_at(When::In(DAY)) };
                let answer = stage.caller().enqueue_one(comer).await;
                assert_eq!(answer, Admission::Replaced(id, State::Scheduled));
            }
            Self::Expired | Self::PastDeadline => stage.advance(MINUTE / 2).await,
            Self::TaskPaused => stage.pause(Scope::Task(task("strange"))).await,
            Self::Revoked => {
                let rule = Revocation { job: Some(id), ..Revocation::default() };
                assert!(stage.control(Control::Revoke(rule)).await);
            }
            _ => {}
        }
    }

    /// What becomes of it.
    fn outcome(self) -> Result<Parked, Option<EndReason>> {
        match self {
            Self::Cancelled => Err(Some(EndReason::Requested)),
            Self::Expired => Err(Some(EndReason::Overdue)),
            Self::PastDeadline => Err(Some(EndReason::Deadline)),
            Self::Revoked => Err(Some(EndReason::Revoked)),
            Self::OtherSlotNowOrNever => Err(Some(EndReason::Full)),
            Self::UnknownTask => Ok(Parked::UnknownTask),
            Self::NewerProgram => Ok(Parked::NewerProgram),
            Self::TaskPaused => Ok(Parked::TaskPaused),
            Self::OtherSlot => Ok(Parked::LimitFull),
            Self::Throttled => Ok(Parked::RateWindow),
            Self::Deleted | Self::ToLater | Self::Debounced => Err(None),
        }
    }
}

fn debounced() -> Unique {
    Unique::new(key("u"), Window::Finished, Conflict::Debounce)
}

/// A worker whose job under the key has ended; a worker that runs one under the key `m` and has started one under the
/// rate `r`; and of two jobs parked for the slot the first, which is back in line, and the second.
async fn come_back(stage: &Stage, leaves: Leaves) -> (TestWorker, [JobId; 2]) {
    let mut worker = stage.worker_of(if leaves == Leaves::TaskPaused { &["t", "strange"] } else { &["t"] }).await;
    stage.enqueue([stage.job_under(one()), stage.job_under([slots("m", 1), rate("r", DAY, 1)])]).await;
    let runs = worker.claim(2).await;
    let [first, second] = stage.enqueue([leaves.job(stage), stage.job_under(one())]).await;
    assert_eq!(stage.usage("k").await.waiting, 2);
    worker.finish(&runs[0], completed()).await;
    assert!(stage.is_in_line(first).await && !stage.is_in_line(second).await);
    (worker, [first, second])
}

/// A job that had come back into line and leaves it without a lease makes way for the next: the slot is not lost.
pub(super) async fn who_leaves_the_line_makes_way(stage: &Stage) {
    for leaves in Leaves::ALL {
        let stage = stage.beside(&format!("{leaves:?}"));
        let (mut worker, [first, second]) = come_back(&stage, leaves).await;
        leaves.make(&stage, first).await;
        if leaves.is_at_once() {
            assert!(stage.is_in_line(second).await, "{leaves:?}");
        }
        assert_eq!(worker.claim_ids(9).await, [second], "{leaves:?}");
        assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 0), "{leaves:?}");
        if leaves != Leaves::Deleted {
            let job = stage.get(first).await;
            assert_eq!(job.parked.ok_or(job.reason), leaves.outcome(), "{leaves:?}");
        }
    }
}

/// A job that waits for a slot and then waits no more is passed over by the slot, and the others move up.
pub(super) async fn who_waits_no_more_is_passed_over(stage: &Stage) {
    use Leaves::{Cancelled, Debounced, Deleted, Expired, PastDeadline, ToLater};
    for leaves in [Cancelled, Deleted, ToLater, Debounced, Expired, PastDeadline] {
        let stage = stage.beside(&format!("{leaves:?}"));
        let mut worker = stage.worker().await;
        stage.enqueue_under(&one(), 1).await;
        let run = worker.claim_one().await;
        let [first, second] = stage.enqueue([leaves.job(&stage), stage.job_under(one())]).await;
        leaves.make(&stage, first).await;
        assert_eq!(worker.claim(9).await, []);
        assert_eq!((stage.usage("k").await.running, stage.usage("k").await.waiting), (1, 1), "{leaves:?}");
        worker.finish(&run, completed()).await;
        assert!(stage.is_in_line(second).await, "{leaves:?}");
        assert_eq!(worker.claim_ids(9).await, [second], "{leaves:?}");
    }
}

/// A whole row of jobs that leave the line one after the other makes way for the first that stays.
pub(super) async fn a_row_that_leaves_makes_way(stage: &Stage) {
    stage.enqueue_under(&one(), 1).await;
    let mut worker = stage.worker().await;
    let run = worker.claim_one().await;
    let strange = |_| NewJob { task: task("strange"), ..stage.job_under(one()) };
    stage.enqueue_all((0..20).map(strange).collect()).await;
    let [known] = stage.enqueue([stage.job_under(one())]).await;
    assert_eq!(stage.usage("k").await.waiting, 21);
    let answer = worker.exchange(vec![settled(&run, completed())], 9, 9).await;
    assert_eq!(ids(&answer.claimed), [known]);
    assert_eq!((stage.usage("k").await.waiting, stage.counts().await.parked), (0, 20));
    assert_eq!(answer.parked, [task("strange")].into());
}

/// A job that nobody here knew waits for a slot like any, once someone does.
pub(super) async fn who_was_parked_for_its_task_finds_it_full(stage: &Stage) {
    let [strange] = stage.enqueue([NewJob { task: task("strange"), ..stage.job_under(one()) }]).await;
    let mut worker = stage.worker().await;
    assert_eq!(worker.claim(9).await, []);
    stage.enqueue_under(&one(), 1).await;
    let run = worker.claim_one().await;
    let mut knows = stage.worker_of(&["strange"]).await;
    assert_eq!(knows.claim(9).await, []);
    assert_eq!(stage.parked(strange).await, Some((Parked::LimitFull, Some(key("k")))));
    worker.finish(&run, completed()).await;
    assert_eq!(knows.claim_ids(9).await, [strange]);
}
