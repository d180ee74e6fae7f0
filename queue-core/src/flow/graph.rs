//! The jobs of a flow, before they are stored: a graph without cycles, each job after those it waits for.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use queue_storage::model::{Form, Intake, JobId, Shard, Trigger};

use crate::draft::Draft;
use crate::ids::derived;

/// The most jobs that one job of a flow waits for. More are gathered first, so that no storage call grows with a group.
pub(crate) const WIDTH: usize = 100;

/// A job of a flow.
#[derive(Clone)]
pub(crate) struct Knot {
    pub(crate) id: JobId,
    pub(crate) what: What,
    pub(crate) waits_for: Vec<JobId>,
    pub(crate) trigger: Trigger,
    /// Jobs that handle its end.
    pub(crate) handlers: BTreeSet<JobId>,
}

/// What a job of a flow does.
#[derive(Clone, PartialEq)]
pub(crate) enum What {
    /// It runs a task.
    Task(Box<Draft>),
    /// It stands for several jobs, whose values it makes one so, in this shard.
    Gather(Intake, Shard),
}

/// The end of a flow: which jobs hand on what it returns.
#[derive(Clone)]
pub(crate) enum Tail {
    /// What this job returns.
    One(JobId),
    /// How this job ends.
    Told(JobId),
    /// All of these, in order.
    List(Vec<Tail>),
}

impl Knot {
    pub(crate) fn task(draft: Draft, waits_for: Vec<JobId>, trigger: Trigger) -> Self {
        Self { id: draft.id, what: What::Task(Box::new(draft)), waits_for, trigger, handlers: BTreeSet::new() }
    }

    fn shard(&self) -> Shard {
        match &self.what {
            What::Task(draft) => draft.shard(),
            What::Gather(_, shard) => shard.clone(),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.what == other.what && self.waits_for == other.waits_for && self.trigger == other.trigger
    }
}

/// The jobs of a flow, each after those it waits for.
#[derive(Clone, Default)]
pub(crate) struct Graph {
    knots: Vec<Knot>,
    places: HashMap<JobId, usize>,
    /// The first job that stands here twice, in two forms.
    clash: Option<JobId>,
}

impl Graph {
    pub(crate) fn knots(&self) -> &[Knot] {
        &self.knots
    }

    /// A job that stands here twice, in two forms, and its task.
    pub(crate) fn clash(&self) -> Option<(JobId, &'static str)> {
        let id = self.clash?;
        match self.places.get(&id).map(|at| &self.knots[*at].what) {
            Some(What::Task(draft)) => Some((id, draft.task)),
            _ => Some((id, "gather")),
        }
    }

    /// The calls of its jobs that run tasks.
    pub(crate) fn drafts(&self) -> impl Iterator<Item = &Draft> {
        self.knots.iter().filter_map(|knot| if let What::Task(draft) = &knot.what { Some(&**draft) } else { None })
    }

    /// The same graph of other calls, in the order of [`drafts`](Self::drafts).
    pub(crate) fn of_drafts<'a>(&self, mut drafts: impl Iterator<Item = &'a Draft>) -> Self {
        let mut graph = self.clone();
        for knot in &mut graph.knots {
            if let What::Task(draft) = &mut knot.what
                && let Some(other) = drafts.next()
            {
                (**draft).clone_from(other);
            }
        }
        graph
    }

    pub(crate) fn task_ids(&self) -> Vec<JobId> {
        self.knots.iter().filter(|knot| matches!(knot.what, What::Task(_))).map(|knot| knot.id).collect()
    }

    /// The gathers whose values make up that of this one, each of which gathers members itself, and how many.
    pub(crate) fn leaves(&self, gather: JobId) -> Vec<(JobId, usize)> {
        match self.places.get(&gather).map(|at| &self.knots[*at]) {
            Some(Knot { what: What::Gather(Intake { form: Form::Chunks, .. }, _), waits_for, .. }) => {
                waits_for.iter().flat_map(|id| self.leaves(*id)).collect()
            }
            Some(knot) => vec![(gather, knot.waits_for.len())],
            None => Vec::new(),
        }
    }

    /// The handlers that each job names, in the order of the jobs: its own, by which they are found again, and those of the
    /// jobs it waits for, as one that was stored before the flow does not name its own. A handler names none.
    pub(crate) fn named_handlers(&self) -> Vec<BTreeSet<JobId>> {
        let all: BTreeSet<JobId> = self.knots.iter().flat_map(|knot| &knot.handlers).copied().collect();
        let mut named = Vec::with_capacity(self.knots.len());
        for knot in &self.knots {
            let before = knot.waits_for.iter().filter_map(|id| self.places.get(id)).map(|at| &self.knots[*at]);
            let both = before.chain([knot]).filter(|_| !all.contains(&knot.id));
            named.push(both.flat_map(|knot| &knot.handlers).copied().collect());
        }
        named
    }

    /// Adds a job behind those it waits for. One that is there already is the same job.
    pub(crate) fn add(&mut self, knot: Knot) {
        match self.places.get(&knot.id).copied() {
            Some(at) => {
                if !self.knots[at].is_same(&knot) {
                    self.clash.get_or_insert(knot.id);
                }
                self.knots[at].handlers.extend(knot.handlers);
            }
            None => {
                self.places.insert(knot.id, self.knots.len());
                self.knots.push(knot);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.clash = self.clash.or(other.clash);
        if self.knots.is_empty() {
            (self.knots, self.places) = (other.knots, other.places);
            return;
        }
        other.knots.into_iter().for_each(|knot| self.add(knot));
    }

    /// Adds a step that takes what an end hands on; the new end.
    pub(crate) fn follow(&mut self, tail: &Tail, mut draft: Draft) -> Tail {
        let home = draft.shard();
        let (waits_for, intake, trigger) = self.intake(tail, Some(&home), Some(&home));
        draft.take(intake, waits_for.is_empty());
        let id = draft.id;
        self.add(Knot::task(draft, waits_for, trigger));
        Tail::One(id)
    }

    /// Adds a job that handles an end.
    pub(crate) fn handle(&mut self, tail: &Tail, mut draft: Draft, trigger: Trigger) {
        let of = self.point_near(tail, Some(&draft.shard()));
        draft.take(Intake { form: Form::One, told: true }, false);
        let id = draft.id;
        self.add(Knot::task(draft, vec![of], trigger));
        if let Some(&at) = self.places.get(&of) {
            self.knots[at].handlers.insert(id);
        }
    }

    /// The one job that hands on what an end does.
    pub(crate) fn point(&mut self, tail: &Tail) -> JobId {
        self.point_near(tail, None)
    }

    fn point_near(&mut self, tail: &Tail, near: Option<&Shard>) -> JobId {
        if let Tail::One(id) = tail {
            return *id;
        }
        let (waits_for, intake, trigger) = self.intake(tail, None, near);
        self.gather(waits_for, intake, trigger, near)
    }

    /// What a job that takes an end waits for, and how it makes one value of that. `home` is where it is to live, `near`
    /// where what gathers nothing is.
    fn intake(&mut self, tail: &Tail, home: Option<&Shard>, near: Option<&Shard>) -> (Vec<JobId>, Intake, Trigger) {
        let tails = match tail {
            Tail::One(id) => return (vec![*id], Intake::default(), Trigger::Completed),
            Tail::Told(id) => return (vec![*id], Intake { form: Form::One, told: true }, Trigger::Ended),
            Tail::List(tails) => tails,
        };
        let told = !tails.is_empty() && tails.iter().all(|tail| matches!(tail, Tail::Told(_)));
        let ids: Vec<JobId> = tails
            .iter()
            .map(|tail| match tail {
                Tail::Told(id) if told => *id,
                other => self.point_near(other, near),
            })
            .collect();
        let trigger = if told { Trigger::Ended } else { Trigger::Completed };
        let intake = Intake { form: Form::List, told };
        if ids.len() <= WIDTH && !self.is_abroad(&ids, home) {
            return (ids, intake, trigger);
        }
        let mut chunks = self.chunks(&ids, intake, trigger);
        let spliced = Intake { form: Form::Chunks, told: false };
        while chunks.len() > WIDTH {
            chunks = self.chunks(&chunks, spliced, Trigger::Completed);
        }
        (chunks, spliced, Trigger::Completed)
    }

    fn chunks(&mut self, ids: &[JobId], intake: Intake, trigger: Trigger) -> Vec<JobId> {
        ids.chunks(WIDTH).map(|chunk| self.gather(chunk.to_vec(), intake, trigger, None)).collect()
    }

    /// Whether these jobs live together in another shard, so that they had better be gathered before they are told of.
    fn is_abroad(&self, ids: &[JobId], home: Option<&Shard>) -> bool {
        let shard = |id: &JobId| self.places.get(id).map(|at| self.knots[*at].shard());
        let first = ids.first().and_then(shard);
        ids.len() > 1
            && home.is_some_and(|home| first.as_ref() != Some(home))
            && ids.iter().all(|id| shard(id) == first)
    }

    fn gather(&mut self, waits_for: Vec<JobId>, intake: Intake, trigger: Trigger, near: Option<&Shard>) -> JobId {
        let home = waits_for.first().and_then(|id| self.places.get(id)).map(|at| self.knots[*at].shard());
        // One of nothing had better not need a worker of a queue that nothing else of the flow is in.
        let home = home.or_else(|| near.cloned()).or_else(|| self.knots.last().map(Knot::shard));
        let home = home.unwrap_or_else(|| Shard::of(queue_storage::model::QueueName::default()));
        let mut word = vec![b'g', intake.into(), trigger as u8];
        word.extend(waits_for.iter().flat_map(|id| id.as_u128().to_be_bytes()));
        let id = match waits_for.first() {
            Some(first) => derived(*first, &word, &home),
            None => JobId::new(&home),
        };
        self.add(Knot { id, what: What::Gather(intake, home), waits_for, trigger, handlers: BTreeSet::new() });
        id
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drafts = self.knots.iter().filter_map(|knot| match &knot.what {
            What::Task(draft) => Some(draft),
            What::Gather(..) => None,
        });
        f.debug_list().entries(drafts).finish()
    }
}
