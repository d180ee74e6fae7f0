//! Schedules as they are stored: looked at, put, changed, paused, removed.

mod facts;
mod handle;
mod listing;
mod stored;

pub use facts::{ScheduleFacts, ScheduleSource};
pub use handle::ScheduleHandle;
pub(crate) use stored::{Becomes, change, read_all};
