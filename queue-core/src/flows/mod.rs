//! Handles to stored flows: waiting for them, looking at them, calling them off, trying again what failed.

mod acts;
mod again;
mod arrivals;
mod handle;
mod tree;
mod walk;

pub use arrivals::Arrivals;
pub(crate) use arrivals::Page;
pub use handle::{FlowHandle, GroupHandle};
pub use tree::{FlowNode, FlowStatus, FlowTree};
