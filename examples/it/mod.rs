//! What every application here is asked, over HTTP, of the program itself.

mod asking;
mod ends;
mod outages;
mod process;
mod routes;
mod session;
