//! Schedules: what they are, how they are stored, and what is to be done when one is due. Nothing here asks a storage.

mod entry;
mod error;
mod plan;
mod reconcile;
mod schedule;
mod template;
mod timing;

pub(crate) use entry::{Entry, Source};
pub(crate) use error::Kind;
pub use error::ScheduleError;
pub(crate) use plan::{Plan, plan};
pub(crate) use reconcile::{Found, reconcile};
pub(crate) use schedule::Definition;
pub use schedule::{IntoCron, Schedule};
pub(crate) use template::tick_of;
