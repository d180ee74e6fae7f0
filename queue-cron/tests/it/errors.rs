//! What is refused, the place that is marked, and what is said.

use queue_cron::{Cron, TimeZone};

/// An expression with what is wrong in it in brackets, and words that are said about it.
#[track_caller]
fn refused(marked: &str, field: Option<&str>, words: &[&str]) {
    let expression = marked.replace(['[', ']'], "");
    let error = expression.parse::<Cron>().expect_err(&expression);
    let span = marked.find('[').unwrap()..marked.find(']').unwrap() - 1;
    assert_eq!((error.span(), error.field()), (span, field), "{error}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is not said in: {text}");
    }
}

#[test]
fn the_field_is_marked() {
    let error = Cron::new("0 9 * * MON-FIR").unwrap_err();
    let said = "bad cron expression: `FIR` is no day of week
  0 9 * * MON-FIR
              ^^^ day of week
allowed: 0-7 (0 and 7 are Sunday) or SUN-SAT, `*`, ranges `MON-FRI`, steps `*/2` and `1-5/2`, lists `1,3`, `5#2` (second Friday), `5L` (last Friday)";
    assert_eq!(error.to_string(), said);
    assert_eq!((error.expression(), error.problem()), ("0 9 * * MON-FIR", "`FIR` is no day of week"));
    assert_eq!(error.hint(), None);
    assert!(format!("{error:?}").contains("12..15"), "{error:?}");
}

#[test]
fn values_out_of_range() {
    refused("[60] * * * *", Some("minute"), &["0 to 59, not 60", "the full hour is minute 0"]);
    refused("[60] * * * * *", Some("second"), &["the full minute is second 0"]);
    refused("0 [24] * * *", Some("hour"), &["midnight is hour 0"]);
    refused("0 0 [0] * *", Some("day of month"), &["count from 1"]);
    refused("0 0 [32] * *", Some("day of month"), &["1 to 31, not 32"]);
    refused("0 0 1 [13] *", Some("month"), &["1 to 12, not 13"]);
    refused("0 0 1 [0] *", Some("month"), &["count from 1"]);
    refused("0 0 * * [8]", Some("day of week"), &["0 to 7, not 8"]);
    refused("0 0 * * 1,[9]", Some("day of week"), &["0 to 7, not 9"]);
    refused("0 8-[25] * * *", Some("hour"), &["0 to 23, not 25"]);
    refused("[99999999999999999999] * * * *", Some("minute"), &["0 to 59"]);
    refused("0 9 1 1 1 [2026]", Some("day of week"), &["no field for the year"]);
}

#[test]
fn what_is_no_value() {
    refused("1-[5x] * * * *", Some("minute"), &["`5x` is no minute"]);
    refused("[abc] * * * *", Some("minute"), &["`abc` is no minute"]);
    refused("0 [-1] * * *", Some("hour"), &["both its ends"]);
    refused("0 [1-] * * *", Some("hour"), &["both its ends"]);
    refused("0 1-[2-3] * * *", Some("hour"), &["`2-3` is no hour"]);
    refused("0 [+1] * * *", Some("hour"), &["`+1`"]);
    refused("0 [**] * * *", Some("hour"), &["`*` stands alone"]);
    refused("0 0 [MON] * *", Some("day of month"), &["that is a weekday: its field is the last"]);
    refused("0 0 * [mon] *", Some("month"), &["that is a weekday"]);
    refused("0 0 * * [JAN]", Some("day of week"), &["that is a month: its field is the last but one"]);
    refused("0 0 * * [Monday]", Some("day of week"), &["three letters: `MON`"]);
    refused("0 0 * [september] *", Some("month"), &["three letters: `SEP`"]);
    refused("[ü] * * * *", Some("minute"), &["`ü` is no minute"]);
}

#[test]
fn lists() {
    refused("1,[],2 * * * *", Some("minute"), &["an entry of the list is empty", "extra comma"]);
    refused("[],1 * * * *", Some("minute"), &["extra comma"]);
    refused("0 0 * * 1,[]", Some("day of week"), &["extra comma"]);
    refused("[*,5] * * * *", Some("minute"), &["the rest of the list says nothing"]);
    refused("0 9,[] 12 * * *", Some("minute"), &["a list has no spaces"]);
}

#[test]
fn ranges_and_steps() {
    refused("0 [22-6] * * *", Some("hour"), &["runs backwards", "write `0-6,22-23`"]);
    refused("0 0 * * [FRI-MON]", Some("day of week"), &["write `0-1,5-6`"]);
    refused("0 0 * [nov-feb] *", Some("month"), &["write `1-2,11-12`"]);
    refused("0 [22-6]/2 * * *", Some("hour"), &["runs backwards"]);
    refused("*/[0] * * * *", Some("minute"), &["a step of 0 goes nowhere"]);
    refused("1-5/[0] * * * *", Some("minute"), &["a step of 0 goes nowhere"]);
    refused("*/[x] * * * *", Some("minute"), &["the step `x` is not a number"]);
    refused("*/[] * * * *", Some("minute"), &["is not a number"]);
    refused("*/[-5] * * * *", Some("minute"), &["is not a number"]);
    refused("*/[5/2] * * * *", Some("minute"), &["is not a number"]);
    refused("*/[90] * * * *", Some("minute"), &["longer than the minute goes", "use an interval"]);
    refused("*/[60] * * * *", Some("minute"), &["longer than the minute goes"]);
    refused("0 */[24] * * *", Some("hour"), &["longer than the hour goes"]);
    refused("0 0 * * */[7]", Some("day of week"), &["never gets beyond 0"]);
    refused("10-20/[15] * * * *", Some("minute"), &["never gets beyond 10 within 10-20"]);
    refused("[5/15] * * * *", Some("minute"), &["different things to different crons", "write `5-59/15`"]);
    refused("[/15] * * * *", Some("minute"), &["write `*/15`"]);
}

#[test]
fn days_that_move() {
    refused("[L] * * * *", Some("minute"), &["`L` is for the days"]);
    refused("0 0 * * [L]", Some("day of week"), &["does not say which weekday", "`5L`"]);
    refused("0 0 [L-3] * *", Some("day of month"), &["can't be counted back"]);
    refused("0 0 []W * *", Some("day of month"), &["` is no day of month"]);
    refused("0 0 [32]W * *", Some("day of month"), &["1 to 31"]);
    refused("0 0 * * [15W]", Some("day of week"), &["`W` is for the day of month"]);
    refused("0 0 * * [5#6]", Some("day of week"), &["a first to a fifth"]);
    refused("0 0 * * [5#0]", Some("day of week"), &["a first to a fifth"]);
    refused("0 0 * * [5#+2]", Some("day of week"), &["a first to a fifth"]);
    refused("0 0 * * [5#]", Some("day of week"), &["a first to a fifth"]);
    refused("0 0 [5#2] * *", Some("day of month"), &["`#` is for weekdays"]);
    refused("0 0 * * [9]#2", Some("day of week"), &["0 to 7"]);
}

#[test]
fn quartz() {
    refused("0 0 12 [?] * MON", Some("day of month"), &["Quartz's sign", "write `*`", "1 is Monday"]);
    refused("0 0 1 * [?]", Some("day of week"), &["write `*`"]);
    refused("0 0 12 * * MON [2026]", None, &["seven fields", "no field for the year"]);
}

#[test]
fn the_number_of_fields() {
    refused("[]", None, &["it is empty", "0 3 * * *"]);
    refused("[   ]", None, &["it is empty"]);
    refused("[* * * *]", None, &["4 of five fields", "minute, hour, day of month, month, day of week"]);
    refused(" [5] ", None, &["1 of five fields"]);
    refused("0 3 * * * root [/bin/true --all]", None, &["8 fields", "command of a crontab line"]);
    refused("0 3 * * * [root]", Some("day of week"), &["the user and the command"]);
}

#[test]
fn nicknames_and_zones() {
    refused("[@dayly]", None, &["`@dayly` is not known", "@daily"]);
    refused("[@reboot]", None, &["where the program starts"]);
    refused("[@every] 5m", None, &["use an interval"]);
    refused("@daily [5]", None, &["nothing follows `@daily`"]);
    refused("CRON_TZ=[Berlin] @daily", None, &["do you mean `Europe/Berlin`?"]);
    refused("CRON_TZ=[]", None, &["no time zone is called ``"]);
    refused("[TZ=Europe/Berlin] @daily", None, &["write `CRON_TZ=` for `TZ=`"]);
    for (name, hint) in [
        ("new york", "do you mean `America/New_York`?"),
        ("+02:00", "an offset does not know when clocks change"),
        ("Mars", "names are those of the IANA database"),
        ("", "names are those"),
        ("../UTC", "names are those"),
    ] {
        let error = TimeZone::new(name).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
        assert_eq!(Cron::new("@daily").unwrap().in_tz(name).unwrap_err().to_string(), error);
    }
}

#[test]
fn dates_that_never_come() {
    refused("0 0 [31] 2 *", Some("day of month"), &["there is no such date", "February has 28 or 29 days"]);
    refused("0 0 [30] 2 *", Some("day of month"), &["there is no such date"]);
    refused("0 0 [31] 4,6,9,11 *", Some("day of month"), &["there is no such date"]);
    refused("0 0 [31W] 2 *", Some("day of month"), &["there is no such date"]);
    refused("0 0 0 [31] 2 *", Some("day of month"), &["there is no such date"]);
    refused("0 0 [30,31] 2 */2", Some("day of month"), &["there is no such date"]);
    // These come: in leap years, in another month, or by the day of week.
    for comes in ["0 0 29 2 *", "0 0 31 2,3 *", "0 0 31 2 1", "0 0 * 2 6#5", "0 0 29-31 2 *"] {
        Cron::new(comes).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn fields_that_are_more_or_less_than_one() {
    let error = Cron::fields().hour("").build().unwrap_err();
    assert_eq!((error.field(), error.span()), (Some("hour"), 2..2));
    let error = Cron::fields().minute("0 0").build().unwrap_err();
    assert_eq!((error.field(), error.problem()), (Some("minute"), "the minute is more than one word"));
    let error = Cron::fields().second("x").build().unwrap_err();
    assert_eq!((error.field(), error.expression()), (Some("second"), "x * * * * *"));
    assert!(Cron::fields().minute("@daily").build().is_err());
    assert!(Cron::fields().minute("CRON_TZ=UTC").build().is_err());
}

#[test]
fn a_text_without_end_is_not_shown() {
    let error = Cron::new(&"1,".repeat(10_000)).unwrap_err().to_string();
    assert!(error.contains("20000 bytes, more than 512") && error.len() < 200, "{error}");
}
