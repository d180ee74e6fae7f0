//! The worker as a program: command line, signals, logs, systemd, health. Users add `queue-jobs` with the feature `cli`,
//! where `queue::cli::run` knows the storages; this crate knows none.
//!
//! # Exit codes
//!
//! | code | when |
//! |---|---|
//! | 0 | it was asked to stop and has stopped, its jobs finished or given back once the grace was over; `--check` found nothing |
//! | 1 | the storage can't be reached or refuses the worker, or the health port can't be had |
//! | 2 | what it was told is wrong: the command line, a variable, the log file, or the worker that the program builds |
//! | 3 | it was asked a second time, and stopped at once: jobs that ran were dropped and given back |
//!
//! # Signals
//!
//! | signal | what it does |
//! |---|---|
//! | `TERM`, `INT` | claims no more, lets running jobs finish within `--shutdown-timeout`, gives back the others |
//! | either again | stops at once: running jobs are dropped at their next await and given back, other workers run them |
//! | a third | ends without another word; jobs run elsewhere when their leases have run out |
//! | `HUP` | opens the log file anew, for `logrotate`; without `--logfile` it ends the process, as ever |
//!
//! # systemd
//!
//! With `Type=notify` the service counts as started when the storage knows the worker, and `systemctl status` says what it
//! does. With `WatchdogSec=` it is restarted when its runtime hangs.
//!
//! ```ini
//! [Service]
//! Type=notify
//! ExecStart=/opt/shop/worker --workers 20 --queues mail,default
//! Environment=ENVIRONMENT=production REDIS_HOST=localhost
//! WatchdogSec=30
//! # Longer than --shutdown-timeout.
//! TimeoutStopSec=35
//! Restart=on-failure
//! # What it was told is wrong, and stays wrong.
//! RestartPreventExitStatus=2
//! ```

// `println!` panics where nobody reads.
#![deny(clippy::print_stdout, clippy::print_stderr)]

// Each looks down only: it uses what stands above it in this list.
mod duration;
mod exit;
mod options;
mod say;

mod health;
mod http1;
mod logging;
mod notify;
mod signals;

mod building;
mod check;
mod program;

pub use building::{IntoBuilder, NoClient};
pub use exit::Exit;
pub use logging::{LogError, log_from_env};
pub use program::Program;
