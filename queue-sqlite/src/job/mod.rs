//! One job's row, and all that is read, written and moved together with it. From below upwards: what stands in columns,
//! in a call under way, a row as a whole, what a job's move means for others, and what people and time do to jobs.

pub(crate) mod act;
pub(crate) mod cells;
pub(crate) mod deliver;
pub(crate) mod edges;
pub(crate) mod edit;
pub(crate) mod ends;
pub(crate) mod fate;
pub(crate) mod follow;
pub(crate) mod history;
pub(crate) mod inputs;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod maintain;
pub(crate) mod more;
pub(crate) mod node;
pub(crate) mod paid;
pub(crate) mod parcels;
pub(crate) mod parking;
pub(crate) mod rates;
pub(crate) mod rearm;
pub(crate) mod row;
pub(crate) mod shift;
pub(crate) mod slots;
pub(crate) mod tx;
pub(crate) mod unique;
pub(crate) mod watch;
pub(crate) mod workers;
pub(crate) mod write;
