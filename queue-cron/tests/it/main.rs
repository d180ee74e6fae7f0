//! When expressions are due, what is refused and how it is said.

mod clocks;
mod croner;
mod errors;
mod every;
mod firings;
#[cfg(feature = "cron")]
mod quartz;
mod text;
mod walk;

use std::time::SystemTime;

use queue_cron::Cron;

/// A moment, as `2024-03-10T03:00-04:00`.
fn at(moment: &str) -> SystemTime {
    moment.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{moment}: {error}")).into()
}

fn unix(moment: SystemTime) -> i64 {
    jiff::Timestamp::try_from(moment).unwrap().as_second()
}

fn moment(unix: i64) -> SystemTime {
    jiff::Timestamp::from_second(unix).unwrap().into()
}

fn cron(expression: &str) -> Cron {
    expression.parse().unwrap_or_else(|error| panic!("{error}"))
}
