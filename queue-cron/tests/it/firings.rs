//! Against croniter's answers (tests/data/firings.txt).

use crate::{cron, moment, unix};

struct Line {
    expression: &'static str,
    zone: &'static str,
    from: i64,
    moments: Vec<i64>,
}

fn lines() -> Vec<Line> {
    let text = include_str!("../data/firings.txt").lines().filter(|line| !line.starts_with("# "));
    text.map(|line| {
        let [expression, zone, from, moments] = line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let mut sum = 0;
        let numbers = moments.split(' ').map(|number| number.parse::<i64>().unwrap());
        let moments = numbers.map(|number| {
            sum += number;
            sum
        });
        Line { expression, zone, from: from.parse().unwrap(), moments: moments.collect() }
    })
    .collect()
}

/// cron(8) of Debian: "those jobs that fall into the repeated time will not be re-run". croniter runs them twice.
const FIXED_ONCE: &str = "a fixed time that is shown twice is due once";
/// cron(8) of Debian: "Jobs which are specified with wildcards are run based on the new time immediately".
const LEAPT_OVER: &str = "by the clock as it is there is no such hour: croniter moves it behind the leap";
/// As Quartz and croner have it; croniter takes the 30th for the 31st where there is none.
const NO_31ST: &str = "a month without a 31st has no workday nearest to it";

/// Where we differ, and why.
const DIFFERENT: [(&str, &str, &str); 10] = [
    ("0 0 31W * *", "UTC", NO_31ST),
    ("30 1 * * *", "America/New_York", FIXED_ONCE),
    ("0 1 * * *", "America/New_York", FIXED_ONCE),
    ("0 0-5 * * *", "America/New_York", FIXED_ONCE),
    ("30 2 * * *", "Europe/Berlin", FIXED_ONCE),
    ("0 2,3 * * *", "Europe/Berlin", FIXED_ONCE),
    ("45 1 * * *", "Australia/Lord_Howe", FIXED_ONCE),
    ("30 23 * * *", "America/Sao_Paulo", FIXED_ONCE),
    ("0 */4 * * *", "Asia/Beirut", LEAPT_OVER),
    ("30 23 * * *", "Asia/Beirut", FIXED_ONCE),
];

/// Whether what is due differs as a reason says: something of theirs is left out, and nothing is added but at the end.
fn differs_as_said(why: &str, ours: &[i64], theirs: &[i64]) -> bool {
    let left_out: Vec<_> = theirs.iter().filter(|unix| !ours.contains(unix)).collect();
    let added = ours.iter().filter(|unix| !theirs.contains(unix)).all(|unix| unix > &theirs[19]);
    added && if why == NO_31ST { left_out.len() > 5 } else { (1..=2).contains(&left_out.len()) }
}

#[test]
fn croniter_agrees() {
    let lines = lines();
    assert!(lines.len() >= 72, "{} lines", lines.len());
    let mut wrong = Vec::new();
    let mut different = Vec::new();
    for Line { expression, zone, from, moments } in lines {
        let cron = cron(expression).in_tz(zone).unwrap();
        let ours: Vec<_> = cron.upcoming(moment(from)).take(20).map(unix).collect();
        if ours == moments {
            continue;
        }
        let first = ours.iter().zip(&moments).find(|(ours, theirs)| ours != theirs).unwrap();
        let shown = |unix| jiff::Timestamp::from_second(unix).unwrap().in_tz(zone).unwrap();
        let why = DIFFERENT.iter().find(|known| (known.0, known.1) == (expression, zone)).map_or("", |known| known.2);
        assert!(
            differs_as_said(why, &ours, &moments),
            "{expression} | {zone}: {why}: {ours:?} here, {moments:?} there"
        );
        wrong.push(format!("{expression} | {zone} | {from}: {} here, {} there", shown(*first.0), shown(*first.1)));
        different.push((expression, zone));
    }
    let expected: Vec<_> = DIFFERENT.iter().map(|(expression, zone, _)| (*expression, *zone)).collect();
    assert_eq!(different, expected, "{wrong:#?}");
}

#[test]
fn the_way_back_meets_the_same_moments() {
    for Line { expression, zone, from, .. } in lines() {
        let cron = cron(expression).in_tz(zone).unwrap();
        let mut ahead: Vec<_> = cron.upcoming(moment(from)).take(20).collect();
        let after = cron.next_after(ahead[19]).unwrap();
        let back: Vec<_> = std::iter::successors(cron.previous(after), |last| cron.previous(*last)).take(20).collect();
        ahead.reverse();
        assert_eq!(back, ahead, "{expression} | {zone}");
    }
}
