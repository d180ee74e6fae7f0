//! What becomes of times that are leapt over or shown twice.

use crate::{at, cron};

/// All that is due in a zone after one moment and up to another, as `2024-03-10T03:00-04:00`.
#[track_caller]
fn due(expression: &str, zone: &str, from: &str, to: &str, expected: &[&str]) {
    let cron = cron(expression).in_tz(zone).unwrap();
    let found: Vec<_> = cron.upcoming(at(from)).take_while(|moment| *moment <= at(to)).collect();
    let shown = |moment| jiff::Timestamp::try_from(moment).unwrap().in_tz(zone).unwrap().to_string();
    let found: Vec<_> = found.into_iter().map(shown).collect();
    let expected: Vec<_> = expected.iter().map(|moment| shown(at(moment))).collect();
    assert_eq!(found, expected, "{expression} in {zone}");
}

#[test]
fn new_york_leaps_over_2_o_clock() {
    let day = |expression, expected: &[&str]| {
        due(expression, "America/New_York", "2024-03-10T00:00-05:00", "2024-03-10T05:00-04:00", expected);
    };
    day("30 2 * * *", &["2024-03-10T03:00-04:00"]);
    day("0,15,30 2 * * *", &["2024-03-10T03:00-04:00"]);
    day("30 1-3 * * *", &["2024-03-10T01:30-05:00", "2024-03-10T03:00-04:00", "2024-03-10T03:30-04:00"]);
    day("0 2,3 * * *", &["2024-03-10T03:00-04:00"]);
    day("15 30 2 * * *", &["2024-03-10T03:00-04:00"]);
    // By the clock.
    day("*/10 2 * * *", &[]);
    day("* 30 2 * * *", &[]);
    day(
        "30 * * * *",
        &["2024-03-10T00:30-05:00", "2024-03-10T01:30-05:00", "2024-03-10T03:30-04:00", "2024-03-10T04:30-04:00"],
    );
    day("0 */2 * * *", &["2024-03-10T04:00-04:00"]);
    day(
        "@hourly",
        &["2024-03-10T01:00-05:00", "2024-03-10T03:00-04:00", "2024-03-10T04:00-04:00", "2024-03-10T05:00-04:00"],
    );
}

#[test]
fn new_york_shows_1_o_clock_twice() {
    let day = |expression, expected: &[&str]| {
        due(expression, "America/New_York", "2024-11-03T00:30-04:00", "2024-11-03T02:30-05:00", expected);
    };
    day("30 1 * * *", &["2024-11-03T01:30-04:00"]);
    day("0 1,2 * * *", &["2024-11-03T01:00-04:00", "2024-11-03T02:00-05:00"]);
    day("0 0-23 * * *", &["2024-11-03T01:00-04:00", "2024-11-03T02:00-05:00"]);
    // By the clock.
    day("0 * * * *", &["2024-11-03T01:00-04:00", "2024-11-03T01:00-05:00", "2024-11-03T02:00-05:00"]);
    day(
        "*/30 1 * * *",
        &["2024-11-03T01:00-04:00", "2024-11-03T01:30-04:00", "2024-11-03T01:00-05:00", "2024-11-03T01:30-05:00"],
    );
}

#[test]
fn while_an_hour_is_shown_again_its_first_showing_is_past() {
    let new_york = |expression| cron(expression).in_tz("America/New_York").unwrap();
    let fixed = new_york("10,40 1 * * *");
    for now in ["2024-11-03T01:00-05:00", "2024-11-03T01:20-05:00", "2024-11-03T01:50-05:00", "2024-11-03T02:00-05:00"]
    {
        assert_eq!(fixed.previous(at(now)), Some(at("2024-11-03T01:40-04:00")), "{now}");
        assert_eq!(fixed.next_after(at(now)), Some(at("2024-11-04T01:10-05:00")), "{now}");
    }
    let wild = new_york("10,40 * * * *");
    assert_eq!(wild.previous(at("2024-11-03T01:20-05:00")), Some(at("2024-11-03T01:10-05:00")));
    assert_eq!(wild.previous(at("2024-11-03T01:10-05:00")), Some(at("2024-11-03T01:40-04:00")));
}

#[test]
fn lord_howe_moves_by_half_an_hour() {
    let zone = "Australia/Lord_Howe";
    due("15 2 * * *", zone, "2024-10-06T00:00+10:30", "2024-10-06T12:00+11:00", &["2024-10-06T02:30+11:00"]);
    due("45 1 * * *", zone, "2025-04-06T00:00+11:00", "2025-04-06T12:00+10:30", &["2025-04-06T01:45+11:00"]);
    due(
        "*/15 1 * * *",
        zone,
        "2025-04-06T01:15+11:00",
        "2025-04-06T12:00+10:30",
        &["2025-04-06T01:30+11:00", "2025-04-06T01:45+11:00", "2025-04-06T01:30+10:30", "2025-04-06T01:45+10:30"],
    );
}

#[test]
fn days_without_a_midnight_begin_at_1() {
    due("@daily", "America/Sao_Paulo", "2018-11-03T12:00-03:00", "2018-11-04T12:00-02:00", &["2018-11-04T01:00-02:00"]);
    due("0 0 * * 0", "Asia/Beirut", "2024-03-30T12:00+02:00", "2024-03-31T12:00+03:00", &["2024-03-31T01:00+03:00"]);
    due("0 0 26 4 *", "Africa/Cairo", "2024-04-25T12:00+02:00", "2024-04-26T12:00+03:00", &["2024-04-26T01:00+03:00"]);
}

#[test]
fn midnight_comes_once_where_the_evening_is_shown_twice() {
    due(
        "0 0 * * *",
        "America/Sao_Paulo",
        "2018-02-17T12:00-02:00",
        "2018-02-18T12:00-03:00",
        &["2018-02-18T00:00-03:00"],
    );
    due(
        "30 23 * * 6",
        "America/Sao_Paulo",
        "2018-02-17T12:00-02:00",
        "2018-02-18T12:00-03:00",
        &["2018-02-17T23:30-02:00"],
    );
    due("0 0 * * *", "Asia/Beirut", "2024-10-26T12:00+03:00", "2024-10-27T12:00+02:00", &["2024-10-27T00:00+02:00"]);
    due("0 0 * * *", "America/Havana", "2024-11-02T12:00-04:00", "2024-11-03T12:00-05:00", &["2024-11-03T00:00-04:00"]);
}

#[test]
fn the_southern_half_changes_the_other_way_round() {
    due(
        "30 2 * * *",
        "Pacific/Auckland",
        "2024-09-29T00:00+12:00",
        "2024-09-29T12:00+13:00",
        &["2024-09-29T03:00+13:00"],
    );
    due(
        "30 2 * * *",
        "Pacific/Auckland",
        "2025-04-06T00:00+13:00",
        "2025-04-06T12:00+12:00",
        &["2025-04-06T02:30+13:00"],
    );
}

#[test]
fn a_leap_of_a_day_is_a_leap() {
    // Samoa had no 30 December 2011.
    due(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-29T12:00-10:00",
        "2011-12-31T12:00+14:00",
        &["2011-12-31T00:00+14:00", "2011-12-31T12:00+14:00"],
    );
    due(
        "0 */12 * * *",
        "Pacific/Apia",
        "2011-12-29T12:00-10:00",
        "2011-12-31T00:00+14:00",
        &["2011-12-31T00:00+14:00"],
    );
}

#[test]
fn zones_without_changes_have_none() {
    for (zone, offset) in [("UTC", "Z"), ("Asia/Kolkata", "+05:30"), ("America/Phoenix", "-07:00")] {
        let moment = |time: &str| format!("2024-03-10T{time}{offset}");
        due("30 2 * * *", zone, &moment("00:00"), &moment("12:00"), &[&moment("02:30")]);
    }
}

#[test]
fn a_moment_within_a_second_is_before_the_next() {
    let nightly = cron("30 2 * * *").in_tz("America/New_York").unwrap();
    let leap = at("2024-03-10T03:00-04:00");
    assert_eq!(nightly.next_after(at("2024-03-10T01:59:59.999999999-05:00")), Some(leap));
    assert_eq!(nightly.next_after(leap), Some(at("2024-03-11T02:30-04:00")));
    assert_eq!(nightly.previous(at("2024-03-10T03:00:00.000000001-04:00")), Some(leap));
    assert_eq!(nightly.previous(leap), Some(at("2024-03-09T02:30-05:00")));
    // Before the epoch, where a clock counts the other way.
    let minutely = cron("* * * * *");
    assert_eq!(minutely.next_after(at("1969-12-31T23:58:59.5Z")), Some(at("1969-12-31T23:59Z")));
    assert_eq!(minutely.previous(at("1969-12-31T23:59:00.5Z")), Some(at("1969-12-31T23:59Z")));
    assert_eq!(minutely.previous(at("1969-12-31T23:59Z")), Some(at("1969-12-31T23:58Z")));
}

#[test]
fn leap_days_are_found_across_centuries() {
    let leap_day = cron("0 0 29 2 *");
    assert_eq!(leap_day.next_after(at("2096-03-01T00:00Z")), Some(at("2104-02-29T00:00Z")));
    assert_eq!(leap_day.previous(at("2104-02-29T00:00Z")), Some(at("2096-02-29T00:00Z")));
    // The fifth Saturday of a February, which is its 29th: 40 years apart, since 2100 has none.
    assert_eq!(cron("0 0 * 2 6#5").next_after(at("2076-03-01T00:00Z")), Some(at("2116-02-29T00:00Z")));
}

#[test]
fn years_end() {
    assert_eq!(cron("0 0 1 1 *").next_after(at("9999-06-01T00:00Z")), None);
    assert_eq!(cron("* * * * *").next_after(at("9999-12-30T22:00:00Z")), None);
    assert_eq!(cron("0 0 1 1 *").previous(at("-009999-01-03T00:00Z")), None);
    for expression in ["* * * * *", "0 0 * * *"] {
        for away in [1 << 60, i64::MAX as u64] {
            let away = std::time::Duration::from_secs(away);
            let far = [std::time::UNIX_EPOCH.checked_add(away), std::time::UNIX_EPOCH.checked_sub(away)];
            for moment in far.into_iter().flatten() {
                assert_eq!((cron(expression).next_after(moment), cron(expression).previous(moment)), (None, None));
            }
        }
    }
}
