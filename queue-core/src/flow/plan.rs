//! How a flow is stored: in one call if it fits, else in several behind a gate.
//!
//! A flow that needs more than one call, be it for its size or as it lives in several shards, has a *gate*: a hold that
//! everything in it waits for that waits for nothing else. The gate is stored first, with a time after which it expires,
//! and delivered to when the last job is stored. So a flow starts as a whole; and one whose client went away half-way is
//! cancelled, through the same edges by which any failure goes.
//!
//! An edge from shard to shard is a relay there and a hold here. Relays are stored before the holds that they deliver to, so
//! that no hold is left without one: jobs go in the order of their *level*, which is how many times what comes to them has
//! changed the shard. Nothing ends before the gate opens but what was stored before the flow, whose relays tell again.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use queue_storage::model::{Envelope, JobId, NameError, NewJob, Node, Shard, TaskName, Trigger, When};
use queue_storage::storage::{MAX_ENQUEUE, MAX_WAITS_FOR};

use crate::client::MAX_CALL_BYTES;
use crate::gather::{HOLD, OF};
use crate::ids::derived;

/// A flow that is not stored whole within this time is cancelled.
const SEALED_WITHIN: Duration = Duration::from_secs(600);

/// The header of a hold that names the relay which delivers to it, and that of any job which names those that handle its
/// end.
pub(crate) const RELAY: &str = "queue.relay";
pub(crate) const HANDLERS: &str = "queue.handlers";

/// The calls that store a flow.
#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    /// The calls, in order.
    pub(crate) calls: Vec<(Shard, Vec<NewJob>)>,
    /// What is delivered to when all are answered.
    pub(crate) gate: Option<(Shard, JobId)>,
}

/// Plans how jobs are stored, each of which comes after those it waits for.
pub(crate) fn plan(jobs: Vec<(Shard, NewJob)>) -> Result<Plan, NameError> {
    let Some((first, _)) = jobs.first() else { return Ok(Plan { calls: Vec::new(), gate: None }) };
    let home = first.clone();
    if jobs.iter().all(|(shard, _)| *shard == home) {
        let mut filled = Filled::default();
        if jobs.iter().all(|(_, job)| filled.takes(job)) {
            let jobs = jobs.into_iter().map(|(_, job)| job).collect();
            return Ok(Plan { calls: vec![(home, jobs)], gate: None });
        }
    }
    Planner::new(home, &jobs)?.plan(jobs)
}

/// What a call holds so far.
#[derive(Default)]
struct Filled {
    jobs: usize,
    edges: usize,
    bytes: usize,
}

impl Filled {
    /// Takes a job in, if there is room for it.
    fn takes(&mut self, job: &NewJob) -> bool {
        let empty = self.jobs == 0;
        self.jobs += 1;
        self.edges += job.waits_for.len();
        self.bytes += job.envelope.len();
        empty || self.jobs <= MAX_ENQUEUE && self.edges <= MAX_WAITS_FOR && self.bytes <= MAX_CALL_BYTES
    }
}

struct Planner {
    gate: (Shard, JobId),
    /// Where each job is: its level and shard.
    places: HashMap<JobId, (usize, Shard)>,
    /// The last job, which tells this flow from others that its jobs are part of.
    last: JobId,
    /// The hold that stands for a job in another shard.
    holds: HashMap<(JobId, Shard), JobId>,
    levels: Vec<BTreeMap<Shard, Vec<NewJob>>>,
}

impl Planner {
    fn new(home: Shard, jobs: &[(Shard, NewJob)]) -> Result<Self, NameError> {
        let first = jobs.first().map_or_else(|| JobId::new(&home), |(_, job)| job.id);
        let last = jobs.last().map_or(first, |(_, job)| job.id);
        let id = derived(first, &[&b"gate"[..], &last.as_u128().to_be_bytes()].concat(), &home);
        let mut planner =
            Self { gate: (home.clone(), id), places: HashMap::new(), last, holds: HashMap::new(), levels: Vec::new() };
        let mut gate = knot(id, "queue:gate", Node::Hold, Envelope::default())?;
        gate.expires = Some(When::In(SEALED_WITHIN));
        planner.push(0, home, gate);
        Ok(planner)
    }

    fn push(&mut self, level: usize, shard: Shard, job: NewJob) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, BTreeMap::new);
        }
        self.places.insert(job.id, (level, shard.clone()));
        self.levels[level].entry(shard).or_default().push(job);
    }

    fn plan(mut self, jobs: Vec<(Shard, NewJob)>) -> Result<Plan, NameError> {
        for (shard, mut job) in jobs {
            if job.waits_for.is_empty() && job.node.is_task() {
                job.waits_for.push(self.gate.1);
            }
            let mut level = 0;
            for parent in &mut job.waits_for {
                let Some((there, from)) = self.places.get(parent).cloned() else { continue };
                if from == shard {
                    level = level.max(there);
                } else {
                    *parent = self.hold(*parent, there, &from, &shard)?;
                    level = level.max(there + 1);
                }
            }
            self.push(level, shard, job);
        }
        let calls = self.levels.into_iter().flatten().flat_map(|(shard, jobs)| cut(&shard, jobs)).collect();
        Ok(Plan { calls, gate: Some(self.gate) })
    }

    /// The hold that stands here for a job there.
    fn hold(&mut self, of: JobId, level: usize, there: &Shard, here: &Shard) -> Result<JobId, NameError> {
        if let Some(hold) = self.holds.get(&(of, here.clone())) {
            return Ok(*hold);
        }
        let hold = derived(of, format!("hold {}", self.last).as_bytes(), here);
        let relay = derived(of, format!("relay {} {here}", self.last).as_bytes(), there);
        let node = Node::Relay { shard: here.clone(), to: hold };
        let mut relay_job = knot(relay, "queue:relay", node, Envelope::default())?;
        (relay_job.waits_for, relay_job.trigger) = (vec![of], Trigger::Ended);
        let headers = BTreeMap::from([(OF.to_owned(), of.to_string()), (RELAY.to_owned(), relay.to_string())]);
        let hold_job = knot(hold, HOLD, Node::Hold, Envelope { headers, ..Envelope::default() })?;
        self.push(level, there.clone(), relay_job);
        self.push(level + 1, here.clone(), hold_job);
        self.holds.insert((of, here.clone()), hold);
        Ok(hold)
    }
}

/// A job that runs no task.
pub(crate) fn knot(id: JobId, name: &str, node: Node, envelope: Envelope) -> Result<NewJob, NameError> {
    let envelope = Envelope { args: Bytes::from_static(&[0x80]), ..envelope };
    let mut job = NewJob::new(id, TaskName::new(name)?, envelope.encode().unwrap_or_default());
    job.node = node;
    Ok(job)
}

/// Jobs of one shard, in calls that take no more than they may.
fn cut(shard: &Shard, jobs: Vec<NewJob>) -> Vec<(Shard, Vec<NewJob>)> {
    let mut calls: Vec<(Shard, Vec<NewJob>)> = Vec::new();
    let mut filled = Filled::default();
    for job in jobs {
        if calls.is_empty() || !filled.takes(&job) {
            calls.push((shard.clone(), Vec::new()));
            filled = Filled::default();
            filled.takes(&job);
        }
        if let Some((_, call)) = calls.last_mut() {
            call.push(job);
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn shard(n: usize) -> Shard {
        Shard::of(format!("q{n}").parse().unwrap())
    }

    fn job(shard: &Shard, waits_for: Vec<JobId>) -> (Shard, NewJob) {
        let mut job = NewJob::new(JobId::new(shard), TaskName::new("t").unwrap(), Bytes::from_static(b"e"));
        job.waits_for = waits_for;
        (shard.clone(), job)
    }

    /// What every plan keeps: whoever is waited for is stored before, in the same shard; a relay before the hold it
    /// delivers to; and nothing starts before the gate is delivered to.
    fn check(jobs: &[(Shard, NewJob)], plan: &Plan) {
        let mut stored: HashMap<JobId, Shard> = HashMap::new();
        let mut relayed = HashSet::new();
        for (shard, call) in &plan.calls {
            assert!(call.len() <= MAX_ENQUEUE && !call.is_empty());
            assert!(call.iter().map(|job| job.waits_for.len()).sum::<usize>() <= MAX_WAITS_FOR);
            for job in call {
                assert!(job.waits_for.iter().all(|id| stored.get(id) == Some(shard)), "whom it waits for is there");
                assert_eq!(job.id.home_tag(), shard.tag());
                if let Node::Relay { to, .. } = job.node {
                    relayed.insert(to);
                }
                let is_gate = plan.gate.as_ref().is_some_and(|(_, gate)| *gate == job.id);
                assert!(job.node != Node::Hold || is_gate || relayed.contains(&job.id), "its relay comes first");
                assert!(stored.insert(job.id, shard.clone()).is_none(), "once");
                assert!(plan.gate.is_none() || !job.waits_for.is_empty() || job.node == Node::Hold, "nothing starts");
            }
        }
        assert!(jobs.iter().all(|(shard, job)| stored.get(&job.id) == Some(shard)), "all are stored");
    }

    #[test]
    fn what_fits_goes_in_one_call_as_it_is() {
        let first = job(&shard(0), vec![]);
        let second = job(&shard(0), vec![first.1.id]);
        let jobs = vec![first, second];
        let expected = jobs.iter().map(|(_, job)| job.clone()).collect();
        assert_eq!(plan(jobs).unwrap(), Plan { calls: vec![(shard(0), expected)], gate: None });
        assert_eq!(plan(Vec::new()).unwrap(), Plan { calls: Vec::new(), gate: None });
    }

    #[test]
    fn what_is_too_large_goes_behind_a_gate() {
        let jobs: Vec<_> = (0..2_500).map(|_| job(&shard(0), vec![])).collect();
        let planned = plan(jobs.clone()).unwrap();
        check(&jobs, &planned);
        assert_eq!((planned.calls.len(), planned.gate.is_some()), (3, true));
        let mut heavy = job(&shard(0), vec![]);
        heavy.1.envelope = Bytes::from(vec![0; MAX_CALL_BYTES / 2 + 1]);
        let mut other = job(&shard(0), vec![]);
        other.1.envelope = heavy.1.envelope.clone();
        let heavy = vec![heavy, other];
        let planned = plan(heavy.clone()).unwrap();
        check(&heavy, &planned);
        assert!(planned.gate.is_some());
    }

    #[test]
    fn an_edge_between_shards_is_a_relay_and_a_hold() {
        let first = job(&shard(0), vec![]);
        let both = [job(&shard(1), vec![first.1.id]), job(&shard(1), vec![first.1.id])];
        let jobs = [vec![first], both.to_vec()].concat();
        let planned = plan(jobs.clone()).unwrap();
        check(&jobs, &planned);
        let names: Vec<Vec<String>> =
            planned.calls.iter().map(|(_, call)| call.iter().map(|job| job.task.to_string()).collect()).collect();
        assert_eq!(names, [vec!["queue:gate", "t", "queue:relay"], vec!["queue:hold", "t", "t"]], "one for both");
        assert_eq!(plan(jobs).unwrap(), planned, "the same flow makes the same jobs");
    }

    #[test]
    fn random_graphs_over_shards_are_stored_in_order() {
        let mut seed = 1_u64;
        let mut below = |most: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % most
        };
        for round in 0..100 {
            let mut jobs: Vec<(Shard, NewJob)> = Vec::new();
            for _ in 0..=below(60) {
                let parents = (0..below(4)).filter(|_| !jobs.is_empty()).map(|_| below(jobs.len().max(1)));
                let waits_for = parents.collect::<Vec<_>>().into_iter().map(|at| jobs[at].1.id).collect();
                jobs.push(job(&shard(below(1 + round % 4)), waits_for));
            }
            check(&jobs, &plan(jobs.clone()).unwrap());
        }
    }
}
