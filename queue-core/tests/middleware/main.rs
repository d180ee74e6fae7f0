//! Code of the user's around enqueues, runs and workers, and what the log says of runs.

mod calls;
mod hooks;
mod logs;
mod runs;
#[cfg(feature = "tower")]
mod tower;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue_core::{Client, Context, Task, TaskError, Worker, WorkerBuilder, tasks};
use serde::{Deserialize, Serialize};

/// Long enough for anything that is going to happen; never waited out by a test that passes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happened, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Says its word, or does what that asks for.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Say {
    word: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

impl Say {
    fn new(word: &str) -> queue_core::Call<Self> {
        queue_core::Call::new(Self { word: word.to_owned(), password: None })
    }
}

impl Task for Say {
    type Output = String;
    const NAME: &'static str = "say";

    async fn run(self, ctx: Context) -> Result<String, TaskError> {
        if let Some(diary) = ctx.data::<Diary>() {
            diary.note(&self.word);
        }
        match &*self.word {
            "panic" => panic!("it panics"),
            "hang" => std::future::pending().await,
            "fail" => Err(std::io::Error::other("no").into()),
            _ => Ok(self.word),
        }
    }
}

fn worker(client: &Client, diary: &Diary) -> WorkerBuilder {
    Worker::builder(client).tasks(tasks![Say]).data(diary.clone())
}
