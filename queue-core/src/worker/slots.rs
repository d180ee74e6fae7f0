//! Who may claim how much: the slots of a worker, shared by its lanes.
//!
//! A lane reserves slots before it asks its shard and gives back what it did not get, so that several lanes never claim
//! more than is free. Lanes of a lower tier get nothing while one of a higher tier is *hungry*: not known to be empty.
//! Within a tier slots go by weight: stride scheduling (Waldspurger, Weihl, 1995), each lane's pass rising by
//! slots / weight, the hungry lane with the lowest pass being next.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Slots {
    /// Never locked across an await.
    state: Mutex<State>,
    /// Counts changes, so that a waiting lane misses none.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    total: i64,
    /// Below zero while jobs run that came after their slots were given back.
    free: i64,
    lanes: Vec<LaneState>,
}

#[derive(Clone, Copy, Debug)]
struct LaneState {
    tier: usize,
    weight: u32,
    pass: f64,
    hungry: bool,
}

impl Slots {
    /// `total` slots for lanes given as (tier, weight), the lowest tier first; every lane hungry.
    pub(super) fn new(total: u32, lanes: impl IntoIterator<Item = (usize, u32)>) -> Self {
        let lane = |(tier, weight)| LaneState { tier, weight, pass: 0.0, hungry: true };
        let total = i64::from(total);
        let state = State { total, free: total, lanes: lanes.into_iter().map(lane).collect() };
        Self { state: Mutex::new(state), changed: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing runs and every lane has found its shard empty.
    pub(super) fn are_idle(&self) -> bool {
        let state = self.lock();
        state.free == state.total && !state.lanes.iter().any(|lane| lane.hungry)
    }

    /// Something to wait on for the next change.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn tell(&self) {
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Reserves up to `max` slots for a lane; 0 when none is free or another lane comes first.
    pub(super) fn reserve(&self, lane: usize, max: u32) -> u32 {
        let mut state = self.lock();
        let grant = state.reserve(lane, max);
        let left = grant > 0 && state.free > 0;
        drop(state);
        if left {
            // Another lane may be next now.
            self.tell();
        }
        grant
    }

    /// Gives back slots the lane reserved and did not fill.
    pub(super) fn give_back(&self, lane: usize, unused: u32) {
        if unused > 0 {
            let mut state = self.lock();
            state.free += i64::from(unused);
            state.lanes[lane].pass -= f64::from(unused) / f64::from(state.lanes[lane].weight);
            drop(state);
            self.tell();
        }
    }

    /// Takes slots that were not reserved: what a late answer brought is run all the same.
    pub(super) fn take(&self, lane: usize, slots: u32) {
        let mut state = self.lock();
        state.free -= i64::from(slots);
        state.lanes[lane].pass += f64::from(slots) / f64::from(state.lanes[lane].weight);
    }

    /// A job has ended: its slot is free.
    pub(super) fn free_one(&self) {
        self.lock().free += 1;
        self.tell();
    }

    /// Says whether the lane's shard may hold jobs for it.
    pub(super) fn set_hungry(&self, lane: usize, hungry: bool) {
        if self.lock().set_hungry(lane, hungry) {
            self.tell();
        }
    }
}

impl State {
    fn reserve(&mut self, lane: usize, max: u32) -> u32 {
        let me = self.lanes[lane];
        let hungry = |other: &&LaneState| other.hungry;
        if !me.hungry || self.lanes.iter().filter(hungry).any(|other| other.tier < me.tier) {
            return 0;
        }
        let peers = || self.lanes.iter().filter(hungry).filter(|other| other.tier == me.tier);
        if peers().any(|other| other.pass < me.pass) {
            return 0;
        }
        let weights: u64 = peers().map(|other| u64::from(other.weight)).sum();
        let free = u32::try_from(self.free).unwrap_or(0);
        // At least one: whoever is next may take the last slot.
        let share = (u64::from(free) * u64::from(me.weight)).div_ceil(weights.max(1));
        let grant = u32::try_from(share).unwrap_or(u32::MAX).min(max).min(free);
        self.free -= i64::from(grant);
        self.lanes[lane].pass += f64::from(grant) / f64::from(me.weight);
        grant
    }

    fn set_hungry(&mut self, lane: usize, hungry: bool) -> bool {
        if self.lanes[lane].hungry == hungry {
            return false;
        }
        let tier = self.lanes[lane].tier;
        let peers = self.lanes.iter().filter(|other| other.hungry && other.tier == tier);
        let lowest = peers.map(|other| other.pass).fold(f64::INFINITY, f64::min);
        if hungry && !lowest.is_finite() {
            // Nobody else wants anything: a new round, in which nobody is behind.
            self.lanes.iter_mut().filter(|other| other.tier == tier).for_each(|other| other.pass = 0.0);
        }
        let me = &mut self.lanes[lane];
        me.hungry = hungry;
        if hungry && lowest.is_finite() {
            // Whoever comes back does not make up for the time it had nothing to run.
            me.pass = me.pass.max(lowest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_lane_takes_what_is_free() {
        let slots = Slots::new(8, [(0, 1)]);
        assert_eq!(slots.reserve(0, 5), 5);
        assert_eq!(slots.reserve(0, 5), 3);
        assert_eq!(slots.reserve(0, 5), 0);
        slots.give_back(0, 2);
        slots.free_one();
        assert_eq!(slots.reserve(0, 5), 3);
    }

    #[test]
    fn a_lower_tier_waits_until_the_higher_is_empty() {
        let slots = Slots::new(4, [(0, 1), (1, 1)]);
        assert_eq!(slots.reserve(1, 4), 0);
        slots.set_hungry(0, false);
        assert_eq!(slots.reserve(1, 4), 4);
        slots.free_one();
        slots.set_hungry(0, true);
        assert_eq!((slots.reserve(1, 4), slots.reserve(0, 4)), (0, 1));
    }

    #[test]
    fn slots_go_by_weight_when_both_are_hungry() {
        let slots = Slots::new(0, [(0, 3), (0, 1)]);
        let mut got = [0u32; 2];
        for _ in 0..400 {
            slots.free_one();
            let taken: Vec<u32> = (0..2).map(|lane| slots.reserve(lane, 1)).collect();
            got[0] += taken[0];
            got[1] += taken[1];
        }
        assert_eq!(got[0] + got[1], 400);
        assert!((295..=305).contains(&got[0]), "{got:?}");
    }

    #[test]
    fn nobody_hoards_while_empty() {
        let slots = Slots::new(0, [(0, 1), (0, 1)]);
        slots.set_hungry(1, false);
        for _ in 0..100 {
            slots.free_one();
            assert_eq!(slots.reserve(0, 1), 1);
        }
        slots.set_hungry(1, true);
        let mut got = [0u32; 2];
        for _ in 0..10 {
            slots.free_one();
            for lane in [1, 0] {
                got[lane] += slots.reserve(lane, 1);
            }
        }
        assert_eq!(got, [5, 5]);
    }

    #[test]
    fn who_was_busy_alone_owes_nothing() {
        let slots = Slots::new(1, [(0, 1), (0, 1)]);
        slots.set_hungry(0, false);
        for _ in 0..300 {
            assert_eq!(slots.reserve(1, 1), 1);
            slots.free_one();
        }
        slots.set_hungry(1, false);
        slots.set_hungry(0, true);
        assert_eq!(slots.reserve(0, 1), 1);
        slots.set_hungry(1, true);
        let mut got = [0u32; 2];
        for _ in 0..10 {
            slots.free_one();
            (0..2).for_each(|lane| got[lane] += slots.reserve(lane, 1));
        }
        assert_eq!(got, [5, 5], "the 300 it ran alone are forgotten");
    }

    #[test]
    fn idle_is_who_runs_nothing_and_wants_nothing() {
        let slots = Slots::new(2, [(0, 1), (1, 1)]);
        slots.set_hungry(0, false);
        assert!(!slots.are_idle(), "the other may find something");
        slots.set_hungry(1, false);
        assert!(slots.are_idle());
        slots.take(0, 1);
        assert!(!slots.are_idle());
        slots.free_one();
        assert!(slots.are_idle());
    }

    #[test]
    fn the_turn_that_moves_on_is_told() {
        let slots = Slots::new(3, [(0, 1), (0, 1)]);
        assert_eq!(slots.reserve(1, 1), 1);
        let watch = slots.watch();
        assert_eq!((slots.reserve(1, 1), watch.has_changed().unwrap()), (0, false));
        assert_eq!((slots.reserve(0, 1), watch.has_changed().unwrap()), (1, true));
    }

    #[test]
    fn the_largest_weights_add_up() {
        let slots = Slots::new(2, [(0, u32::MAX), (0, u32::MAX)]);
        assert_eq!((slots.reserve(0, 9), slots.reserve(1, 9)), (1, 1));
    }

    #[tokio::test]
    async fn a_waiting_lane_hears_of_a_change_it_did_not_wait_for_yet() {
        let slots = Slots::new(0, [(0, 1)]);
        let mut watch = slots.watch();
        slots.free_one();
        watch.changed().await.unwrap();
    }
}
