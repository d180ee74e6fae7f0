//! What `#[task]` makes of functions.

mod arguments;
mod calls;
mod items;
mod limits;
mod options;
mod periodic;
mod running;
#[path = "../ui/pass/strict.rs"]
pub mod strict;
mod ui;
