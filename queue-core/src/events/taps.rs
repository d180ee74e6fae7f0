//! Those who are told at once, where it happens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Event, EventKind};

/// Acts on events before whoever made them happen goes on.
pub(crate) struct Tap {
    /// The kinds it is for, a bit for each.
    kinds: u32,
    act: Box<dyn Fn(&Event) + Send + Sync>,
}

impl Tap {
    pub(crate) fn new(kinds: &[EventKind], act: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { kinds: kinds.iter().fold(0, |all, kind| all | kind.bit()), act: Box::new(act) }
    }

    fn tell(&self, event: &Event) {
        if self.kinds & event.kind.bit() == 0 {
            return;
        }
        // Whoever makes it happen holds leases, and must not be lost with an observer.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.act)(event))) {
            tracing::error!(kind = %event.kind, "an observer of events panicked");
            std::mem::forget(panic);
        }
    }
}

/// All of a client's.
#[derive(Default)]
pub(super) struct Taps {
    all: RwLock<Arc<[Arc<Tap>]>>,
    /// The kinds that any of them is for.
    kinds: AtomicU32,
}

impl Taps {
    /// One more, which stays.
    pub(super) fn add(&self, tap: Tap) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        self.kinds.fetch_or(tap.kinds, Ordering::Relaxed);
        *all = all.iter().cloned().chain([Arc::new(tap)]).collect();
    }

    pub(super) fn kinds(&self) -> u32 {
        self.kinds.load(Ordering::Relaxed)
    }

    /// Tells those that it is for.
    pub(super) fn tell(&self, event: &Event) {
        if self.kinds() & event.kind.bit() != 0 {
            let all = Arc::clone(&self.all.read().unwrap_or_else(PoisonError::into_inner));
            all.iter().for_each(|tap| tap.tell(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::SystemTime;

    #[test]
    fn who_panics_keeps_nobody_else_from_hearing_what_is_for_him() {
        let (taps, heard) = (Taps::default(), Arc::new(Mutex::new(Vec::new())));
        let event = |kind| Event::new(kind, SystemTime::UNIX_EPOCH);
        taps.tell(&event(EventKind::Died));
        taps.add(Tap::new(&[EventKind::Died], |_| panic!("an observer's own fault")));
        let ear = Arc::clone(&heard);
        taps.add(Tap::new(&[EventKind::Died, EventKind::Expired], move |event| ear.lock().unwrap().push(event.kind)));
        for kind in [EventKind::Died, EventKind::Started, EventKind::Expired] {
            taps.tell(&event(kind));
        }
        assert_eq!(*heard.lock().unwrap(), [EventKind::Died, EventKind::Expired]);
    }
}
