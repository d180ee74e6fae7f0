//! What stood when a measure began, and what was spent since.

use std::collections::BTreeMap;
use std::time::Duration;

use queue::BoxError;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::counting::Calls;
use crate::options::Run;
use crate::probe::Snapshot;
use crate::report::Report;
use crate::target::Target;

/// What stood when a measure began.
#[derive(Debug)]
pub(crate) struct Meter {
    at: Duration,
    cpu: Duration,
    calls: Calls,
    server: Option<Snapshot>,
}

/// What a process of ours spent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spent {
    pub(crate) cpu: Duration,
    pub(crate) calls: BTreeMap<String, u64>,
}

impl Spent {
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6
    }
}

impl Meter {
    pub(crate) fn start(target: &Target) -> Result<Self, BoxError> {
        // The look at the server first, as it takes time and calls of ours.
        let server = target.probe.as_ref().map(|probe| probe.begin()).transpose()?;
        Ok(Self { server, calls: target.counting.calls(), cpu: clock::cpu(), at: clock::now() })
    }

    /// What this process spent since.
    pub(crate) fn spent(&self, target: &Target) -> Spent {
        Spent {
            cpu: clock::cpu().saturating_sub(self.cpu),
            calls: target.counting.calls().since(&self.calls).by_method(),
        }
    }

    /// What was spent since, on so many jobs; per second where there are none.
    pub(crate) fn read(&self, run: &Run, target: &Target) -> Result<Report, BoxError> {
        let (here, seconds) = (self.spent(target), (clock::now() - self.at).as_secs_f64());
        let report = |server| Report::of(run, &target.told, seconds, here, server);
        let (Some(probe), Some(before)) = (&target.probe, &self.server) else { return Ok(report(None)) };
        let report = report(Some(probe.snapshot()?.since(before)));
        Ok(match probe.slow()? {
            Some(slow) => report.with_slow(slow),
            None => report,
        })
    }
}
