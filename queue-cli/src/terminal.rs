//! Words for whoever started the program. Whoever was to read them may be gone: then they are lost, and nothing else is.

use std::io::{self, Write as _};

/// A line on the standard output.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line on the standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
