//! What a job returned, for whoever does not know its type.

use queue_storage::model::{Job, State};

use super::JobHandle;
use super::error::{WaitError, WaitErrorKind};
use crate::client::Client;
use crate::json;

/// The most bytes that are put together to be shown.
const MAX_SHOWN: usize = 16 * 1024 * 1024;

impl Client {
    /// What a stored job returned, as JSON text, whatever its task; `null` of one that returns nothing, `None` of one that
    /// has not completed. Bytes are a list of numbers. What a gather stands for is put together for it, up to 16 MiB.
    ///
    /// ```
    /// # use queue_core::{Call, Client, Context, Task, TaskError, tasks};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Add { a: u64, b: u64 }
    /// # impl Task for Add { type Output = u64; const NAME: &'static str = "add";
    /// #   async fn run(self, _: Context) -> Result<u64, TaskError> { Ok(self.a + self.b) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), queue_core::BoxError> {
    /// # let client = Client::immediate(tasks![Add]).build()?;
    /// let added = Call::new(Add { a: 1, b: 2 }).enqueue(&client).await?;
    /// let job = client.job(added.id()).await?.found().ok_or("it is kept")?;
    /// assert_eq!(client.result_json(&job).await?.as_deref(), Some("3"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What it returned can't be shown as JSON, or what it gathers can't be put together; the storage can't be asked.
    pub async fn result_json(&self, job: &Job) -> Result<Option<String>, WaitError> {
        if job.state != State::Completed {
            return Ok(None);
        }
        let handle = JobHandle::<()>::new(self.clone(), job.id);
        let bytes = handle.returned(job, MAX_SHOWN).await?;
        json::to_text(&bytes).map(Some).map_err(|why| handle.error(WaitErrorKind::Undecodable(why)))
    }
}
