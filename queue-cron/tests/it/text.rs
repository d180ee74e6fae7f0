//! How expressions are written, and what is the same.

use std::collections::HashSet;

use queue_cron::{Cron, TimeZone};

use crate::cron;

#[test]
fn there_is_one_way_to_write_an_expression() {
    let same = [
        ("  0  9\t* * MON-FRI ", "0 9 * * 1-5"),
        ("00 09 01 jan sun", "0 9 1 1 0"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * sat-sun", "0 0 * * 6-7"),
        ("0 0 * * SUN-TUE", "0 0 * * 0-2"),
        ("0 0 * * 7-7", "0 0 * * 0"),
        ("30,0,30 1-1 * * *", "0,30 1 * * *"),
        ("*/1 0-5/1 * * *", "* 0-5 * * *"),
        ("0 0 lw,15w,l * *", "0 0 15W,L,LW * *"),
        ("0 0 * * fri#2,7L", "0 0 * * 5#2,0L"),
        ("0 */5 * * * *", "*/5 * * * *"),
        ("*/10 * * * * *", "*/10 * * * * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@Midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
        ("CRON_TZ=europe/berlin @daily", "CRON_TZ=Europe/Berlin 0 0 * * *"),
        ("CRON_TZ=utc 1 2 3 4 5", "1 2 3 4 5"),
    ];
    for (given, written) in same {
        assert_eq!(cron(given).to_string(), written, "{given}");
        assert_eq!(cron(given), cron(written), "{given}");
        assert_eq!(cron(written).to_string(), written);
    }
}

#[test]
fn a_range_of_all_is_not_a_star() {
    assert!(cron("0 0-23 * * *").is_fixed() && !cron("0 * * * *").is_fixed());
    assert_ne!(cron("0 0 1-31 * 1"), cron("0 0 * * 1"));
}

#[test]
fn fields_make_the_same_expression() {
    let reference = [
        (Cron::fields(), "* * * * *"),
        (Cron::fields().minute("0"), "0 * * * *"),
        (Cron::fields().minute("0").hour("0"), "0 0 * * *"),
        (Cron::fields().minute(0).hour(9).day_of_week("MON"), "0 9 * * 1"),
        (Cron::fields().minute("0").hour("0").day("1"), "0 0 1 * *"),
        (Cron::fields().minute("*/15"), "*/15 * * * *"),
        (Cron::fields().minute("0").hour("8").day_of_week("1-5"), "0 8 * * 1-5"),
        (Cron::fields().minute("0").hour("9,12,17"), "0 9,12,17 * * *"),
        (Cron::fields().second("*/10").month("jan"), "*/10 * * * 1 *"),
    ];
    for (fields, expression) in reference {
        assert_eq!(fields.build().unwrap(), cron(expression));
    }
}

#[test]
fn serde_has_it_as_text() {
    let nightly = cron("CRON_TZ=America/New_York 30 2 * * mon");
    let json = serde_json::to_string(&nightly).unwrap();
    assert_eq!(json, r#""CRON_TZ=America/New_York 30 2 * * 1""#);
    assert_eq!(serde_json::from_str::<Cron>(&json).unwrap(), nightly);
    let error = serde_json::from_str::<Cron>(r#""60 * * * *""#).unwrap_err().to_string();
    assert!(error.contains("the minute goes from 0 to 59, not 60"), "{error}");
    let zone: TimeZone = serde_json::from_str(r#""asia/tokyo""#).unwrap();
    assert_eq!(serde_json::to_string(&zone).unwrap(), r#""Asia/Tokyo""#);
    assert!(serde_json::from_str::<TimeZone>(r#""Asia/Nowhere""#).is_err());
}

#[test]
fn equal_ones_hash_equally_and_zones_count() {
    let set: HashSet<Cron> = ["0 0 * * 7", "@weekly", "CRON_TZ=Asia/Tokyo @weekly"].into_iter().map(cron).collect();
    assert_eq!(set.len(), 2);
    assert_eq!(format!("{:?}", cron("@weekly")), "Cron(\"0 0 * * 0\")");
    assert_ne!(cron("@weekly"), cron("CRON_TZ=Asia/Tokyo @weekly"));
    assert_eq!(cron("@weekly").zone(), &TimeZone::UTC);
    assert_eq!(TimeZone::default().to_string(), "UTC");
}

#[test]
fn a_machine_without_a_database_of_zones_has_ours() {
    jiff::tz::TimeZoneDatabase::bundled().get("Australia/Lord_Howe").unwrap();
}

#[cfg(feature = "jiff")]
#[test]
fn zones_go_to_jiff_and_back() {
    let tokyo = TimeZone::new("Asia/Tokyo").unwrap();
    let theirs: jiff::tz::TimeZone = tokyo.clone().into();
    assert_eq!(TimeZone::try_from(theirs).unwrap(), tokyo);
    assert!(TimeZone::try_from(jiff::tz::Offset::constant(2).to_time_zone()).is_err());
}
