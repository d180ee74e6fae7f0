//! Against croner, which has the days of `L`, `W` and `#` too.

use croner::parser::CronParser;
use fastrand::Rng;
use jiff::Timestamp;

use crate::{cron, moment, unix};

fn day(rng: &mut Rng) -> String {
    match rng.u8(0..6) {
        0 => "L".to_owned(),
        1 => "LW".to_owned(),
        2 => format!("{}W", rng.u8(1..=31)),
        3 => format!("{}W,{}", rng.u8(1..=31), rng.u8(1..=31)),
        4 => rng.u8(1..=31).to_string(),
        _ => "*".to_owned(),
    }
}

fn weekday(rng: &mut Rng) -> String {
    match rng.u8(0..6) {
        0 => format!("{}#{}", rng.u8(0..=7), rng.u8(1..=5)),
        1 => format!("{}L", rng.u8(0..=7)),
        2 => format!("{}#1,{}#3", rng.u8(0..=6), rng.u8(0..=6)),
        3 => format!("{},{}L", rng.u8(0..=6), rng.u8(0..=6)),
        4 => rng.u8(0..=7).to_string(),
        _ => "*".to_owned(),
    }
}

#[test]
fn croner_finds_the_same_days() {
    let mut rng = Rng::with_seed(4_003);
    for _ in 0..1_000 {
        let month = if rng.bool() { "*".to_owned() } else { rng.u8(1..=12).to_string() };
        let text = format!("{} {} {} {month} {}", rng.u8(0..60), rng.u8(0..24), day(&mut rng), weekday(&mut rng));
        // Which of them never come is known from elsewhere: croner says nothing about it.
        let Ok(ours) = text.parse::<queue_cron::Cron>() else { continue };
        let theirs = CronParser::new().parse(&text).unwrap();
        let mut now = moment(rng.i64(0..4_000_000_000));
        for _ in 0..5 {
            let zoned = Timestamp::try_from(now).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
            let there = theirs.find_next_occurrence(&zoned, false).unwrap().timestamp().as_second();
            now = ours.next_after(now).unwrap();
            assert_eq!(unix(now), there, "{text}");
        }
    }
}

/// What kept croner from being the engine here: each of these is refused or right with us.
#[test]
fn croner_takes_what_is_never_due_or_another_thing() {
    for text in ["0 0 * * L", "1,,2 * * * *", "0 0 1 JANFEB *", "0 0 31 2 *", "0 0 ? * *"] {
        assert!(CronParser::new().parse(text).is_ok(), "croner refuses {text} by now");
        assert!(text.parse::<queue_cron::Cron>().is_err(), "{text}");
    }
    // The last day and the last workday: the first is lost.
    let zoned = "2024-03-29T12:00[UTC]".parse::<jiff::Zoned>().unwrap();
    let theirs = CronParser::new().parse("0 0 L,LW * *").unwrap().find_next_occurrence(&zoned, false).unwrap();
    assert_eq!(theirs.date(), jiff::civil::date(2024, 4, 30));
    let ours = cron("0 0 L,LW * *").next_after(zoned.timestamp().into()).unwrap();
    assert_eq!(ours, crate::at("2024-03-31T00:00Z"));
}
