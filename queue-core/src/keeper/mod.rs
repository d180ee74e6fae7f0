//! The worker's upkeep: one role a file, each a loop around one storage call. Every step is idempotent and may run on
//! every process at once. What must not wait for a keeper (promoting, reclaiming) is part of the exchange instead.

pub(crate) mod pruner;
pub(crate) mod reconciler;
pub(crate) mod sentry;
pub(crate) mod ticker;
