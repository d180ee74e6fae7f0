//! The table of moves, walked: every legal one is made, every illegal one changes nothing.

use super::actors::{TestWorker, settled};
use super::stage::{HOUR, Stage, completed, died, retry_in, returned, snooze_in};
use crate::model::{Claimed, Fence, JobId, Move, NewJob, Settled, Settlement, State, When};
use crate::storage::{Renewed, SettleAnswer};

/// Moves of the table that no call of the contract makes yet.
const DOORS: [(Move, State, State); 14] = {
    use Move::{Cancel, Expire, Reclaim, Revive};
    use State::{Cancelled, Completed, Dead, Expired, Ready, Retrying, Running, Scheduled, Waiting};
    [
        (Reclaim, Running, Cancelled),
        (Cancel, Scheduled, Cancelled),
        (Cancel, Ready, Cancelled),
        (Cancel, Running, Cancelled),
        (Cancel, Retrying, Cancelled),
        (Expire, Waiting, Expired),
        (Expire, Scheduled, Expired),
        (Expire, Ready, Expired),
        (Expire, Retrying, Expired),
        (Revive, Completed, Ready),
        (Revive, Cancelled, Ready),
        (Revive, Dead, Ready),
        (Revive, Completed, Scheduled),
        (Revive, Dead, Scheduled),
    ]
};

/// Every move of the table that some call can make leads where the table says.
pub(super) async fn every_legal_move_is_made(stage: &Stage) {
    for mv in Move::ALL {
        let (starts, ends) = mv.row();
        for (from, to) in starts.iter().flat_map(|from| ends.iter().map(|to| (*from, *to))) {
            let barred = from == State::Expired || (mv, from, to) == (Move::Revive, State::Cancelled, State::Scheduled);
            if !barred && !DOORS.contains(&(mv, from, to)) {
                let stage = stage.beside(&format!("{mv:?}-{from}-{to}"));
                assert_eq!(make(&stage, mv, to).await, (from, to), "{mv:?}");
            }
        }
    }
}

/// Makes a move that ends in `to`; the states before and after.
async fn make(stage: &Stage, mv: Move, to: State) -> (State, State) {
    let mut worker = stage.worker().await;
    match mv {
        Move::Reach => reach(stage, &mut worker, to).await,
        Move::Promote => panic!("told by its start: see `promote`"),
        Move::Claim => claim(stage, &mut worker).await,
        Move::Complete => settle(stage, &mut worker, completed()).await,
        Move::Retry => settle(stage, &mut worker, retry_in(HOUR)).await,
        Move::Snooze => settle(stage, &mut worker, snooze_in(HOUR)).await,
        Move::Release => settle(stage, &mut worker, Settlement::Release).await,
        Move::Die => settle(stage, &mut worker, died()).await,
        Move::Reclaim => reclaim(stage, &mut worker, to == State::Dead).await,
        Move::Cancel => cancel(stage, &mut worker).await,
        Move::Expire | Move::Revive => panic!("no call makes this move: {mv:?}"),
    }
}
