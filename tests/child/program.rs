//! A worker as a program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use queue::{Schedule, Worker, tasks};

use crate::serve::effects_in;
use crate::tasks::{cling, hold, tick};

/// The folder of the effect log and the name of this process, which a program has no options for.
const DIR: &str = "QUEUE_TEST_DIR";
const NAME: &str = "QUEUE_TEST_NAME";
/// Set where the program is to hang before it has begun.
const STUCK: &str = "QUEUE_TEST_STUCK";

/// Runs the program with these words.
pub(crate) async fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let args: Vec<_> = args.collect();
    let program = queue::cli::program(|client| {
        if std::env::var_os(STUCK).is_some() {
            eprintln!("stuck");
            loop {
                std::thread::park();
            }
        }
        let (dir, name) = (std::env::var(DIR)?, std::env::var(NAME)?);
        let hourly = Schedule::new("hourly", tick::new(1)).every(Duration::from_secs(3_600));
        let builder =
            Worker::builder(client).tasks(tasks![hold, cling, tick]).data(effects_in(&PathBuf::from(dir), name)?);
        // Named, so that the command line has something to override.
        let builder = builder.queue("default").schedule(hourly);
        // Nobody waits either of them out.
        Ok(builder.lease(Duration::from_secs(600)).grace(Duration::from_secs(600)))
    });
    let program = program.metrics(|client| queue::metrics::Metrics::new(client).source());
    program.name("hold-worker").version("1.2.3").args(args).main().await
}
