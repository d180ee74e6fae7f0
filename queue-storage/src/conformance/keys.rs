//! What is true of keys at every moment: who runs under them, who waits for them, who has them.

use std::collections::BTreeSet;

use crate::model::{Job, Key, Limit, Parked, Shard, State, Window};
use crate::storage::{Storage, Usage};

/// A key whose jobs differ in how many slots it has: one is sure to be free only when none is taken.
pub(super) const MIXED: &str = "mixed";

/// Each key is used as the jobs say that are under it.
pub(super) async fn check_keys(storage: &dyn Storage, shard: &Shard, jobs: &[Job]) {
    jobs.iter().for_each(check_parked_for);
    let limits = jobs.iter().flat_map(|job| job.limits.iter().map(Limit::key));
    let unique = jobs.iter().filter_map(|job| job.unique.as_ref()).map(|unique| &unique.key);
    for key in limits.chain(unique).collect::<BTreeSet<_>>() {
        let usage = storage.usage(shard, key).await.expect("how a key is used");
        check_slots(key, jobs, &usage);
        check_rate(key, jobs, &usage);
        check_owner(key, jobs, &usage);
    }
}

/// A job that waits for a key says so, and only then.
fn check_parked_for(job: &Job) {
    let says = |holds: bool, what: &str| assert!(holds, "{what}: {job:?}");
    let under =
        |fits: fn(&Limit) -> bool| job.limits.iter().any(|one| fits(one) && Some(one.key()) == job.parked_for.as_ref());
    let fits = match job.parked {
        Some(Parked::LimitFull) => under(|one| matches!(one, Limit::Slots { .. })),
        Some(Parked::RateWindow) => under(|one| matches!(one, Limit::Rate { .. })),
        _ => job.parked_for.is_none(),
    };
    says(fits, "it waits for a key that it is under, and else for none");
    says(job.opens_at.is_some() == (job.parked == Some(Parked::RateWindow)), "a rate opens at a moment");
}

/// Jobs that are parked like this for the key.
fn waiting<'a>(key: &Key, jobs: &'a [Job], parked: &Parked) -> Vec<&'a Job> {
    let waits = |job: &&Job| job.parked.as_ref() == Some(parked) && job.parked_for.as_ref() == Some(key);
    jobs.iter().filter(waits).collect()
}

/// How many slots a job says that the key has.
fn most(job: &Job, key: &Key) -> Option<u32> {
    job.limits.iter().find_map(|one| match one {
        Limit::Slots { key: own, most, .. } if own == key => Some(*most),
        _ => None,
    })
}

/// No more run than may, and as long as a slot is free and jobs are parked for it, one of them is in line.
fn check_slots(key: &Key, jobs: &[Job], usage: &Usage) {
    let words = |fits: fn(&Job) -> bool| jobs.iter().filter(move |job| fits(job)).filter_map(|job| most(job, key));
    let running: Vec<_> = words(|job| job.state == State::Running).collect();
    let waiting = waiting(key, jobs, &Parked::LimitFull);
    assert_eq!((usage.running, usage.waiting), (running.len() as u64, waiting.len() as u64), "jobs under `{key}`");
    let fits = running.iter().max().is_none_or(|most| running.len() <= *most as usize);
    assert!(fits, "{} run under `{key}`, by their words {running:?}", running.len());
    let least = waiting.iter().filter_map(|job| most(job, key)).min();
    let least = least.map(|most| if key.as_str() == MIXED { 1 } else { most });
    let is_free = least.is_some_and(|most| running.len() < most as usize);
    let in_line = words(|job| job.state == State::Ready && job.parked.is_none()).next().is_some();
    assert!(!is_free || in_line, "a slot of `{key}` is free, and nobody in line for it: {waiting:?}");
}

/// Those who wait for a rate are counted, and tell when it opens by what is paid.
fn check_rate(key: &Key, jobs: &[Job], usage: &Usage) {
    let throttled = waiting(key, jobs, &Parked::RateWindow);
    assert_eq!(usage.throttled, throttled.len() as u64, "jobs throttled by `{key}`");
    let Some(paid) = usage.paid_at else { return };
    for job in throttled {
        let opens = job.limits.iter().find_map(|one| match one {
            Limit::Rate { key: own, rate, cost } if own == key => Some(rate.opens_at(paid, *cost)),
            _ => None,
        });
        assert_eq!(job.opens_at, opens, "when `{key}` opens: {job:?}");
    }
}

/// A live job whose window lasts has its key, and whoever has it is stored with it, or stored no more.
fn check_owner(key: &Key, jobs: &[Job], usage: &Usage) {
    let window = |job: &Job| job.unique.as_ref().filter(|unique| unique.key == *key).map(|unique| unique.window);
    for job in jobs.iter().filter(|job| !job.state.is_end()) {
        let lasts = match window(job) {
            Some(Window::Started) => job.first_started_at.is_none(),
            Some(Window::Finished | Window::Forever) => true,
            Some(Window::For(_)) | None => false,
        };
        assert!(!lasts || usage.unique == Some(job.id), "`{key}` is this one's: {usage:?}, {job:?}");
    }
    let Some(owner) = usage.unique.and_then(|id| jobs.iter().find(|job| job.id == id)) else { return };
    let lasts = match window(owner) {
        None => false,
        Some(Window::Started) => owner.first_started_at.is_none() && !owner.state.is_end(),
        Some(Window::Finished) => !owner.state.is_end(),
        Some(Window::For(length)) => usage.unique_until == Some(owner.enqueued_at + length),
        Some(Window::Forever) => usage.unique_until.is_none(),
    };
    assert!(lasts, "`{key}` is nobody's any more: {usage:?}, {owner:?}");
}
