//! x
mod ui;
