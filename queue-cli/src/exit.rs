//! How a program ends.

use std::process::{ExitCode, Termination};

/// How a program ended: its exit code. `main` may return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "nobody learns how it ended"]
pub enum Exit {
    /// 0: it stopped as it was asked to, or did what else it was asked.
    Well,
    /// 1: the storage can't be reached or refuses, or the health port can't be had.
    Failed,
    /// 2: what it was told is wrong.
    Usage,
    /// 3: it was asked twice and stopped at once.
    AtOnce,
}

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::AtOnce => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}
