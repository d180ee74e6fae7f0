//! When a schedule of the `queue` framework is due.
//!
//! * [`Cron`]: a cron expression on the wall clock of a time zone.
//! * [`Every`]: an interval.
//! * `Quartz` (feature `cron`): a `cron::Schedule`, as it is.
//!
//! Each tells the next moment after one and the last before one. Nothing here reads a clock, and the only thing read
//! from outside is the database of time zones, of the machine or built in.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//!
//! use queue_cron::{Cron, Every};
//!
//! let weekdays = Cron::new("0 8 * * MON-FRI")?.in_tz("America/New_York")?;
//! let due = weekdays.next_after(UNIX_EPOCH).unwrap(); // Wednesday evening over there
//! assert_eq!(due.duration_since(UNIX_EPOCH)?, Duration::from_secs(13 * 3600));
//!
//! let every = Every::new(Duration::from_secs(90))?;
//! assert_eq!(every.next_after(UNIX_EPOCH), Some(UNIX_EPOCH + Duration::from_secs(90)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Expressions
//!
//! Five fields, or six with the second in front:
//!
//! | field | takes | besides |
//! |---|---|---|
//! | second | 0-59 | 0 where it is left out |
//! | minute | 0-59 | |
//! | hour | 0-23 | |
//! | day of month | 1-31 | `L`: the last day. `LW`: the last workday. `15W`: the workday (Monday to Friday) nearest to the 15th, in the same month |
//! | month | 1-12, JAN-DEC | |
//! | day of week | 0-7, SUN-SAT | 0 and 7 are Sunday. `5#2`: the second Friday. `5L`: the last Friday |
//!
//! A field is `*` (every value), a value, a range `9-17`, a step `*/15` or `9-17/2`, or a list of these with commas.
//! Steps count from the lowest value of the field or range, anew in each hour, day, month and year. Names have three
//! letters, in capitals or not, and go wherever a number goes. `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`,
//! `@yearly` and `@annually` stand for all the fields. `CRON_TZ=Europe/Berlin` in front says the zone.
//!
//! **Both days.** As in Vixie's cron: if both day of month and day of week are restricted, a date matches when *either*
//! does; `0 0 13 * 5` is each 13th and each Friday. A field is restricted unless one of its items starts with `*`, so
//! in `0 0 */2 * 1` both must match: Mondays on odd days.
//!
//! **What is refused.** Everything that other crons read in two ways, or take and never run: dates that never come
//! (`31 2`), ranges that run backwards, a step after a single value (`5/15`), steps of 0 and steps that never get
//! anywhere, empty entries of lists, `?`, a seventh field. [`CronError`] marks the place and says what to write.
//!
//! # When clocks change
//!
//! The rule is that of Debian's cron, cron(8): "Only jobs that run at a particular time (not specified as @hourly, nor
//! with '*' in the hour or minute specifier) are affected. Jobs which are specified with wildcards are run based on the
//! new time immediately." To be exact:
//!
//! * An expression is *fixed* if no item of its minute or hour starts with `*`, nor of its second if it has one:
//!   `30 2 * * *`, `0,30 1-3 * * *`. [`Cron::is_fixed`] tells. For a fixed one each time on the clock's face counts
//!   once:
//!   * a time that is **leapt over** is due at the first moment after the leap. Several of them are due there once, and
//!     not besides what is due then anyway;
//!   * a time that is **shown twice** is due the first time.
//! * All others go by what the clock shows: what is **leapt over** is left out, and what is **shown twice** is due
//!   twice. So `*/15 * * * *` and `30 * * * *` keep their pace. Mind that `*/10 2 * * *` goes by the clock too: in a
//!   night without a 2 o'clock it is not due at all, where `0,10,20,30,40,50 2 * * *` is.
//!
//! Debian's cron takes a leap of more than three hours for somebody setting the clock. Here clocks change only by the
//! zone's own rules, so the rule holds for leaps of any length, as for the day that Samoa left out in 2011.

mod cron;
mod days;
mod due;
mod entry;
mod error;
mod every;
mod fields;
mod items;
mod kinds;
mod parse;
mod pattern;
#[cfg(feature = "cron")]
mod quartz;
mod zone;

pub use cron::Cron;
pub use error::CronError;
pub use every::{Every, EveryError};
pub use fields::Fields;
#[cfg(feature = "cron")]
pub use quartz::Quartz;
pub use zone::{TimeZone, TimeZoneError};
