//! Schedules of the crate `cron`.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use queue_cron::Quartz;

use crate::{at, cron, moment};

fn quartz(source: &str) -> Quartz {
    cron::Schedule::from_str(source).unwrap().into()
}

#[test]
fn it_means_what_it_means_there() {
    let sources = [
        "0 30 9 * * 2-6",
        "0 0 0 * * 1",
        "0 0 0 13 * Fri",
        "*/20 5/15 */6 1,15 Jan-Mar *",
        "0 0 12 29 2 * 2028-2060",
        "0 0 0 1 1 ? 2027/10",
        "@weekly",
        "@hourly",
        "59 59 23 31 * 7",
    ];
    for source in sources {
        let schedule = cron::Schedule::from_str(source).unwrap();
        let ours = Quartz::from(schedule.clone());
        let from: DateTime<Utc> = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let theirs: Vec<_> = schedule.after(&from).take(20).map(|due| moment(due.timestamp())).collect();
        let found: Vec<_> = ours.upcoming(moment(1_700_000_000)).take(20).collect();
        assert_eq!(found, theirs, "{source}");
    }
}

#[test]
fn weekdays_count_from_1_and_both_days_must_match() {
    let from = at("2026-02-02T12:00Z"); // a Monday
    assert_eq!(quartz("0 0 0 * * 1").next_after(from), Some(at("2026-02-08T00:00Z")));
    assert_eq!(cron("0 0 * * 1").next_after(from), Some(at("2026-02-09T00:00Z")));
    assert_eq!(quartz("0 0 0 13 * Mon").next_after(from), Some(at("2026-04-13T00:00Z")));
    assert_eq!(quartz("0 0 0 13 * Mon").previous(from), Some(at("2025-10-13T00:00Z")));
}

#[test]
fn clocks_change_as_with_cron() {
    let new_york = |source| quartz(source).in_tz("America/New_York").unwrap();
    let nightly = new_york("0 30 2 * * *");
    assert_eq!(nightly.next_after(at("2024-03-10T00:00-05:00")), Some(at("2024-03-10T03:00-04:00")));
    for (source, repeated) in
        [("0 30 1 * * *", false), ("0 0,30 1 * * *", false), ("0 30 * * * *", true), ("@hourly", true)]
    {
        let due = new_york(source).next_after(at("2024-11-03T01:30-04:00")).unwrap();
        assert_eq!(due <= at("2024-11-03T01:30-05:00"), repeated, "{source}");
    }
}

#[test]
fn what_never_comes_or_is_over_is_due_no_more() {
    assert_eq!(quartz("0 0 0 31 2 *").next_after(at("2026-01-01T00:00Z")), None);
    assert_eq!(quartz("0 0 0 1 1 * 2020").next_after(at("2026-01-01T00:00Z")), None);
    assert_eq!(quartz("0 0 0 1 1 * 2020").previous(at("2026-01-01T00:00Z")), Some(at("2020-01-01T00:00Z")));
    assert_eq!(quartz("* * * * * *").next_after(at("2101-01-01T00:00Z")), None);
}

#[test]
fn its_text_is_its_source() {
    assert_eq!(quartz("0 0 9 ? * Mon").in_tz("Asia/Tokyo").unwrap().to_string(), "CRON_TZ=Asia/Tokyo 0 0 9 ? * Mon");
    assert_eq!(format!("{:?}", quartz("@daily")), "Quartz(\"@daily\")");
}
