//! A schedule as a program says it.

use std::fmt;
use std::time::{Duration, SystemTime};

use queue_cron::{Cron, CronError, Fields, TimeZone};
use queue_storage::model::{NameError, ScheduleName, Shard, Timestamp, Window};
use serde::{Deserialize, Serialize};

use super::error::ScheduleError;
use super::template::Template;
use super::timing::{MOMENT, Timing};
use crate::call::Call;
use crate::codec;
use crate::draft::{Draft, DraftError};
use crate::policies::{Missed, Overlap, micros};
use crate::task::{Periodic, PeriodicTiming, Task};

/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(1);

/// A call that is enqueued again and again: at the times of a cron expression, or each so often.
///
/// In code it is handed to a worker ([`WorkerBuilder::schedule`](crate::WorkerBuilder::schedule)); at run time it is stored
/// by a client ([`Client::put_schedule`](crate::Client::put_schedule)). It lives in the queue of its call, under a name that is
/// its own there. What is wrong with it is said where it is handed in.
///
/// ```
/// # use queue_core::{Call, Client, Context, Task, TaskError};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Report { of: String }
/// # impl Task for Report { type Output = (); const NAME: &'static str = "report";
/// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
/// use std::time::Duration;
/// use queue_core::{Missed, Overlap, Schedule};
///
/// let weekly = Schedule::new("weekly-report", Call::new(Report { of: "sales".into() }))
///     .cron("30 7 * * MON")
///     .tz("Europe/Paris")
///     .missed(Missed::Last)
///     .overlap(Overlap::Skip)
///     .jitter(Duration::from_secs(60));
/// assert_eq!(weekly.name(), "weekly-report");
/// ```
#[derive(Clone)]
#[must_use = "a schedule does nothing until a worker or a client is given it"]
pub struct Schedule {
    name: String,
    call: Source,
    timing: Option<Result<Timing, Box<CronError>>>,
    zone: Option<String>,
    /// From when on an interval counts.
    anchor: Option<SystemTime>,
    missed: Missed,
    overlap: Overlap,
    jitter: Duration,
    starts: Option<SystemTime>,
    ends: Option<SystemTime>,
    max_runs: Option<u64>,
    pub(crate) revision: u32,
}

/// Where its call comes from.
#[derive(Clone)]
enum Source {
    Call(Box<Draft>),
    Stored(Box<Template>, Shard),
}

/// What a schedule is, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) timing: Timing,
    pub(crate) call: Template,
    #[serde(default)]
    pub(crate) missed: Missed,
    #[serde(default)]
    pub(crate) overlap: Overlap,
    #[serde(default, with = "micros", skip_serializing_if = "Duration::is_zero")]
    pub(crate) jitter: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) starts: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ends: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_runs: Option<u64>,
}

impl Definition {
    /// The first tick after a moment.
    pub(crate) fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        // A tick at the very start counts.
        let from = self.starts.map_or(moment, |starts| moment.max(starts - MOMENT));
        let next = self.timing.after(from);
        next.filter(|next| self.ends.is_none_or(|ends| *next <= ends))
    }

    /// The last tick before a moment.
    pub(crate) fn before(&self, moment: Timestamp) -> Option<Timestamp> {
        self.timing.before(moment).filter(|before| self.starts.is_none_or(|starts| starts <= *before))
    }

    /// The last tick at a moment or before it.
    pub(crate) fn up_to(&self, moment: Timestamp) -> Option<Timestamp> {
        let until = self.ends.map_or(moment, |ends| ends.min(moment));
        self.timing.up_to(until).filter(|last| self.starts.is_none_or(|starts| starts <= *last))
    }

    /// As it reads once it was stored, in whole microseconds: else it would differ from itself for ever.
    fn as_read(&self) -> Result<Self, String> {
        codec::decode(&codec::encode(self)?)
    }

    /// Whether the other is due at the same times.
    pub(crate) fn is_timed_like(&self, other: &Self) -> bool {
        (&self.timing, self.starts, self.ends) == (&other.timing, other.starts, other.ends)
    }
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ScheduleFault {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Call(#[from] DraftError),
    #[error("{0}")]
    Cron(Box<CronError>),
    #[error("{0}")]
    Other(String),
}

impl Schedule {
    /// A schedule of this name and call, which is due at no time yet: say when with [`cron`](Self::cron) or
    /// [`every`](Self::every).
    ///
    /// A name has 1 to 128 bytes of letters, digits and `_-.:/`. Each tick makes a job of the call with all its options; its
    /// delay counts from the tick, and what it says as a moment is refused.
    pub fn new<T: Task>(name: impl Into<String>, call: Call<T>) -> Self {
        Self::of(name.into(), call.draft)
    }

    fn of(name: String, draft: Draft) -> Self {
        Self {
            name,
            call: Source::Call(Box::new(draft)),
            timing: None,
            zone: None,
            anchor: None,
            missed: Missed::DEFAULT,
            overlap: Overlap::Allow,
            jitter: Duration::ZERO,
            starts: None,
            ends: None,
            max_runs: None,
            revision: 0,
        }
    }

    /// The schedule that a task says itself.
    pub(crate) fn of_task(name: &str, draft: Draft, periodic: &Periodic) -> Self {
        let schedule = Self::of(name.to_owned(), draft);
        let timed = match periodic.timing {
            PeriodicTiming::Cron(expression) => schedule.cron(expression),
            PeriodicTiming::Every(period) => schedule.every(period),
        };
        let timed = timed.missed(periodic.missed).overlap(periodic.overlap).jitter(periodic.jitter);
        Self { zone: periodic.tz.map(str::to_owned), revision: periodic.revision, ..timed }
    }

    /// The schedule of a stored definition.
    pub(crate) fn stored(name: &ScheduleName, shard: &Shard, definition: Definition) -> Self {
        Self {
            name: name.to_string(),
            call: Source::Stored(Box::new(definition.call), shard.clone()),
            zone: Some(definition.timing.zone().to_string()).filter(|_| !definition.timing.is_interval()),
            timing: Some(Ok(definition.timing)),
            anchor: None,
            missed: definition.missed,
            overlap: definition.overlap,
            jitter: definition.jitter,
            starts: definition.starts.map(Into::into),
            ends: definition.ends.map(Into::into),
            max_runs: definition.max_runs,
            revision: 0,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Replaces the call.
    pub fn call<T: Task>(mut self, call: Call<T>) -> Self {
        self.call = Source::Call(Box::new(call.draft));
        self
    }

    /// Due at the times of a cron expression: a text, a [`Cron`], its [`fields`](Cron::fields), or with the feature `cron` a
    /// `cron::Schedule`. The expressions there are stand under [`Cron`].
    pub fn cron(mut self, expression: impl IntoCron) -> Self {
        let read = expression.into_timing();
        if read.as_ref().is_ok_and(|read| read.says_zone) {
            self.zone = None;
        }
        self.timing = Some(read.map(|read| read.timing).map_err(Box::new));
        self
    }

    /// Due each `period`, at least a millisecond: at the moments that are whole periods after the epoch, or after what
    /// [`anchored`](Self::anchored) says. So whoever says the same means the same moments, whenever it was started.
    pub fn every(mut self, period: Duration) -> Self {
        let micros = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
        self.timing = Some(Ok(Timing::Every { micros, from: Timestamp::EPOCH }));
        self.zone = None;
        self
    }

    /// An interval's first moment of all. Default the epoch.
    pub fn anchored(mut self, moment: impl Into<SystemTime>) -> Self {
        self.anchor = Some(moment.into());
        self
    }

    /// The zone on whose clock the expression goes, by its name in the IANA database: `Europe/Paris`. Default what the
    /// expression says itself (`CRON_TZ=…`), else `UTC`; of a stored schedule that is [edited](crate::ScheduleHandle::edit)
    /// the zone it has. What is said last counts.
    pub fn tz(mut self, name: impl Into<String>) -> Self {
        self.zone = Some(name.into());
        self
    }

    /// What becomes of ticks that nobody carried out in time. Default [`Missed::DEFAULT`].
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// What becomes of a tick while the job of the tick before has not ended. Default [`Overlap::Allow`].
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Starts each job up to so much later than its tick: a time of its own for each tick and schedule, always the same for
    /// one. Default nothing.
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// No tick before this moment; one at it counts.
    pub fn starts(mut self, moment: impl Into<SystemTime>) -> Self {
        self.starts = Some(moment.into());
        self
    }

    /// No tick after this moment; one at it counts.
    pub fn ends(mut self, moment: impl Into<SystemTime>) -> Self {
        self.ends = Some(moment.into());
        self
    }

    /// No tick after so many were carried out; at least 1.
    pub fn max_runs(mut self, runs: u64) -> Self {
        self.max_runs = Some(runs);
        self
    }

    /// The number of this definition in code; raise it with each change. Default 0.
    ///
    /// Workers of several versions of a program may define a schedule in several ways. The definition with the highest
    /// revision that was ever started stands, whoever starts later; of two with one revision the one started last. A change
    /// at run time stands until a definition with a higher revision than it found is started. A schedule that is paused
    /// stays so. At run time it says nothing.
    pub fn revision(mut self, revision: u32) -> Self {
        self.revision = revision;
        self
    }

    /// The next so many ticks after a moment, wherever it may stand: in code, or stored.
    ///
    /// ```
    /// # use queue_core::{Call, Context, Schedule, Task, TaskError};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Ping {}
    /// # impl Task for Ping { type Output = (); const NAME: &'static str = "ping";
    /// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let ticks = Schedule::new("ping", Call::new(Ping {})).cron("0 12 * * *").upcoming(UNIX_EPOCH, 2)?;
    /// assert_eq!(ticks, [12, 36].map(|hours| UNIX_EPOCH + Duration::from_secs(hours * 3600)));
    /// # Ok::<(), queue_core::ScheduleError>(())
    /// ```
    ///
    /// # Errors
    /// Something is wrong with it.
    pub fn upcoming(&self, from: impl Into<SystemTime>, count: usize) -> Result<Vec<SystemTime>, ScheduleError> {
        let (name, _, definition) = self.checked(usize::MAX).map_err(|fault| self.refused(&fault))?;
        drop(name);
        let mut moment = Timestamp::from(from.into());
        let ticks = std::iter::from_fn(|| definition.after(moment).inspect(|next| moment = *next));
        Ok(ticks.take(count).map(SystemTime::from).collect())
    }

    pub(crate) fn refused(&self, fault: &ScheduleFault) -> ScheduleError {
        ScheduleError::invalid(&self.name, fault.to_string())
    }

    /// Its name, where it lives, and what is stored of it; the size of its arguments is limited.
    pub(crate) fn checked(&self, limit: usize) -> Result<(ScheduleName, Shard, Definition), ScheduleFault> {
        let name = ScheduleName::new(&self.name)?;
        let timing = self.timing()?;
        let (shard, call) = match &self.call {
            Source::Stored(template, shard) => (shard.clone(), (**template).clone()),
            Source::Call(draft) => {
                let (shard, job) = draft.to_job(limit)?;
                let moment = |option| {
                    ScheduleFault::Other(format!(
                        "its call says a moment with `.{option}(..)`, and is enqueued again and again: say a `Duration`"
                    ))
                };
                (shard, Template::of(job).map_err(moment)?)
            }
        };
        let (missed, overlap, jitter, max_runs) = (self.missed, self.overlap, self.jitter, self.max_runs);
        let (starts, ends) = (self.starts.map(Timestamp::from), self.ends.map(Timestamp::from));
        let definition = Definition { timing, call, missed, overlap, jitter, starts, ends, max_runs };
        match self.fault(&definition) {
            Some(fault) => Err(ScheduleFault::Other(fault)),
            None => Ok((name, shard, definition.as_read().map_err(ScheduleFault::Other)?)),
        }
    }

    fn timing(&self) -> Result<Timing, ScheduleFault> {
        let other = |text: &str| Err(ScheduleFault::Other(text.to_owned()));
        let timing = match self.timing.clone() {
            None => return other("it says nowhere when it is due: call `.cron(..)` or `.every(..)`"),
            Some(timing) => timing.map_err(ScheduleFault::Cron)?,
        };
        let zone = match &self.zone {
            None => None,
            Some(name) => Some(TimeZone::new(name).map_err(|error| ScheduleFault::Other(error.to_string()))?),
        };
        match (timing, zone, self.anchor) {
            (Timing::Every { .. }, Some(_), _) => other("an interval goes by no zone's clock: leave `.tz(..)` out"),
            (Timing::Every { micros, from }, None, anchor) => {
                Ok(Timing::Every { micros, from: anchor.map_or(from, Timestamp::from) })
            }
            (_, _, Some(_)) => other("`.anchored(..)` is for intervals: an expression says its times itself"),
            (timing, None, None) => Ok(timing),
            (Timing::Cron(cron), Some(zone), None) => Ok(Timing::Cron(cron.in_zone(zone))),
            #[cfg(feature = "cron")]
            (Timing::Quartz(quartz), Some(zone), None) => Ok(Timing::Quartz(quartz.in_zone(zone))),
        }
    }

    fn fault(&self, definition: &Definition) -> Option<String> {
        match (&definition.timing, definition.missed) {
            (Timing::Every { micros, .. }, _) if Duration::from_micros(*micros) < SHORTEST => {
                Some(format!("its interval is shorter than {SHORTEST:?}"))
            }
            _ if self.overlap == Overlap::CancelRunning && is_unique_while_it_runs(&definition.call) => Some(
                "`Overlap::CancelRunning` enqueues a job beside the one that it cancels, and its call is unique until that has \
                 ended: make it unique until it has started, or not at all"
                    .to_owned(),
            ),
            (_, Missed::All(0)) => {
                Some("`Missed::All(0)` makes good no missed tick: `Missed::Skip` says so".to_owned())
            }
            (_, Missed::All(many)) if many > Missed::MOST => {
                Some(format!("it would make good {many} missed ticks; the most is {}", Missed::MOST))
            }
            _ if definition.max_runs == Some(0) => {
                Some("`.max_runs(0)` leaves it no tick: pause it instead".to_owned())
            }
            _ if self.starts.zip(self.ends).is_some_and(|(starts, ends)| ends < starts) => {
                Some("it ends before it starts".to_owned())
            }
            _ => None,
        }
    }

    fn task(&self) -> &str {
        match &self.call {
            Source::Stored(template, _) => template.task.as_str(),
            Source::Call(draft) => draft.task,
        }
    }
}

fn is_unique_while_it_runs(call: &Template) -> bool {
    call.unique.as_ref().is_some_and(|unique| unique.window != Window::Started)
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("name", &self.name)
            .field("task", &self.task())
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}

/// What [`Schedule::cron`] takes: a text, a [`Cron`], its [`Fields`], or with the feature `cron` a `cron::Schedule` or
/// a `Quartz`.
pub trait IntoCron {
    /// The expression, read.
    ///
    /// # Errors
    /// It is wrong; the error marks the place.
    #[doc(hidden)]
    fn into_timing(self) -> Result<IntoTiming, CronError>;
}

/// When a schedule is due, opaque.
#[doc(hidden)]
#[derive(Debug)]
pub struct IntoTiming {
    timing: Timing,
    /// Whether the expression names its zone.
    says_zone: bool,
}

impl IntoTiming {
    fn of(timing: Timing) -> Self {
        let says_zone = timing.zone() != TimeZone::UTC;
        Self { timing, says_zone }
    }
}

impl IntoCron for &str {
    fn into_timing(self) -> Result<IntoTiming, CronError> {
        let says_zone = self.trim_start().starts_with("CRON_TZ=");
        Ok(IntoTiming { timing: Timing::Cron(Cron::new(self)?), says_zone })
    }
}

impl IntoCron for String {
    fn into_timing(self) -> Result<IntoTiming, CronError> {
        self.as_str().into_timing()
    }
}

impl IntoCron for Cron {
    fn into_timing(self) -> Result<IntoTiming, CronError> {
        Ok(IntoTiming::of(Timing::Cron(self)))
    }
}

impl IntoCron for Fields {
    fn into_timing(self) -> Result<IntoTiming, CronError> {
        self.build()?.into_timing()
    }
}

#[cfg(feature = "cron")]
impl IntoCron for queue_cron::Quartz {
    fn into_timing(self) -> Result<IntoTiming, CronError> {
        Ok(IntoTiming::of(Timing::Quartz(self)))
    }
}

#[cfg(feature = "cron")]
impl IntoCron for cron::Schedule {
    fn into_timing(self) -> Result<IntoTiming, CronError> {
        queue_cron::Quartz::from(self).into_timing()
    }
}

#[cfg(test)]
pub(super) mod testing {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::context::Context;
    use crate::task_error::TaskError;

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Ping {}

    impl Task for Ping {
        type Output = ();
        const NAME: &'static str = "ping";
        async fn run(self, _: Context) -> Result<(), TaskError> {
            Ok(())
        }
    }

    pub(crate) fn ping() -> Schedule {
        Schedule::new("ping", Call::new(Ping {}))
    }

    pub(crate) fn definition(expression: &str) -> Definition {
        ping().cron(expression).checked(1_000).unwrap().2
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::testing::{definition, ping};
    use super::*;

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    fn unique() -> Call<testing::Ping> {
        Call::new(testing::Ping {}).unique(crate::limits::Unique::args())
    }

    #[test]
    fn what_can_t_be_says_why() {
        let minute = Duration::from_secs(60);
        for (schedule, why) in [
            (ping(), "says nowhere when it is due"),
            (ping().cron("* * * *"), "bad cron expression"),
            (ping().cron("* * * * *").tz("Paris"), "do you mean `Europe/Paris`?"),
            (ping().every(minute).tz("Europe/Paris"), "goes by no zone's clock"),
            (ping().cron("* * * * *").anchored(UNIX_EPOCH), "is for intervals"),
            (ping().every(Duration::from_micros(999)), "shorter than 1ms"),
            (ping().every(minute).missed(Missed::All(0)), "makes good no missed tick"),
            (ping().every(minute).missed(Missed::All(1_001)), "the most is 1000"),
            (ping().every(minute).max_runs(0), "leaves it no tick"),
            (ping().every(minute).overlap(Overlap::CancelRunning).call(unique()), "unique until that has ended"),
            (ping().every(minute).starts(at(2)).ends(at(1)), "ends before it starts"),
            (ping().every(minute).call(Call::new(testing::Ping {}).schedule(at(9))), "`.schedule(..)`"),
            (ping().every(minute).call(Call::new(testing::Ping {}).expires(at(9))), "`.expires(..)`"),
            (Schedule::new("a b", Call::new(testing::Ping {})).every(minute), "can't name a schedule"),
        ] {
            let fault = schedule.checked(1_000).unwrap_err().to_string();
            assert!(fault.contains(why), "{fault}");
        }
        let fault = ping().every(minute).checked(0).unwrap_err().to_string();
        assert!(fault.contains("the limit is 0"), "{fault}");
    }

    #[test]
    fn starts_and_ends_count_themselves() {
        let ticks = ping().cron("* * * * *").starts(at(120)).ends(at(240)).upcoming(at(0), 9).unwrap();
        assert_eq!(ticks, [120, 180, 240].map(at));
        let ticks = ping().every(Duration::from_secs(10)).anchored(at(3)).starts(at(14)).upcoming(at(0), 2).unwrap();
        assert_eq!(ticks, [23, 33].map(at));
    }

    #[test]
    fn zones_of_texts_and_of_their_own() {
        let zone = |schedule: Schedule| schedule.checked(1_000).unwrap().2.timing.zone().name().to_owned();
        assert_eq!(zone(ping().cron("CRON_TZ=Asia/Tokyo 0 9 * * *")), "Asia/Tokyo");
        assert_eq!(zone(ping().cron("CRON_TZ=Asia/Tokyo 0 9 * * *").tz("Europe/Rome")), "Europe/Rome");
        assert_eq!(zone(ping().cron(Cron::fields().minute(0).hour("*/2"))), "UTC");
    }

    #[test]
    fn what_is_finer_than_what_is_stored_differs_from_nothing() {
        let fine = Duration::from_nanos(1_500);
        for (jitter, tolerance) in [(fine, fine), (Duration::MAX, Duration::MAX)] {
            let schedule = ping().cron("* * * * *").jitter(jitter).missed(Missed::Skip { tolerance });
            let definition = schedule.checked(1_000).unwrap().2;
            assert_eq!(definition.as_read().unwrap(), definition);
        }
    }

    #[test]
    fn a_stored_definition_reads_back() {
        let whole = ping().cron("0 3 * * *").tz("Europe/Paris").missed(Missed::All(5)).overlap(Overlap::Skip);
        let whole = whole.jitter(Duration::from_millis(1_500)).starts(at(1)).ends(at(9)).max_runs(3);
        for definition in [whole.checked(1_000).unwrap().2, definition("@daily")] {
            let bytes = codec::encode(&definition).unwrap();
            assert_eq!(codec::decode::<Definition>(&bytes).unwrap(), definition);
            let again = Schedule::stored(&"ping".parse().unwrap(), &Shard::of(Default::default()), definition.clone());
            assert_eq!(again.checked(0).unwrap().2, definition, "also where its arguments exceed a new limit");
        }
    }
}
