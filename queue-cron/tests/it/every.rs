//! Intervals.

use std::time::{Duration, UNIX_EPOCH};

use fastrand::Rng;
use queue_cron::Every;

use crate::at;

#[test]
fn each_moment_is_reckoned_from_the_anchor() {
    let mut rng = Rng::with_seed(7);
    for _ in 0..2_000 {
        let longest = 1 << rng.u32(1..60);
        let period = Duration::from_nanos(rng.u64(1..longest));
        let anchor = UNIX_EPOCH + Duration::from_nanos(rng.u64(..1 << 60));
        let every = Every::new(period).unwrap().anchored(anchor);
        let n = rng.u32(0..1_000);
        let Some(due) = anchor.checked_add(period * n) else { continue };
        let next = anchor + period * (n + 1);
        assert_eq!(every.next_after(due), Some(next), "{every:?} {n}");
        assert_eq!(every.next_after(next - Duration::from_nanos(1)), Some(next), "{every:?} {n}");
        assert_eq!(every.previous(next), Some(due), "{every:?} {n}");
        assert_eq!(every.previous(due + Duration::from_nanos(1)), Some(due), "{every:?} {n}");
    }
}

#[test]
fn a_thousand_years_later_it_has_not_drifted() {
    let every = Every::new(Duration::from_millis(333)).unwrap();
    let next = every.next_after(at("2970-01-01T00:00Z")).unwrap();
    assert_eq!(next.duration_since(UNIX_EPOCH).unwrap().as_nanos() % 333_000_000, 0);
}

#[test]
fn nothing_is_due_before_the_anchor() {
    let anchor = at("2026-01-01T00:00Z");
    let every = Every::new(Duration::from_secs(60)).unwrap().anchored(anchor);
    assert_eq!(every.next_after(at("2025-12-31T23:59:30Z")), Some(anchor));
    assert_eq!(every.next_after(anchor), Some(at("2026-01-01T00:01Z")));
    assert_eq!((every.previous(anchor), every.previous(at("2025-01-01T00:00Z"))), (None, None));
    let moments: Vec<_> = every.upcoming(at("2000-01-01T00:00Z")).take(2).collect();
    assert_eq!(moments, [anchor, at("2026-01-01T00:01Z")]);
}

#[test]
fn a_period_of_0_is_refused_and_one_beyond_time_ends() {
    assert!(Every::new(Duration::ZERO).unwrap_err().to_string().contains("is 0"));
    let every = Every::new(Duration::MAX).unwrap();
    assert_eq!(every.next_after(UNIX_EPOCH), None);
    assert_eq!(every.previous(at("2026-01-01T00:00Z")), Some(UNIX_EPOCH));
}
