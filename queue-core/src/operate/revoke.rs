//! Revoking: jobs that are cancelled when they come to run.

use queue_storage::model::{JobId, Key, NameError, QueueName, Shard, Tag, TaskName};
use queue_storage::storage::{Control, Revocation, StorageError};

use crate::client::Client;
use crate::draft::Eta;
use crate::task::Task;

/// Which jobs are to be cancelled when they come to run: for [`Client::revoke`].
///
/// Each is cancelled the moment a worker would take it, with the reason *revoked*; jobs of the same sort that are enqueued
/// later are too, for as long as it holds.
///
/// ```
/// # use std::time::Duration;
/// # use queue_core::{Client, Revoke, Context, Task, TaskError};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Report {}
/// # impl Task for Report { type Output = (); const NAME: &'static str = "report";
/// #   async fn run(self, _: Context) -> Result<(), TaskError> { Ok(()) } }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
/// # let client = Client::memory();
/// client.revoke(Revoke::task::<Report>().until(Duration::from_secs(3_600))).await?;
/// assert!(client.restore(Revoke::task::<Report>()).await?);
/// client.revoke(Revoke::tag("customer:7").queue("mail")).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it revokes nothing until it is handed to `client.revoke(..)`"]
pub struct Revoke {
    what: What,
    tag: Option<String>,
    key: Option<String>,
    queue: Option<String>,
    until: Option<Eta>,
    next_only: bool,
}

#[derive(Clone, Debug)]
enum What {
    /// The names of a task, and its own queue.
    Task(Vec<&'static str>, &'static str),
    Job(JobId),
    /// Any, with the tag.
    Any,
}

impl Revoke {
    fn new(what: What) -> Self {
        Self { what, tag: None, key: None, queue: None, until: None, next_only: false }
    }

    /// The jobs of a task, in the task's own queue unless another is named.
    pub fn task<T: Task>() -> Self {
        let names = std::iter::once(&T::NAME).chain(T::ALIASES).copied().collect();
        Self::new(What::Task(names, T::OPTIONS.queue))
    }

    /// One job, stored or not; where it is not stored and its queue is not known yet, [name the queue](Self::queue).
    pub fn job(id: JobId) -> Self {
        Self::new(What::Job(id))
    }

    /// The jobs with a tag, in every queue known now unless one is named.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self::new(What::Any).tagged(tag)
    }

    /// Only those of them with this tag.
    pub fn tagged(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// The jobs with a key, unique or of a limit, as it is stored (see [`Limit::key_of`](crate::Limit::key_of) and
    /// [`Unique::key_of`](crate::Unique::key_of)), in every queue known now unless one is named.
    pub fn key(key: impl Into<String>) -> Self {
        let mut one = Self::new(What::Any);
        one.key = Some(key.into());
        one
    }

    /// In this queue.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// Until a moment, or for a [`Duration`](std::time::Duration), by this client's clock. Default until it is restored.
    pub fn until(mut self, eta: impl Into<Eta>) -> Self {
        self.until = Some(eta.into());
        self
    }

    /// Only the next of them that comes to run, in each queue.
    pub fn next(mut self) -> Self {
        self.next_only = true;
        self
    }

    /// The revocations it comes to: one for each name of the task.
    fn revocations(&self, client: &Client) -> Result<Vec<Revocation>, NameError> {
        let mut common = Revocation::default();
        common.tag = self.tag.as_ref().map(Tag::new).transpose()?;
        common.key = self.key.as_ref().map(Key::new).transpose()?;
        common.until = self.until.map(|eta| eta.moment(client.clock().now()));
        common.next_only = self.next_only;
        match &self.what {
            What::Any => {}
            What::Job(id) => common.job = Some(*id),
            What::Task(names, _) => {
                let named = |name: &&str| {
                    let mut one = common.clone();
                    one.task = Some(TaskName::new(name)?);
                    Ok(one)
                };
                return names.iter().map(named).collect();
            }
        }
        Ok(vec![common])
    }

    /// Where it is said.
    async fn shards(&self, client: &Client) -> Result<Vec<Shard>, StorageError> {
        let of = |name: &str| Ok(vec![Shard::of(QueueName::new(name).map_err(invalid)?)]);
        match (&self.queue, &self.what) {
            (Some(queue), _) => of(queue),
            (None, What::Task(_, queue)) => of(queue),
            (None, What::Any) => client.storage().shards().await,
            (None, What::Job(id)) => {
                let mut homes = client.storage().shards().await?;
                homes.retain(|shard| shard.tag() == id.home_tag());
                match homes.is_empty() {
                    true => Err(StorageError::invalid(format!(
                        "no queue known in {} can hold job {id}: name its queue with `Revoke::job(id).queue(..)`",
                        client.location()
                    ))),
                    false => Ok(homes),
                }
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape `map_err` wants")]
fn invalid(error: NameError) -> StorageError {
    StorageError::invalid(error.to_string())
}

impl Client {
    /// From now on, cancels jobs of this sort when they come to run. Saying it again replaces it.
    ///
    /// # Errors
    /// The storage can't be asked, a name is none, no queue is known that could hold the job, or a queue holds too many
    /// pauses and revocations.
    pub async fn revoke(&self, what: Revoke) -> Result<(), StorageError> {
        self.change_revocations(&what, Control::Revoke).await.map(drop)
    }

    /// Ends a revocation of the same sort of jobs; whether there was one. What it has cancelled stays cancelled: revive it.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub async fn restore(&self, what: Revoke) -> Result<bool, StorageError> {
        self.change_revocations(&what, Control::Restore).await
    }

    async fn change_revocations(&self, what: &Revoke, change: fn(Revocation) -> Control) -> Result<bool, StorageError> {
        let changes: Vec<_> = what.revocations(self).map_err(invalid)?.into_iter().map(change).collect();
        self.control(&what.shards(self).await?, &changes).await
    }
}
