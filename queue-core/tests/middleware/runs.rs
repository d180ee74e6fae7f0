//! Around runs.

use std::time::Duration;

use queue_core::{
    Client, Context, Done, FailureKind, JobHandle, Middleware, NextRun, RunEnd, State, TaskError, Verdict, async_trait,
};

use super::{Diary, PATIENCE, Say, worker};

/// Notes runs in and out, and refuses those that ask for it by a header.
struct Door(&'static str, Diary);

/// Dropped when a run ends, however.
struct Guard(Diary);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

#[async_trait]
impl Middleware for Door {
    async fn run(&self, ctx: &Context, next: NextRun) -> Result<Done, TaskError> {
        let _guard = Guard(self.1.clone());
        assert_eq!(ctx.id(), next.context().id());
        self.1.note(format!("{} in {}", self.0, next.arguments()?["word"]));
        match ctx.header("door") {
            Some("fatal") => return Err(TaskError::fatal("locked")),
            Some("cancel") => return Err(TaskError::cancel("not today")),
            Some("snooze") => return Err(TaskError::snooze(Duration::from_secs(3_600))),
            Some("retry") => return Err(TaskError::retry_in("later", Duration::from_secs(3_600))),
            Some("io") => return Err(std::io::Error::other("classified").into()),
            Some("panic") => panic!("the door panics"),
            Some("calms") => return next.run().await.map_err(|_| TaskError::cancel("calmed")),
            _ => {}
        }
        let ended = next.run().await;
        self.1.note(format!("{} out {}", self.0, ended.is_ok()));
        ended
    }
}

async fn run(diary: &Diary, call: queue_core::Call<Say>, until: &[State]) -> (JobHandle<String>, State) {
    let client = Client::memory();
    let job = call.enqueue(&client).await.unwrap();
    let worker = worker(&client, diary)
        .classify::<std::io::Error>(|_| Verdict::Cancel)
        .middleware(Door("a", diary.clone()))
        .middleware(Door("b", diary.clone()));
    let reached = async {
        loop {
            let state = job.status().await.unwrap().state().unwrap();
            if until.contains(&state) {
                return state;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut state = None;
    let ended = async { state = Some(tokio::time::timeout(PATIENCE, reached).await.expect("it gets there")) };
    worker.build().unwrap().run_until(ended).await.unwrap();
    (job, state.unwrap())
}

const ENDS: [State; 3] = [State::Completed, State::Dead, State::Cancelled];

#[tokio::test]
async fn the_first_is_outermost() {
    let diary = Diary::default();
    let (job, _) = run(&diary, Say::new("hm"), &ENDS).await;
    assert_eq!(job.result().await.unwrap().unwrap(), "hm", "the result passes undecoded");
    let expected = ["a in \"hm\"", "b in \"hm\"", "hm", "b out true", "dropped", "a out true", "dropped"];
    assert_eq!(diary.lines(), expected);
    let diary = Diary::default();
    run(&diary, Say::new("fail"), &ENDS).await;
    assert!(diary.lines().contains(&"a out false".to_owned()));
}

#[tokio::test]
async fn a_refusal_counts_as_if_the_task_had_said_it() {
    for (word, state, text) in [
        ("fatal", State::Dead, "locked"),
        ("cancel", State::Cancelled, "not today"),
        ("snooze", State::Scheduled, ""),
        ("retry", State::Retrying, "later"),
        ("io", State::Cancelled, "classified"),
        ("panic", State::Retrying, "the door panics"),
    ] {
        let diary = Diary::default();
        let until = [&ENDS[..], &[State::Scheduled, State::Retrying]].concat();
        let (job, reached) = run(&diary, Say::new("hm").retries(1).header("door", word), &until).await;
        assert_eq!(reached, state, "{word}");
        let facts = job.status().await.unwrap().facts().unwrap().clone();
        assert_eq!(facts.failure.map(|failure| failure.message).unwrap_or_default(), text, "{word}");
        assert!(!diary.lines().contains(&"hm".to_owned()), "the task did not run: {word}");
    }
}

#[tokio::test]
async fn an_error_may_be_turned_into_another() {
    let diary = Diary::default();
    let (_, state) = run(&diary, Say::new("panic").header("door", "calms"), &ENDS).await;
    assert_eq!(state, State::Dead, "a panic is no error");
    let (job, state) = run(&diary, Say::new("fail").header("door", "calms"), &ENDS).await;
    assert_eq!(state, State::Cancelled);
    let facts = job.status().await.unwrap().facts().unwrap().clone();
    assert_eq!(facts.failure.unwrap().message, "calmed");
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_dropped_with_its_middleware() {
    let diary = Diary::default();
    let (job, state) = run(&diary, Say::new("hang").timeout(Duration::from_millis(20)), &ENDS).await;
    assert_eq!(state, State::Dead);
    let facts = job.status().await.unwrap().facts().unwrap().clone();
    assert_eq!(facts.failure.unwrap().kind, FailureKind::Timeout);
    let lines = diary.lines();
    assert_eq!(lines.iter().filter(|line| *line == "dropped").count(), 2, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("out")), "{lines:?}");
}

#[tokio::test]
async fn before_and_after() {
    let (client, diary) = (Client::memory(), Diary::default());
    let ends = diary.clone();
    let worker = worker(&client, &diary)
        .after_run(move |ctx, end| {
            let diary = ends.clone();
            async move {
                let said = match end {
                    RunEnd::Succeeded => "fine".to_owned(),
                    RunEnd::Failed { failure, verdict } => format!("{}: {failure}: {verdict:?}", failure.kind),
                    _ => unreachable!(),
                };
                diary.note(format!("{} after: {said}", ctx.task()));
            }
        })
        .before_run(|ctx| async move { ctx.header("in").map(drop).ok_or_else(|| TaskError::fatal("not in")) });
    let calls = [("hm", true), ("fail", true), ("panic", true), ("hm", false)];
    let calls = calls.map(|(word, is_in)| if is_in { Say::new(word).header("in", "1") } else { Say::new(word) });
    let jobs = client.enqueue_all(calls).await.unwrap();
    let all = async {
        for job in &jobs {
            let _ = job.wait(PATIENCE).await;
        }
    };
    worker.concurrency(1).build().unwrap().run_until(all).await.unwrap();
    let expected = [
        "hm",
        "say after: fine",
        "fail",
        "say after: error: no: Policy",
        "panic",
        "say after: panic: panicked: it panics: Policy",
        "say after: error: not in: Fatal",
    ];
    assert_eq!(diary.lines(), expected);
    assert!(jobs[2].result().await.unwrap_err().is_dead(), "the panic goes on");
}
