//! Events as bytes: a batch is an array of maps in `MessagePack`.

use std::time::SystemTime;

use queue_storage::model::Timestamp;
use queue_storage::storage::MAX_NEWS_BYTES;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Event;

/// A batch is sent once it holds this many bytes: a single event of any size still fits one announcement.
pub(crate) const MAX_BATCH_BYTES: usize = MAX_NEWS_BYTES / 2;

/// One event; a batch is several behind each other.
pub(crate) fn encode(event: &Event, out: &mut Vec<u8>) {
    // Nothing in an event can fail to be encoded.
    if let Ok(bytes) = rmp_serde::to_vec_named(event) {
        out.extend(bytes);
    }
}

/// The events of a batch; what can't be read ends it.
pub(crate) fn decode(mut batch: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while !batch.is_empty() {
        let mut from = rmp_serde::Deserializer::new(batch);
        match Event::deserialize(&mut from) {
            Ok(event) => events.push(event),
            Err(error) => {
                tracing::debug!(%error, "news that can't be read");
                break;
            }
        }
        batch = from.into_inner();
    }
    events
}

/// A moment as it is serialised: for people RFC 3339 in UTC, between programs whole microseconds.
struct Moment(SystemTime);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let micros = Timestamp::from(self.0).as_micros();
        if !to.is_human_readable() {
            return to.serialize_i64(micros);
        }
        let at = jiff::Timestamp::from_microsecond(micros).map_err(serde::ser::Error::custom)?;
        to.collect_str(&format_args!("{at:.6}"))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let micros = if from.is_human_readable() {
            let at: jiff::Timestamp = String::deserialize(from)?.parse().map_err(serde::de::Error::custom)?;
            at.as_microsecond()
        } else {
            i64::deserialize(from)?
        };
        Ok(Self(Timestamp::from_micros(micros).into()))
    }
}

/// A moment.
pub(crate) mod moment {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Moment;

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        Moment(*at).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        Moment::deserialize(from).map(|at| at.0)
    }
}

/// The same, where there may be none.
pub(crate) mod moment_option {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Moment;

    #[expect(clippy::ref_option, reason = "the shape that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(at: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
        at.map(Moment).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<Moment>::deserialize(from)?.map(|at| at.0))
    }
}

/// A duration as seconds, where there may be none.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the shape that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(from)?;
        Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
    }
}

/// Words that newer programs may add to.
macro_rules! word {
    ($module:ident, $word:ty, $held:ty, $from:expr, $to:expr) => {
        pub(crate) mod $module {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            pub(crate) fn serialize<S: Serializer>(word: &$held, to: S) -> Result<S::Ok, S::Error> {
                let text: fn(&$held) -> Option<&str> = $to;
                text(word).serialize(to)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<$held, D::Error> {
                let held: fn(Option<&str>) -> $held = $from;
                let text = Option::<std::borrow::Cow<'de, str>>::deserialize(from)?;
                Ok(held(text.as_deref()))
            }
        }
    };
}

word!(
    reason,
    queue_storage::model::EndReason,
    Option<queue_storage::model::EndReason>,
    |text| text.map(Into::into),
    |word| word.as_ref().map(|word| word.as_str())
);
word!(
    failure_kind,
    queue_storage::model::FailureKind,
    queue_storage::model::FailureKind,
    |text| text.unwrap_or_default().into(),
    |word| Some(word.as_str())
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{EventError, EventKind};
    use queue_storage::model::{EndReason, Failure, FailureKind, JobId, Progress, WorkerId};
    use std::time::Duration;

    fn full() -> Event {
        let at = Timestamp::from_micros(1_700_000_000_123_456);
        let failure = Failure::new(FailureKind::Panic, "boom".repeat(1_000)).of_type("app::Boom");
        Event {
            queue: Some("mail".to_owned()),
            job: Some(JobId::from_u128(7)),
            task: Some("send".to_owned()),
            attempt: Some(3),
            worker: Some(WorkerId::from_u128(9)),
            due: Some((at + Duration::from_secs(60)).into()),
            waited: Some(Duration::from_millis(250)),
            took: Some(Duration::from_micros(1_500)),
            reason: Some(EndReason::Exhausted),
            error: Some(EventError::from(&failure)),
            progress: Some(Progress::new(1, 2, "half")),
            ..Event::new(EventKind::Died, at.into())
        }
    }

    #[test]
    fn batches_survive_and_what_is_not_said_takes_no_room() {
        let plain = Event::new(EventKind::WorkerLost, Timestamp::from_micros(5).into());
        let mut batch = Vec::new();
        [&full(), &plain].into_iter().for_each(|event| encode(event, &mut batch));
        assert_eq!(decode(&batch), [full(), plain.clone()]);
        assert!(full().error.unwrap().message.len() <= EventError::MAX_MESSAGE);
    }

    #[test]
    fn moments_are_numbers_between_programs_and_dates_for_people() {
        let plain = Event::new(EventKind::WorkerLost, Timestamp::from_micros(5).into());
        let mut bytes = Vec::new();
        encode(&plain, &mut bytes);
        let between: serde_json::Value = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(between, serde_json::json!({"kind": "worker.lost", "at": 5}));
        let json = serde_json::to_string(&plain).unwrap();
        assert_eq!(json, r#"{"kind":"worker.lost","at":"1970-01-01T00:00:00.000005Z"}"#);

        let json = serde_json::to_value(full()).unwrap();
        assert_eq!(
            (&json["at"], &json["due"]),
            (&"2023-11-14T22:13:20.123456Z".into(), &"2023-11-14T22:14:20.123456Z".into())
        );
        for event in [full(), plain] {
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        }
        assert!(serde_json::from_str::<Event>(r#"{"kind":"worker.lost","at":"noon"}"#).is_err());
    }

    #[test]
    fn what_a_newer_program_tells_is_read_as_far_as_it_is_known() {
        let newer = rmp_serde::to_vec_named(&serde_json::json!({"kind": "juggled", "at": 5, "balls": [1, 2]})).unwrap();
        let mut batch = newer;
        encode(&full(), &mut batch);
        let events = decode(&batch);
        assert_eq!((events[0].kind, events.len()), (EventKind::Unknown, 2));
        assert_eq!(decode(b"\xc1 no event").len(), 0);
    }
}
