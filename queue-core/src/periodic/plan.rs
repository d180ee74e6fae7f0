//! What is to be done when a schedule is due: a pure function of what is stored of it and the time.

use queue_storage::model::Timestamp;

use super::entry::Entry;
use crate::policies::{Missed, Overlap};

/// The most ticks of one schedule that one step carries out, and how many bytes their envelopes may have together.
const MOST: usize = 250;
const MOST_BYTES: usize = 1024 * 1024;
/// The most missed ticks that are counted one by one.
const COUNTED: usize = 1_000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The ticks to carry out, in order.
    pub(crate) ticks: Vec<Timestamp>,
    /// Whether the job of the last tick is to be cancelled before.
    pub(crate) cancel: bool,
    /// Ticks that are left out since nobody carried them out in time, and since the job before had not ended.
    pub(crate) missed: u64,
    pub(crate) skipped: u64,
    /// The schedule afterwards, but for the job of the last tick.
    pub(crate) entry: Entry,
}

impl Plan {
    /// Nothing: the schedule stays as it is.
    pub(crate) fn nothing(entry: &Entry) -> Self {
        Self { ticks: Vec::new(), cancel: false, missed: 0, skipped: 0, entry: entry.clone() }
    }
}

/// What is to be done with a schedule at `now`, whose next tick has come; `live` says that a job that it minds has not
/// ended.
pub(crate) fn plan(entry: &Entry, now: Timestamp, live: bool) -> Option<Plan> {
    let next = entry.due().filter(|next| *next <= now)?;
    let (mut ticks, missed, then) = due_ticks(entry, next, now);
    let left = entry.definition.max_runs.map_or(u64::MAX, |most| most.saturating_sub(entry.runs));
    let mut skipped = 0;
    let mut cancel = false;
    if !ticks.is_empty() {
        match entry.definition.overlap {
            Overlap::Allow => {}
            Overlap::Skip => {
                let keep = usize::from(!live);
                skipped = ticks.len() - keep.min(ticks.len());
                ticks.truncate(keep);
            }
            Overlap::CancelRunning => cancel = live,
        }
    }
    ticks.truncate(usize::try_from(left).unwrap_or(usize::MAX));
    let mut after = entry.clone();
    after.next = then;
    after.last = ticks.last().copied().or(entry.last);
    after.runs += ticks.len() as u64;
    after.missed += missed;
    after.skipped += skipped as u64;
    Some(Plan { ticks, cancel, missed, skipped: skipped as u64, entry: after })
}

/// Which of the ticks from `next` to `now` count, how many of them do not, and the tick after those looked at.
fn due_ticks(entry: &Entry, next: Timestamp, now: Timestamp) -> (Vec<Timestamp>, u64, Option<Timestamp>) {
    let definition = &entry.definition;
    let then = definition.after(now);
    let latest = latest(entry, next, now);
    let alone = |missed| match definition.missed {
        Missed::Skip { tolerance } if now - latest > tolerance => (Vec::new(), missed + 1, then),
        _ => (vec![latest], missed, then),
    };
    let most = match definition.missed {
        // Each would be cancelled for the one after it.
        Missed::All(most) if definition.overlap != Overlap::CancelRunning => most,
        _ => return alone(count(entry, next, latest)),
    };
    // The latest so many, from the last back; then forward from the first of them.
    let mut first = latest;
    for _ in 1..most {
        match definition.before(first).filter(|before| *before >= next) {
            Some(before) => first = before,
            None => break,
        }
    }
    let missed = count(entry, next, first);
    let room = (MOST_BYTES / definition.call.envelope.len().max(1)).clamp(1, MOST);
    let mut ticks = vec![first];
    let mut follow = definition.after(first);
    while let Some(tick) = follow.filter(|tick| *tick <= latest && ticks.len() < room) {
        ticks.push(tick);
        follow = definition.after(tick);
    }
    (ticks, missed, follow)
}

/// The last tick that is no later than `now`; `next` is one.
fn latest(entry: &Entry, next: Timestamp, now: Timestamp) -> Timestamp {
    entry.definition.up_to(now).map_or(next, |last| last.max(next))
}

/// How many ticks there are from one up to another, up to [`COUNTED`].
fn count(entry: &Entry, from: Timestamp, to: Timestamp) -> u64 {
    let ticks = std::iter::successors(Some(from), |tick| entry.definition.after(*tick));
    ticks.take_while(|tick| *tick < to).take(COUNTED).count() as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::entry::Source;
    use super::super::schedule::testing::definition;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(minutes: u32) -> Timestamp {
        Timestamp::from_micros(1_700_000_040_000_000) + MINUTE * minutes
    }

    /// A schedule of each minute, whose next tick is at 1.
    fn entry(missed: Missed, overlap: Overlap) -> Entry {
        let mut entry = Entry::new(definition("* * * * *"), Source::Code(0), at(0));
        (entry.definition.missed, entry.definition.overlap) = (missed, overlap);
        entry
    }

    fn ticks(plan: &Plan) -> Vec<u32> {
        plan.ticks.iter().map(|tick| (tick.since(at(0)).as_secs() / 60) as u32).collect()
    }

    #[test]
    fn nothing_is_to_be_done_before_it_is_due() {
        let mut entry = entry(Missed::DEFAULT, Overlap::Allow);
        assert_eq!(plan(&entry, at(1) - Duration::from_micros(1), false), None);
        entry.paused_at = Some(at(0));
        assert_eq!(plan(&entry, at(5), false), None);
    }

    #[test]
    fn a_tick_in_time_is_carried_out() {
        let plan = plan(&entry(Missed::DEFAULT, Overlap::Allow), at(1), false).unwrap();
        assert_eq!((ticks(&plan), plan.missed, plan.entry.next, plan.entry.runs), (vec![1], 0, Some(at(2)), 1));
        assert_eq!((plan.entry.last, plan.cancel), (Some(at(1)), false));
    }

    #[test]
    fn of_missed_ticks_those_count_that_the_policy_says() {
        let late = at(7) + Duration::from_secs(30);
        let tolerant = |secs| Missed::Skip { tolerance: Duration::from_secs(secs) };
        for (missed, carried, left) in [
            (tolerant(30), vec![7], 6),
            (tolerant(29), vec![], 7),
            (Missed::Last, vec![7], 6),
            (Missed::All(1), vec![7], 6),
            (Missed::All(3), vec![5, 6, 7], 4),
            (Missed::All(7), (1..=7).collect(), 0),
            (Missed::All(50), (1..=7).collect(), 0),
        ] {
            let plan = plan(&entry(missed, Overlap::Allow), late, false).unwrap();
            assert_eq!((ticks(&plan), plan.missed, plan.entry.next), (carried, left, Some(at(8))), "{missed:?}");
        }
    }

    #[test]
    fn many_are_made_good_in_several_steps() {
        let mut entry = entry(Missed::All(600), Overlap::Allow);
        let mut carried = Vec::new();
        let mut steps = 0;
        while let Some(plan) = plan(&entry, at(700), false) {
            assert!(plan.ticks.len() <= MOST);
            carried.extend(ticks(&plan));
            (entry, steps) = (plan.entry, steps + 1);
        }
        assert_eq!((carried, steps), ((101..=700).collect::<Vec<_>>(), 3));
        let mut heavy = self::entry(Missed::All(600), Overlap::Allow);
        heavy.definition.call.envelope = vec![0; MOST_BYTES / 7].into();
        assert_eq!(plan(&heavy, at(700), false).unwrap().ticks.len(), 7);
        heavy.definition.call.envelope = vec![0; 2 * MOST_BYTES].into();
        assert_eq!(plan(&heavy, at(700), false).unwrap().ticks.len(), 1);
        assert_eq!((entry.missed, entry.runs, entry.next), (100, 600, Some(at(701))));
    }

    #[test]
    fn a_live_job_lets_the_tick_be_left_out_or_is_cancelled() {
        let in_time = |overlap, live| plan(&entry(Missed::All(9), overlap), at(1), live).unwrap();
        let late = |overlap, live| plan(&entry(Missed::All(9), overlap), at(3), live).unwrap();
        for (plan, carried, skipped, cancel) in [
            (in_time(Overlap::Skip, true), vec![], 1, false),
            (in_time(Overlap::Skip, false), vec![1], 0, false),
            (late(Overlap::Skip, false), vec![1], 2, false),
            (late(Overlap::Skip, true), vec![], 3, false),
            (in_time(Overlap::CancelRunning, true), vec![1], 0, true),
            (late(Overlap::CancelRunning, false), vec![3], 0, false),
            (late(Overlap::Allow, true), vec![1, 2, 3], 0, false),
        ] {
            assert_eq!((ticks(&plan), plan.skipped, plan.cancel), (carried, skipped, cancel));
            assert_eq!(plan.entry.skipped, skipped);
        }
    }

    #[test]
    fn it_ends_with_its_last_run_and_its_last_moment() {
        let mut spent = entry(Missed::All(9), Overlap::Allow);
        spent.definition.max_runs = Some(2);
        let last = plan(&spent, at(5), false).unwrap();
        assert_eq!((ticks(&last), last.entry.due(), last.entry.runs), (vec![1, 2], None, 2));
        let mut ending = entry(Missed::Last, Overlap::Allow);
        ending.definition.ends = Some(at(4));
        let over = plan(&ending, at(9), false).unwrap();
        assert_eq!((ticks(&over), over.missed, over.entry.next), (vec![4], 3, None));
        assert_eq!(ticks(&plan(&ending, at(4), false).unwrap()), [4]);
    }

    #[test]
    fn a_tick_that_had_come_before_its_start_was_set_brings_no_other() {
        for (starts, missed, carried) in [
            (at(9), Missed::Last, vec![1]),
            (at(9), Missed::All(9), vec![1]),
            (at(9), Missed::DEFAULT, vec![1]),
            (at(9), Missed::Skip { tolerance: MINUTE }, vec![]),
            (at(4), Missed::Last, vec![5]),
            (at(4), Missed::All(9), vec![4, 5]),
        ] {
            let mut entry = entry(missed, Overlap::Allow);
            entry.definition.starts = Some(starts);
            let plan = plan(&entry, at(5), false).unwrap();
            assert_eq!((ticks(&plan), plan.entry.next), (carried, Some(at(6).max(starts))), "{missed:?}");
        }
    }

    #[test]
    fn a_long_absence_is_counted_in_bounds() {
        let plan = plan(&entry(Missed::Last, Overlap::Allow), at(60 * 24 * 365), false).unwrap();
        assert_eq!((plan.ticks.len(), plan.missed), (1, COUNTED as u64));
    }
}
