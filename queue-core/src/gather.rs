//! One value of what the jobs before a job handed on.
//!
//! Values are not decoded for it: arrays are put together head by head, and what they hold is copied as it is.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use queue_storage::model::{Ending, Envelope, Form, Input, Intake, Job, JobId, State};
use queue_storage::storage::{Inputs, Storage, StorageError};
use tokio::sync::Semaphore;

use crate::codec;
use crate::failed::Failed;

/// What a hold is called that stands for a job of another queue, and the header by which it names that job.
pub(crate) const HOLD: &str = "queue:hold";
pub(crate) const OF: &str = "queue.of";

/// How many gathers are asked for at once.
const MAX_FETCHES: usize = 16;

/// How deep gathers may lie in gathers.
const MAX_DEPTH: u32 = 8;

/// Why there is no value.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The storage could not be asked.
    Storage(StorageError),
    /// This one did not complete, and whoever takes what it returns takes nothing else.
    Failed(Box<Failed>),
    /// What is stored is not as it should be.
    Unfit(String),
    /// It would take more than so many bytes.
    TooLarge(usize),
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        // Asking again can't mend anything else.
        if error.is_unavailable() { Self::Storage(error) } else { Self::Unfit(error.to_string()) }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => write!(f, "the storage can't be asked: {error}"),
            Self::Failed(failed) => write!(f, "it takes what others return, and {failed}"),
            Self::Unfit(why) => f.write_str(why),
            Self::TooLarge(limit) => write!(f, "together they take more than {limit} bytes"),
        }
    }
}

/// The jobs that some inputs are of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parents<'a> {
    /// These.
    Known(&'a [JobId]),
    /// Those that this job waited for.
    Of(JobId),
}

/// One input, as far as it needs no form yet.
enum Part {
    Value(Bytes),
    Failed(Box<Failed>),
}

/// Puts together what jobs handed on.
#[derive(Debug)]
pub(crate) struct Gatherer<'a> {
    storage: &'a dyn Storage,
    fetches: Semaphore,
    limit: usize,
    /// The bytes of all values so far.
    taken: AtomicUsize,
}

impl<'a> Gatherer<'a> {
    /// One that takes no more than so many bytes.
    pub(crate) fn new(storage: &'a dyn Storage, limit: usize) -> Self {
        Self { storage, fetches: Semaphore::new(MAX_FETCHES), limit, taken: AtomicUsize::new(0) }
    }

    /// The value that a gather stands for.
    pub(crate) async fn gathered(&self, id: JobId) -> Result<Bytes, Trouble> {
        match self.part_of_gather(id, 0).await? {
            Part::Value(value) => Ok(value),
            Part::Failed(failed) => Err(Trouble::Failed(failed)),
        }
    }

    /// The value that these inputs make.
    pub(crate) async fn value(&self, intake: Intake, parents: &[JobId], inputs: &[Input]) -> Result<Bytes, Trouble> {
        self.assemble(intake, Parents::Known(parents), inputs, 0).await
    }

    /// How the first of these jobs ended that did not complete, as whoever runs for that takes it: where it was cancelled
    /// for another, of that one is told.
    pub(crate) async fn failed(&self, parents: &[JobId], inputs: &[Input]) -> Result<Bytes, Trouble> {
        let ended = inputs.iter().find_map(|input| match input {
            Input::Failed(ending) => Some(&**ending),
            _ => None,
        });
        let open = || inputs.iter().position(|input| matches!(input, Input::Gone | Input::Open(_)));
        let failed = match ended {
            Some(ending) => self.origin(ending).await?,
            // Those that live are not to blame, unless nobody else is: then one was run again meanwhile.
            None => match open() {
                Some(at) => self.look(Parents::Known(parents), at).await?,
                None => return Err(Trouble::Unfit("it runs when a job fails, and all it waited for completed".into())),
            },
        };
        codec::encode(&failed).map_err(Trouble::Unfit)
    }

    /// The end that began this one, as far as it is still known.
    async fn origin(&self, ending: &Ending) -> Result<Failed, Trouble> {
        let origin = ending.origin();
        if origin == ending.job {
            return Ok(Failed::of(ending));
        }
        let failed = |job: &Job| job.state.is_end() && job.state != State::Completed;
        let found = self.storage.get(origin).await?.found().filter(failed);
        Ok(found.map_or_else(|| Failed::of(ending), |job| Failed::of_job(&job)))
    }

    /// How the job ended that a hold stands for, as far as it is still known.
    async fn behind(&self, ending: &Ending) -> Result<Failed, Trouble> {
        let hold = self.storage.get(ending.job).await?.found();
        let headers = hold.and_then(|hold| Envelope::decode(&hold.envelope).ok()).map(|envelope| envelope.headers);
        let of = headers.and_then(|headers| headers.get(OF)?.parse().ok());
        let Some(of) = of else { return self.origin(ending).await };
        let failed = |job: &Job| job.state.is_end() && job.state != State::Completed;
        match self.storage.get(of).await?.found().filter(failed) {
            Some(job) => self.origin(&Ending::of(&job)).await,
            None => self.origin(ending).await,
        }
    }

    fn assemble<'b>(
        &'b self,
        intake: Intake,
        parents: Parents<'b>,
        inputs: &'b [Input],
        depth: u32,
    ) -> BoxFuture<'b, Result<Bytes, Trouble>> {
        Box::pin(async move {
            let inputs = if intake.form == Form::One { &inputs[..inputs.len().min(1)] } else { inputs };
            let parts = self.parts(parents, inputs, depth).await?;
            match intake.form {
                Form::One => match parts.into_iter().next() {
                    Some(Part::Value(value)) if !intake.told => Ok(value),
                    Some(part) => Ok(written(part, intake.told)?.into()),
                    None => Ok(Bytes::from_static(codec::NIL)),
                },
                Form::List => list(parts, intake.told),
                Form::Chunks => chunks(parts, intake.told),
                _ => Err(Trouble::Unfit("a newer program stored it, in a form this one does not know".into())),
            }
        })
    }

    /// The inputs in their order; what must be asked for is asked for at once.
    async fn parts(&self, parents: Parents<'_>, inputs: &[Input], depth: u32) -> Result<Vec<Part>, Trouble> {
        let mut parts = Vec::with_capacity(inputs.len());
        let mut asked: Vec<BoxFuture<'_, Result<(usize, Part), Trouble>>> = Vec::new();
        for (at, input) in inputs.iter().enumerate() {
            parts.push(match input {
                Input::Returned(value) => self.counted(value)?,
                Input::Nothing => Part::Value(Bytes::from_static(codec::NIL)),
                Input::Failed(ending) if ending.task.as_str() == HOLD => {
                    asked.push(Box::pin(async move { Ok((at, Part::Failed(Box::new(self.behind(ending).await?)))) }));
                    placeholder()
                }
                Input::Failed(ending) if ending.origin() != ending.job => {
                    asked.push(Box::pin(async move { Ok((at, Part::Failed(Box::new(self.origin(ending).await?)))) }));
                    placeholder()
                }
                Input::Failed(ending) => Part::Failed(Box::new(Failed::of(ending))),
                Input::Gathered(id) => {
                    asked.push(Box::pin(async move { Ok((at, self.part_of_gather(*id, depth).await?)) }));
                    placeholder()
                }
                Input::Open(_) | Input::Gone => {
                    asked
                        .push(Box::pin(async move { Ok((at, Part::Failed(Box::new(self.look(parents, at).await?)))) }));
                    placeholder()
                }
                _ => {
                    return Err(Trouble::Unfit("a newer program handed it on, in a way this one does not know".into()));
                }
            });
        }
        let found: Vec<(usize, Part)> = stream::iter(asked).buffered(MAX_FETCHES).try_collect().await?;
        for (at, part) in found {
            parts[at] = part;
        }
        Ok(parts)
    }

    fn counted(&self, value: &Bytes) -> Result<Part, Trouble> {
        let taken = self.taken.fetch_add(value.len(), Ordering::Relaxed).saturating_add(value.len());
        if taken > self.limit { Err(Trouble::TooLarge(self.limit)) } else { Ok(Part::Value(value.clone())) }
    }

    async fn part_of_gather(&self, id: JobId, depth: u32) -> Result<Part, Trouble> {
        if depth == MAX_DEPTH {
            return Err(Trouble::Unfit(format!(
                "gather {id} lies {MAX_DEPTH} gathers deep, which is the most there may be"
            )));
        }
        let Some(Inputs { envelope, inputs }) = self.fetch(id).await? else {
            return Ok(Part::Failed(Box::new(Failed::gone(id))));
        };
        let opened = Envelope::decode(&envelope).map_err(|error| Trouble::Unfit(format!("gather {id}: {error}")))?;
        Ok(Part::Value(self.assemble(opened.intake, Parents::Of(id), &inputs, depth + 1).await?))
    }

    async fn fetch(&self, id: JobId) -> Result<Option<Inputs>, Trouble> {
        // Nobody closes it.
        let _permit = self.fetches.acquire().await.ok();
        Ok(self.storage.inputs(id).await?)
    }

    /// Where a job is that handed nothing on: it is gone, or was run again.
    async fn look(&self, parents: Parents<'_>, at: usize) -> Result<Failed, Trouble> {
        let id = match parents {
            Parents::Known(ids) => ids.get(at).copied(),
            Parents::Of(id) => {
                let reader = self.storage.get(id).await?.found();
                Some(reader.and_then(|reader| reader.waits_for.get(at).copied()).unwrap_or(id))
            }
        };
        let Some(id) = id else {
            return Err(Trouble::Unfit("it waited for fewer jobs than handed something on".into()));
        };
        let found = self.storage.get(id).await?.found();
        Ok(found.map_or_else(|| Failed::gone(id), |job| Failed::of_job(&job)))
    }
}

/// Stands where what is asked for will.
fn placeholder() -> Part {
    Part::Value(Bytes::new())
}

/// One part as one value.
fn written(part: Part, told: bool) -> Result<Vec<u8>, Trouble> {
    match part {
        Part::Value(value) if told => Ok([codec::OK, &value].concat()),
        Part::Value(value) => Ok(value.to_vec()),
        Part::Failed(failed) if told => {
            let failed = codec::encode(&*failed).map_err(Trouble::Unfit)?;
            Ok([codec::ERR, &failed].concat())
        }
        Part::Failed(failed) => Err(Trouble::Failed(failed)),
    }
}

fn list(parts: Vec<Part>, told: bool) -> Result<Bytes, Trouble> {
    let mut bytes = codec::array_head(parts.len()).map_err(Trouble::Unfit)?;
    for part in parts {
        match part {
            Part::Value(value) if !told => bytes.extend_from_slice(&value),
            part => bytes.extend(written(part, told)?),
        }
    }
    Ok(bytes.into())
}

/// One array of several; where ends are told, a chunk that did not complete is one value of it.
fn chunks(parts: Vec<Part>, told: bool) -> Result<Bytes, Trouble> {
    let (mut count, mut body) = (0, Vec::new());
    for part in parts {
        let Part::Value(value) = part else {
            count += 1;
            body.extend(written(part, told)?);
            continue;
        };
        let Some((values, bytes)) = codec::split_array(&value) else {
            return Err(Trouble::Unfit("what a chunk of it returned is not a list".into()));
        };
        count += values;
        body.extend_from_slice(bytes);
    }
    let mut bytes = codec::array_head(count).map_err(Trouble::Unfit)?;
    bytes.append(&mut body);
    Ok(bytes.into())
}
