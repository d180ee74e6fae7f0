//! What a job asks for the sake of others: its unique key and its limits.

use queue_storage::model::{Key, Limit, Rate, Unique};
use rmp_serde::{decode, encode};

/// The unique key of a job, and its limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Keys {
    pub(crate) unique: Option<Unique>,
    pub(crate) limits: Vec<Limit>,
}

impl Keys {
    pub(crate) fn is_empty(&self) -> bool {
        self.unique.is_none() && self.limits.is_empty()
    }

    /// As they are stored: MessagePack, a pair.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, encode::Error> {
        rmp_serde::to_vec_named(&(&self.unique, &self.limits))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, decode::Error> {
        let (unique, limits) = rmp_serde::from_slice(bytes)?;
        Ok(Self { unique, limits })
    }
}

/// The keys of slots among some limits.
pub(crate) fn slots(limits: &[Limit]) -> impl Iterator<Item = &Key> {
    limits.iter().filter(|limit| matches!(limit, Limit::Slots { .. })).map(Limit::key)
}

/// The rates among some limits, each with its key and what a start costs.
pub(crate) fn rates(limits: &[Limit]) -> impl Iterator<Item = (&Key, Rate, u32)> {
    limits.iter().filter_map(|limit| match limit {
        Limit::Rate { key, rate, cost } => Some((key, *rate, *cost)),
        _ => None,
    })
}
