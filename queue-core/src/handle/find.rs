//! From an id to a typed handle.

use std::fmt;

use queue_storage::model::{Envelope, IdError, Job, JobId};
use queue_storage::storage::{Lookup, StorageError};

use super::JobHandle;
use crate::client::Client;
use crate::codec;
use crate::task::Task;

impl Client {
    /// A typed handle to a stored job of task `T`, by its id or the text of it.
    ///
    /// # Errors
    /// [`HandleError`] tells four things apart: the text is no id, no such job was ever stored, the job is another
    /// task's, the job is gone (it ended and was pruned). Beside them, the storage can't be asked.
    pub async fn handle<T: Task>(&self, id: impl IntoJobId) -> Result<JobHandle<T::Output>, HandleError> {
        let id = id.into_job_id()?;
        match self.storage().get(id).await? {
            Lookup::Unknown => Err(HandleError::unknown(id, &self.location())),
            Lookup::Gone => Err(HandleError::gone(id, &self.location())),
            Lookup::Found(job) => {
                let stored = job.task.as_str();
                if stored == T::NAME || T::ALIASES.contains(&stored) {
                    Ok(JobHandle::new(self.clone(), id))
                } else {
                    Err(HandleError::other_task(id, stored, T::NAME))
                }
            }
        }
    }

    /// The arguments of a stored job of task `T`, as [`jobs`](Self::jobs) or [`job`](Self::job) returned it.
    ///
    /// # Errors
    /// The job is another task's, or its arguments can't be decoded.
    pub fn args_of<T: Task>(&self, job: &Job) -> Result<T, HandleError> {
        let stored = job.task.as_str();
        if stored != T::NAME && !T::ALIASES.contains(&stored) {
            return Err(HandleError::other_task(job.id, stored, T::NAME));
        }
        let envelope = Envelope::decode(&job.envelope).map_err(|error| error.to_string());
        let args = envelope.and_then(|envelope| codec::decode(&envelope.args));
        args.map_err(|why| HandleError::undecodable(job.id, stored, &why))
    }
}

/// What names a job: its [`JobId`], or the text of one.
pub trait IntoJobId {
    /// The id.
    ///
    /// # Errors
    /// The text is no id.
    fn into_job_id(self) -> Result<JobId, HandleError>;
}

impl IntoJobId for JobId {
    fn into_job_id(self) -> Result<JobId, HandleError> {
        Ok(self)
    }
}

impl IntoJobId for &str {
    fn into_job_id(self) -> Result<JobId, HandleError> {
        self.parse().map_err(HandleError::not_an_id)
    }
}

impl IntoJobId for &String {
    fn into_job_id(self) -> Result<JobId, HandleError> {
        self.as_str().into_job_id()
    }
}

impl IntoJobId for String {
    fn into_job_id(self) -> Result<JobId, HandleError> {
        self.as_str().into_job_id()
    }
}

/// Why there is no handle to a job.
pub struct HandleError {
    kind: HandleErrorKind,
    message: String,
    source: Option<StorageError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandleErrorKind {
    NotAnId,
    Unknown,
    OtherTask,
    Undecodable,
    Gone,
    Storage,
}

impl HandleError {
    fn new(kind: HandleErrorKind, message: String) -> Self {
        Self { kind, message, source: None }
    }

    #[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
    fn not_an_id(error: IdError) -> Self {
        Self::new(HandleErrorKind::NotAnId, error.to_string())
    }

    fn unknown(id: JobId, location: &str) -> Self {
        Self::new(HandleErrorKind::Unknown, format!("no job {id} was ever stored in {location}"))
    }

    fn gone(id: JobId, location: &str) -> Self {
        let message = format!("job {id} is not in {location} any more: it ended, and the time it is kept has passed");
        Self::new(HandleErrorKind::Gone, message)
    }

    fn other_task(id: JobId, stored: &str, asked: &str) -> Self {
        Self::new(HandleErrorKind::OtherTask, format!("job {id} is a job of task `{stored}`, not of `{asked}`"))
    }

    fn undecodable(id: JobId, task: &str, why: &str) -> Self {
        let message = format!("the stored arguments of job {id} are not those of task `{task}`: {why}");
        Self::new(HandleErrorKind::Undecodable, message)
    }

    /// Whether the text is no id.
    #[must_use]
    pub fn is_not_an_id(&self) -> bool {
        self.kind == HandleErrorKind::NotAnId
    }

    /// Whether no such job was ever stored.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.kind == HandleErrorKind::Unknown
    }

    /// Whether the job is another task's.
    #[must_use]
    pub fn is_other_task(&self) -> bool {
        self.kind == HandleErrorKind::OtherTask
    }

    /// Whether its arguments can't be decoded.
    #[must_use]
    pub fn is_undecodable(&self) -> bool {
        self.kind == HandleErrorKind::Undecodable
    }

    /// Whether the job ended and was pruned.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.kind == HandleErrorKind::Gone
    }

    /// Whether the storage could not be asked.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.kind == HandleErrorKind::Storage
    }
}

impl From<StorageError> for HandleError {
    fn from(error: StorageError) -> Self {
        Self { kind: HandleErrorKind::Storage, message: error.to_string(), source: Some(error) }
    }
}

impl fmt::Display for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for HandleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        queue_storage::debug_as_text("HandleError", self, f)
    }
}

impl std::error::Error for HandleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().and_then(std::error::Error::source)
    }
}
