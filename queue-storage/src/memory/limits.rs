//! Slots, rates and unique keys of one shard.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::Hints;
use super::line::{Line, Rank, rank};
use crate::model::{Job, JobId, Key, Limit, Parked, Rate, State, Timestamp, Unique, WhenFull, Window};
use crate::storage::{MAX_UPKEEP, Usage};

/// Who holds what, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// Running jobs under a key with slots.
    holders: HashMap<Key, BTreeSet<JobId>>,
    /// Jobs parked for a slot of a key, and for its rate, in their order.
    blocked: BTreeMap<Key, BTreeSet<Rank>>,
    throttled: BTreeMap<Key, BTreeSet<Rank>>,
    /// When jobs parked for a rate are looked at next; says nothing once none is.
    windows: BTreeMap<Key, Timestamp>,
    /// When everything that has started under a rate is paid for.
    paid: HashMap<Key, Timestamp>,
    /// The same of the whole shard.
    pub(super) paid_by_all: Timestamp,
    owners: HashMap<Key, Owner>,
}

/// The job that keeps others of its unique key out, and until when where a time says so.
#[derive(Clone, Copy, Debug)]
struct Owner {
    id: JobId,
    until: Option<Timestamp>,
}

/// What holds a job back that has come to run.
pub(super) enum HeldBack {
    /// It is parked for this key.
    Park(Parked, Key),
    /// It is not to wait.
    Cancel,
}

/// Whether a job is in line, runs, or neither.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    InLine,
    Runs,
    Aside,
}

impl Standing {
    pub(super) fn of(job: &Job) -> Self {
        match job.state {
            State::Ready if job.parked.is_none() => Self::InLine,
            State::Running => Self::Runs,
            _ => Self::Aside,
        }
    }
}

impl Limits {
    fn park_of(&mut self, job: &Job) -> Option<&mut BTreeMap<Key, BTreeSet<Rank>>> {
        match job.parked.as_ref().filter(|_| job.parked_for.is_some())? {
            Parked::LimitFull => Some(&mut self.blocked),
            Parked::RateWindow => Some(&mut self.throttled),
            _ => None,
        }
    }

    /// Notes a job that is put into the store; whether it is parked here.
    pub(super) fn put(&mut self, job: &Job) -> bool {
        if job.state == State::Running {
            for key in slots(job) {
                self.holders.entry(key.clone()).or_default().insert(job.id);
            }
        }
        let Some(park) = self.park_of(job) else { return false };
        if let Some(key) = &job.parked_for {
            park.entry(key.clone()).or_default().insert(rank(job));
        }
        true
    }

    /// Forgets a job that is taken out of the store.
    pub(super) fn lift(&mut self, job: &Job) {
        if job.state == State::Running {
            for key in slots(job) {
                if let Some(jobs) = self.holders.get_mut(key) {
                    jobs.remove(&job.id);
                }
            }
        }
        let Some((park, key)) = self.park_of(job).zip(job.parked_for.as_ref()) else { return };
        if let Some(ranks) = park.get_mut(key) {
            ranks.remove(&rank(job));
        }
        park.retain(|_, ranks| !ranks.is_empty());
    }

    fn running(&self, key: &Key) -> usize {
        self.holders.get(key).map_or(0, BTreeSet::len)
    }

    fn is_full(&self, key: &Key, most: u32) -> bool {
        self.running(key) >= most as usize
    }

    fn paid(&self, key: &Key) -> Timestamp {
        self.paid.get(key).copied().unwrap_or_default()
    }

    /// The first limit that keeps the job from running now.
    pub(super) fn hold_back(&self, job: &Job, now: Timestamp) -> Option<HeldBack> {
        job.limits.iter().find_map(|limit| match limit {
            Limit::Slots { key, most, full } if self.is_full(key, *most) => Some(match full {
                WhenFull::Wait => HeldBack::Park(Parked::LimitFull, key.clone()),
                WhenFull::Cancel => HeldBack::Cancel,
            }),
            Limit::Rate { key, rate, cost } if rate.admits(self.paid(key), now, *cost).is_none() => {
                Some(HeldBack::Park(Parked::RateWindow, key.clone()))
            }
            _ => None,
        })
    }

    /// The key for a slot of which a new job is parked at once.
    pub(super) fn full_for(&self, job: &Job) -> Option<Key> {
        job.limits.iter().find_map(|limit| match limit {
            Limit::Slots { key, most, full: WhenFull::Wait } if self.is_full(key, *most) => Some(key.clone()),
            _ => None,
        })
    }

    /// Pays for the start of a job that nothing holds back.
    pub(super) fn pay(&mut self, job: &Job, now: Timestamp) {
        for (key, rate, cost) in rates(job) {
            let paid = rate.admits(self.paid(key), now, cost);
            self.paid.extend(paid.map(|paid| (key.clone(), paid)));
        }
    }

    /// Sees to it that a job that is about to be parked for a rate is looked at once that opens.
    pub(super) fn watch(&mut self, job: &Job, key: &Key) {
        let Some((_, rate, cost)) = rates(job).find(|(one, ..)| *one == key) else { return };
        let opens = rate.opens_at(self.paid(key), cost);
        let others = self.throttled.contains_key(key);
        let at = self.windows.get(key).filter(|_| others).map_or(opens, |at| opens.min(*at));
        self.windows.insert(key.clone(), at);
    }

    /// When jobs that are parked for a rate are next to be looked at.
    pub(super) fn next_window(&self) -> Option<Timestamp> {
        self.windows.iter().filter(|(key, _)| self.throttled.contains_key(key)).map(|(_, at)| *at).min()
    }

    /// When the rate for which the job is parked opens.
    pub(super) fn opens_at(&self, job: &Job) -> Option<Timestamp> {
        let key = job.parked_for.as_ref().filter(|_| job.parked == Some(Parked::RateWindow))?;
        rates(job).find(|(one, ..)| *one == key).map(|(key, rate, cost)| rate.opens_at(self.paid(key), cost))
    }

    /// The job that keeps one of this key out now.
    pub(super) fn owner(&self, unique: &Unique, now: Timestamp) -> Option<JobId> {
        let owner = self.owners.get(&unique.key)?;
        owner.until.is_none_or(|until| now < until).then_some(owner.id)
    }

    pub(super) fn own(&mut self, unique: &Unique, id: JobId, now: Timestamp) {
        let until = match unique.window {
            Window::For(length) => Some(now + length),
            _ => None,
        };
        self.owners.insert(unique.key.clone(), Owner { id, until });
    }

    /// Frees the key of a job, if it is the holder and its window ends with what has become of it.
    pub(super) fn disown(&mut self, job: &Job, deleted: bool) {
        let Some(unique) = &job.unique else { return };
        let over = match unique.window {
            Window::Started => job.first_started_at.is_some() || job.state.is_end(),
            Window::Finished => job.state.is_end(),
            Window::For(_) | Window::Forever => false,
        };
        if (over || deleted) && self.owners.get(&unique.key).is_some_and(|owner| owner.id == job.id) {
            self.owners.remove(&unique.key);
        }
    }

    /// Drops what time has made say nothing.
    pub(super) fn prune(&mut self, now: Timestamp) {
        self.owners.retain(|_, owner| owner.until.is_none_or(|until| now < until));
        self.paid.retain(|_, paid| *paid > now);
        self.holders.retain(|_, jobs| !jobs.is_empty());
        self.windows.retain(|key, _| self.throttled.contains_key(key));
    }

    pub(super) fn usage(&self, key: &Key, now: Timestamp) -> Usage {
        let owner = self.owners.get(key).filter(|owner| owner.until.is_none_or(|until| now < until));
        let count = |park: &BTreeMap<Key, BTreeSet<Rank>>| park.get(key).map_or(0, BTreeSet::len) as u64;
        Usage {
            unique: owner.map(|owner| owner.id),
            unique_until: owner.and_then(|owner| owner.until),
            running: self.running(key) as u64,
            waiting: count(&self.blocked),
            throttled: count(&self.throttled),
            paid_at: Some(self.paid(key)).filter(|paid| *paid > now),
        }
    }
}

impl Line {
    /// What follows for others from a job that has changed where it stands.
    pub(super) fn stood(&mut self, id: JobId, before: Standing, hints: &mut Hints) {
        let Some(job) = self.jobs.get(&id) else { return };
        let after = Standing::of(job);
        let left_line = before == Standing::InLine && after == Standing::Aside;
        let left_slot = before == Standing::Runs && after != Standing::Runs;
        let keys: Vec<Key> = if left_line || left_slot { slots(job).cloned().collect() } else { Vec::new() };
        let turns: Vec<Key> = match left_line && job.parked_for.is_none() {
            true => rates(job).map(|(key, ..)| key.clone()).collect(),
            false => Vec::new(),
        };
        turns.iter().for_each(|key| self.give_turn_on(key, hints));
        keys.iter().for_each(|key| self.unblock(key, hints));
        hints.shard |= left_slot && self.controls.slots.is_some();
    }

    /// Brings the first job parked for a slot of the key back into line, if one is free.
    fn unblock(&mut self, key: &Key, hints: &mut Hints) {
        let first = self.limits.blocked.get(key).and_then(|ranks| ranks.first()).map(|rank| rank.2);
        let Some(job) = first.and_then(|id| self.jobs.get(&id)) else { return };
        let free = job.limits.iter().any(|limit| match limit {
            Limit::Slots { key: own, most, .. } => own == key && !self.limits.is_full(key, *most),
            Limit::Rate { .. } => false,
        });
        let id = job.id;
        if free {
            self.unpark(id, hints);
        }
    }

    /// Sees to it that who waits for the rate is looked at by the next call: who came back for it did not start.
    fn give_turn_on(&mut self, key: &Key, hints: &mut Hints) {
        if !self.limits.throttled.contains_key(key) {
            return;
        }
        self.limits.windows.insert(key.clone(), Timestamp::EPOCH);
        hints.shard = true;
    }

    /// Closes the rates that a job is under.
    pub(super) fn close_rates(&mut self, id: JobId, now: Timestamp, hold: Duration) {
        let closed: Vec<_> =
            self.jobs.get(&id).into_iter().flat_map(rates).map(|(key, rate, _)| (key.clone(), rate)).collect();
        for (key, rate) in closed {
            let paid = rate.held(self.limits.paid(&key), now, hold);
            self.limits.paid.insert(key.clone(), paid);
            let opens = self.first_throttled(&key).map(|(rate, cost)| rate.opens_at(paid, cost));
            self.limits.windows.entry(key).and_modify(|at| *at = opens.map_or(*at, |opens| opens.max(*at)));
        }
    }

    /// Brings jobs back whose rates have opened.
    pub(super) fn open_windows(&mut self, now: Timestamp, hints: &mut Hints) {
        let mut left = MAX_UPKEEP;
        while left > 0 {
            let due = self.limits.windows.iter().filter(|(_, at)| **at <= now).min_by_key(|(_, at)| **at);
            let Some(key) = due.map(|(key, _)| key.clone()) else { break };
            let Some((rate, cost)) = self.first_throttled(&key) else {
                self.limits.windows.remove(&key);
                continue;
            };
            let paid = self.limits.paid(&key);
            let room = rate.room(paid, now, cost).min(left);
            let jobs = self.limits.throttled.get(&key).into_iter().flatten().take(room as usize);
            let jobs: Vec<JobId> = jobs.map(|rank| rank.2).collect();
            let back = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
            jobs.into_iter().for_each(|id| self.unpark(id, hints));
            left -= back;
            let next = if back == 0 { rate.opens_at(paid, cost) } else { rate.look_after(paid, now, cost, back) };
            self.limits.windows.entry(key).and_modify(|at| *at = next);
        }
    }

    /// What the first job that is parked for the rate of a key says of it, and its cost.
    fn first_throttled(&self, key: &Key) -> Option<(Rate, u32)> {
        let first = self.limits.throttled.get(key)?.first()?.2;
        rates(self.jobs.get(&first)?).find(|(one, ..)| *one == key).map(|(_, rate, cost)| (rate, cost))
    }

    fn unpark(&mut self, id: JobId, hints: &mut Hints) {
        if let Some(mut job) = self.lift(id) {
            (job.parked, job.parked_at, job.parked_for) = (None, None, None);
            self.put(job, hints);
        }
    }

    /// The job as it is shown.
    pub(super) fn shown(&self, job: &Job) -> Job {
        Job { opens_at: self.limits.opens_at(job), ..job.clone() }
    }
}

fn slots(job: &Job) -> impl Iterator<Item = &Key> {
    job.limits.iter().filter(|limit| matches!(limit, Limit::Slots { .. })).map(Limit::key)
}

fn rates(job: &Job) -> impl Iterator<Item = (&Key, Rate, u32)> {
    job.limits.iter().filter_map(|limit| match limit {
        Limit::Rate { key, rate, cost } => Some((key, *rate, *cost)),
        Limit::Slots { .. } => None,
    })
}
