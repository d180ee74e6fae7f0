//! The application as its users see it: what every application here is asked, of this one.
#![cfg(unix)]

/// The program.
const APP: &str = env!("CARGO_BIN_EXE_actix-app");

/// What is told of it.
const README: &str = include_str!("../README.md");

#[path = "../../it/mod.rs"]
mod it;
