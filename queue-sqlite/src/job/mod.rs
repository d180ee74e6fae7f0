//! One job's row, and all that is read, written and moved together with it: each step is short, and most lead to some of the
//! others, since what one job gives up brings another back into line.

pub(crate) mod act;
pub(crate) mod edges;
pub(crate) mod ends;
pub(crate) mod history;
pub(crate) mod limits;
pub(crate) mod maintain;
pub(crate) mod parking;
pub(crate) mod rates;
pub(crate) mod row;
pub(crate) mod shift;
pub(crate) mod slots;
pub(crate) mod tx;
pub(crate) mod unique;
pub(crate) mod workers;
pub(crate) mod write;
