//! A worker that can't work is refused when it is built, for every reason at once.

use queue::{Client, Data, TaskError, Worker, task, tasks};

#[derive(Debug)]
struct Mailer;

#[task]
async fn send(mailer: Data<Mailer>, prefix: Data<str>) -> Result<(), TaskError> {
    let _ = (mailer, prefix);
    Ok(())
}

mod other {
    use queue::{TaskError, task};

    #[task(name = "send")]
    pub async fn resend() -> Result<(), TaskError> {
        Ok(())
    }
}

#[tokio::test]
async fn every_problem_is_named() {
    let client = Client::memory();
    let error = Worker::builder(&client)
        .tasks(tasks![send, other::resend])
        .queue("a b")
        .queue("mail")
        .queue("mail")
        .concurrency(0)
        .poll_every(std::time::Duration::ZERO)
        .data(1_u8)
        .data(2_u8)
        .build()
        .unwrap_err();
    let text = error.to_string();
    assert_eq!(error.problems().len(), 8, "{text}");
    for part in [
        "the worker can't be built, for 8 reasons:",
        "`concurrency` is 0",
        "`poll_every` is 0",
        "`a b` can't name a queue: it holds ' '",
        "queue `mail` is named twice",
        "two tasks go by the name `send`: `send` (tests/it/engine/builds.rs:",
        "give one of two different tasks another name with `#[task(name = \"…\")]`",
        "takes `Data<it::engine::builds::Mailer>`, which the worker was not given: call `.data(..)`",
        "takes `Data<str>`",
        "`.data(..)` was called twice with a `u8`: wrap one of them in a type of its own",
    ] {
        assert!(text.contains(part), "{part}\nnot in\n{text}");
    }
}

#[tokio::test]
async fn what_is_given_is_enough() {
    let builder = Worker::builder(&Client::memory()).tasks(tasks![send]).data(Mailer);
    assert!(builder.data_arc::<str>("re: ".into()).build().is_ok());
}

#[tokio::test]
async fn a_worker_without_tasks_is_refused() {
    let text = Worker::builder(&Client::memory()).build().unwrap_err().to_string();
    assert_eq!(text, "the worker can't be built: it has no tasks: call `.tasks(tasks![…])`");
}
