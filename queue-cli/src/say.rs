//! Words for whoever started the program. Nobody may be there any more to read them, as when a pipe is closed or a disk is
//! full: that is no reason to stop, and `println!` would panic.

use std::fmt::Display;
use std::io::{self, Write as _};

/// A line on the standard output.
pub(crate) fn out(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line on the standard error.
pub(crate) fn err(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
