//! A definition in code meets what is stored under its name.

use queue_storage::model::Timestamp;

use super::entry::{Entry, Source};
use super::schedule::Definition;

/// What a definition in code found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// Nothing: it is stored.
    New(Entry),
    /// Another definition of an older revision: it takes its place.
    Raised(Entry),
    /// Another definition of the same revision: it takes its place.
    Changed(Entry),
    /// Its tick stands in a time that the clock was set back from: it is due anew.
    SetBack(Entry),
    /// Itself.
    Same,
    /// A definition of a newer revision, which stands.
    Newer(u32),
    /// A change at run time, which stands; what is to be noted of it.
    Edited(Option<Entry>),
    /// It was removed at run time, and stays so.
    Removed,
}

impl Found {
    /// What is to be stored.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::New(entry) | Self::Raised(entry) | Self::Changed(entry) | Self::SetBack(entry) => Some(entry),
            Self::Edited(entry) => entry.as_ref(),
            Self::Same | Self::Newer(_) | Self::Removed => None,
        }
    }
}

/// What becomes of a definition of this revision where this is stored.
pub(crate) fn reconcile(stored: Option<Entry>, definition: Definition, revision: u32, now: Timestamp) -> Found {
    let source = Source::Code(revision);
    let Some(stored) = stored else { return Found::New(Entry::new(definition, source, now)) };
    let found = match (stored.source, stored.source.revision()) {
        (_, Some(newer)) if newer > revision => Found::Newer(newer),
        (_, Some(older)) if older < revision => return Found::Raised(stored.redefined(definition, source, now)),
        (Source::Removed(_), _) => return Found::Removed,
        (Source::RunTime(Some(_)), _) => Found::Edited(None),
        // So that it stays removed if somebody removes it.
        (Source::RunTime(None), _) if revision == 0 => {
            Found::Edited(Some(Entry { source: Source::RunTime(Some(0)), ..stored.clone() }))
        }
        (Source::RunTime(None), _) => return Found::Raised(stored.redefined(definition, source, now)),
        (Source::Code(_), _) if stored.definition != definition => {
            return Found::Changed(stored.redefined(definition, source, now));
        }
        (Source::Code(_), _) => Found::Same,
    };
    if !stored.is_set_back(now) {
        return found;
    }
    let mut anew = found.entry().cloned().unwrap_or(stored);
    anew.reckon(now);
    Found::SetBack(anew)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::schedule::testing::definition;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn now() -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000)
    }

    fn stored(source: Source) -> Entry {
        Entry::new(definition("0 * * * *"), source, now() - HOUR * 24)
    }

    #[test]
    fn the_highest_revision_stands_and_people_come_before_their_equal() {
        let other = || definition("30 * * * *");
        let word = |source, definition, revision| match reconcile(Some(stored(source)), definition, revision, now()) {
            Found::New(_) => "new",
            Found::Raised(_) => "raised",
            Found::Changed(_) => "changed",
            Found::SetBack(_) => "set back",
            Found::Same => "same",
            Found::Newer(_) => "newer",
            Found::Edited(_) => "edited",
            Found::Removed => "removed",
        };
        for (source, revision, expected) in [
            (Source::Code(1), 0, "newer"),
            (Source::Code(1), 1, "changed"),
            (Source::Code(1), 2, "raised"),
            (Source::RunTime(Some(1)), 0, "newer"),
            (Source::RunTime(Some(1)), 1, "edited"),
            (Source::RunTime(Some(1)), 2, "raised"),
            (Source::RunTime(None), 0, "edited"),
            (Source::RunTime(None), 1, "raised"),
            (Source::Removed(1), 1, "removed"),
            (Source::Removed(1), 2, "raised"),
        ] {
            assert_eq!(word(source, other(), revision), expected, "{source:?} meets {revision}");
        }
        assert_eq!(word(Source::Code(1), definition("0 * * * *"), 1), "same");
        assert!(matches!(reconcile(None, other(), 7, now()), Found::New(entry) if entry.source == Source::Code(7)));
    }

    #[test]
    fn what_has_happened_stays_and_so_does_a_tick_of_the_same_times() {
        let mut before = stored(Source::Code(1));
        (before.runs, before.last, before.paused_at) = (7, Some(now() - HOUR), None);
        let missed = before.next.unwrap();
        assert!(missed < now());
        let mut same_times = definition("0 * * * *");
        same_times.jitter = HOUR;
        let Found::Raised(after) = reconcile(Some(before.clone()), same_times, 2, now()) else { panic!("raised") };
        assert_eq!((after.next, after.runs, after.last), (Some(missed), 7, before.last));
        let Found::Raised(after) = reconcile(Some(before.clone()), definition("30 * * * *"), 2, now()) else {
            panic!("raised")
        };
        assert_eq!(after.next, Some(missed), "what has come is carried out");
        before.next = Some(now() + HOUR / 2);
        let Found::Raised(after) = reconcile(Some(before.clone()), definition("15 * * * *"), 2, now()) else {
            panic!("raised")
        };
        assert_ne!(after.next, before.next);
        before.paused_at = Some(now());
        let Found::Raised(after) = reconcile(Some(before), definition("30 * * * *"), 2, now()) else {
            panic!("raised")
        };
        assert_eq!((after.paused_at, after.due()), (Some(now()), None), "a pause is a person's word");
    }

    #[test]
    fn a_clock_that_was_set_back_by_hours_is_believed() {
        let mut before = stored(Source::Code(0));
        let (hours, day) = (|n: u32| now() + HOUR * n, HOUR * 24);
        for (last, next, word) in [
            (Some(hours(3)), hours(4), false),
            (Some(hours(4)), hours(5), true),
            // Nothing was carried out under the wrong clock.
            (Some(now() - day), hours(3), false),
            (Some(now() - day), hours(9), true),
            (None, hours(9), true),
            (None, now() - day, false),
        ] {
            (before.last, before.next) = (last, Some(next));
            let raised = reconcile(Some(before.clone()), definition("0 * * * *"), 1, now());
            let Found::Raised(raised) = raised else { panic!("raised: {raised:?}") };
            assert_eq!(raised.next < Some(now() + HOUR * 2), word || next < now(), "{raised:?}");
            let found = reconcile(Some(before.clone()), before.definition.clone(), 0, now());
            assert_eq!(
                matches!(&found, Found::SetBack(entry) if entry.next < Some(now() + HOUR * 2)),
                word,
                "{found:?}"
            );
        }
    }
}
