//! Flows that failed, or were called off, and are tried again: once is enough, whatever happened to them.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use queue::clock::ManualClock;
use queue::{
    Client, EndReason, Failed, Flow, FlowHandle, JobEdit, JobHandle, State, TaskError, TaskResultExt, group, join,
    task, tasks,
};

use super::flows::{alert, double, fails, number, pair, state, sum, text, told};
use super::worker;
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    from_where_it_failed,
    over_queues,
    after_it_was_called_off,
    after_it_was_called_off_at_work,
    while_one_of_it_stops,
    not_while_one_of_it_does_not_stop,
    after_several_were_called_off_by_hand,
    a_large_flow_after_it_was_called_off,
    a_step_that_was_told_waits_for_the_next_end,
    what_was_gathered_is_told_as_it_was,
    what_expired_while_it_waited,
    a_flow_that_completed_is_left_alone,
    behind_a_step_that_completed_nothing_runs_again,
    handlers_do_not_come_back,
    a_handler_still_to_run_is_told_first,
    a_handler_afar_is_told_first,
    handlers_of_a_job_stored_before_are_found,
    what_another_flow_needs_stays,
    nothing_is_left_of_a_flow_of_which_something_is_gone,
);

const HOUR: Duration = Duration::from_secs(3_600);

/// Fails until someone says otherwise, outside of any storage.
#[task]
async fn fails_until(file: String) -> Result<u64, TaskError> {
    if Path::new(&file).exists() { Ok(7) } else { Err(TaskError::from("not yet")).fatal() }
}

/// Fails whatever it is told, until someone says otherwise.
#[task]
async fn survey(all: Vec<Result<u64, Failed>>, file: String) -> Result<String, TaskError> {
    if !Path::new(&file).exists() {
        return Err(TaskError::from("not yet")).fatal();
    }
    let one = |end: &Result<u64, Failed>| end.as_ref().map_or_else(told, u64::to_string);
    Ok(all.iter().map(one).collect::<Vec<_>>().join(", "))
}

#[task]
async fn tell(end: Result<u64, Failed>) -> Result<String, TaskError> {
    Ok(end.map_or_else(|failed| told(&failed), |n| n.to_string()))
}

/// Runs until it is asked to stop and someone lets it; from then on it succeeds.
#[task]
async fn lingers(file: String, ctx: queue::Context) -> Result<u64, TaskError> {
    if Path::new(&file).exists() {
        return Ok(7);
    }
    ctx.cancelled().await;
    while !Path::new(&file).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err("told to stop".into())
}

/// What lets tasks succeed.
struct Switch {
    _dir: tempfile::TempDir,
    file: PathBuf,
}

impl Switch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { file: dir.path().join("go"), _dir: dir }
    }

    fn flip(&self) {
        std::fs::write(&self.file, "").unwrap();
    }

    fn name(&self) -> String {
        self.file.to_str().unwrap().to_owned()
    }

    fn flaky(&self, queue: &str) -> queue::Call<fails_until> {
        fails_until::new(self.name()).queue(queue)
    }
}

/// Runs a worker of three queues beside `body`.
async fn running<T>(place: &Place, body: impl Future<Output = T>) -> T {
    let tasks = tasks![number, sum, double, text, pair, fails, alert, fails_until, survey, tell, lingers];
    let worker = worker(place, tasks).queue("default").queue("slow").queue("far").build().unwrap();
    let mut result = None;
    worker.run_until(async { result = Some(body.await) }).await.unwrap();
    result.unwrap()
}

/// Tries a flow again, all of it.
async fn retry<Out>(flow: &FlowHandle<Out>) -> u64 {
    let report = flow.retry().await.unwrap();
    assert_eq!((report.refused, report.gone, report.done), (0, 0, report.matched), "{report}");
    report.done
}

async fn from_where_it_failed(place: Place) {
    let switch = Switch::new();
    let flaky = switch.flaky("default");
    let members = (0..130u64).map(|n| number::new(n).into_flow()).chain([flaky.clone().into_flow()]);
    let flow = group(members).then(sum::after(0u64)).then(text::after()).enqueue(&place.client).await.unwrap();
    running(&place, async {
        assert_eq!(flow.wait(PATIENCE).await.unwrap_err().culprit(), Some(flaky.id()));
        switch.flip();
        retry(&flow).await;
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), format!("<{}>", 130 * 129 / 2 + 7));
    })
    .await;
    assert_eq!(retry(&flow).await, 0, "nothing failed");
}

async fn over_queues(place: Place) {
    let switch = Switch::new();
    let sides = join((number::new(1u64).queue("slow"), switch.flaky("far").then(text::after())));
    let flow = sides.then(pair::after()).enqueue(&place.client).await.unwrap();
    running(&place, async {
        for _ in 0..3 {
            assert!(flow.wait(PATIENCE).await.unwrap_err().is_cancelled());
            retry(&flow).await;
        }
        assert!(flow.wait(PATIENCE).await.unwrap_err().is_cancelled());
        switch.flip();
        retry(&flow).await;
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), "1<7>");
    })
    .await;
}

/// A pipeline, a group of two tiers, and one over queues; before anything of them ran, and with no worker to see it.
async fn after_it_was_called_off(place: Place) {
    let first = || number::new(2u64).delay(HOUR);
    let pipeline = first().then(double::after()).then(double::after()).enqueue(&place.client).await.unwrap();
    let members = (0..120u64).map(|n| number::new(n).delay(HOUR));
    let crowd = group(members).then(sum::after(0u64)).enqueue(&place.client).await.unwrap();
    let across =
        first().then(double::after().queue("slow")).then(double::after()).enqueue(&place.client).await.unwrap();
    for id in [pipeline.id(), crowd.id(), across.id()] {
        let flow = place.client.flow::<()>(id);
        let report = flow.cancel().await.unwrap();
        assert!(report.done > 0 && report.refused == 0, "{report}");
        assert_eq!(flow.status().await.unwrap().by_state.into_keys().collect::<Vec<_>>(), [State::Cancelled]);
    }
    assert_eq!((retry(&pipeline).await, retry(&crowd).await), (3, 120 + 1));
    running(&place, async {
        retry(&across).await;
        assert_eq!(pipeline.wait(PATIENCE).await.unwrap(), 8);
        assert_eq!(crowd.wait(PATIENCE).await.unwrap(), 120 * 119 / 2);
        assert_eq!(across.wait(PATIENCE).await.unwrap(), 8);
    })
    .await;
}

/// Called off while it runs in three queues: what had completed stays, and nothing is lost of it.
async fn after_it_was_called_off_at_work(place: Place) {
    let queue = |n: u64| ["default", "slow", "far"][(n % 3) as usize];
    for called_off in [0, 7, 23, 41] {
        let rows = group((0..60u64).map(|n| number::new(n).queue(queue(n)).then(double::after().queue(queue(n / 3)))));
        let flow = rows.then(sum::after(0u64).queue("slow")).enqueue(&place.client).await.unwrap();
        running(&place, async {
            let enough = async || {
                let status = flow.status().await.unwrap();
                (status.completed() >= called_off).then_some(())
            };
            eventually("some completed", enough).await;
            flow.cancel().await.unwrap();
            // One that ran while it was called off may have completed the flow all the same.
            let over = async || flow.status().await.unwrap().by_state.keys().all(|state| state.is_end()).then_some(());
            eventually("all ended", over).await;
            retry(&flow).await;
            assert_eq!(flow.wait(PATIENCE).await.unwrap(), 60 * 59, "{}", flow.tree().await.unwrap());
        })
        .await;
    }
}

/// A flow of which one job runs, until it is let go.
async fn lingering(place: &Place, switch: &Switch) -> (JobHandle<u64>, FlowHandle<u64>) {
    let slow = lingers::new(switch.name()).queue("slow").retries(0);
    let job = slow.handle(&place.client);
    let members = [number::new(1u64).into_flow(), slow.into_flow()];
    (job, group(members).then(sum::after(0u64)).enqueue(&place.client).await.unwrap())
}

async fn runs(job: &JobHandle<u64>) {
    let runs = async || (job.status().await.unwrap().state() == Some(State::Running)).then_some(());
    eventually("it runs", runs).await;
}

/// Its end would cancel what waits for it: the flow is put together again behind that.
async fn while_one_of_it_stops(place: Place) {
    let switch = Switch::new();
    let (job, flow) = lingering(&place, &switch).await;
    running(&place, async {
        runs(&job).await;
        assert_eq!(flow.cancel().await.unwrap().asked, 1);
        let let_go = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            switch.flip();
        };
        let (report, ()) = tokio::join!(flow.retry(), let_go);
        let report = report.unwrap();
        assert_eq!((report.refused, report.why.as_deref()), (0, None), "{report}");
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), 8, "{}", flow.tree().await.unwrap());
    })
    .await;
}

async fn not_while_one_of_it_does_not_stop(place: Place) {
    let switch = Switch::new();
    let (job, flow) = lingering(&place, &switch).await;
    let clock = ManualClock::new();
    let early = Client::builder(Arc::clone(&place.storage)).clock(Arc::new(clock.clone())).build();
    let early = early.flow::<u64>(flow.id());
    let tasks = tasks![number, sum, lingers];
    let worker = worker(&place, tasks).queue("default").queue("slow").cancel_grace(HOUR).build().unwrap();
    let body = async {
        runs(&job).await;
        flow.cancel().await.unwrap();
        let mut tried = pin!(early.retry());
        let report = loop {
            tokio::select! {
                biased;
                report = &mut tried => break report.unwrap(),
                () = tokio::task::yield_now() => clock.advance(Duration::from_millis(1)),
            }
        };
        assert_eq!((report.done, report.refused), (0, report.matched), "{report}");
        assert_eq!(report.refused_by_state[&State::Running], 1, "{report}");
        let why = format!("job {} of task `lingers` was asked to stop and still runs", job.id());
        assert!(report.to_string().contains(&why), "{report}");
        assert_eq!(flow.status().await.unwrap().end, Some(State::Cancelled));
        switch.flip();
        let said = job.wait(PATIENCE).await.unwrap_err().to_string();
        assert!(said.ends_with(" was cancelled: someone cancelled it: told to stop"), "{said}");
        retry(&flow).await;
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), 8);
    };
    worker.run_until(body).await.unwrap();
}

/// It is to be told how the job ended.
async fn what_another_flow_needs_stays(place: Place) {
    let (first, open) = (number::new(3u64).delay(HOUR), number::new(1u64).delay(HOUR));
    let told = group([first.clone().settled(), open.settled()]).then(survey::after("none"));
    told.enqueue(&place.client).await.unwrap();
    let flow = first.clone().then(double::after()).enqueue(&place.client).await.unwrap();
    place.client.cancel(first.id()).await.unwrap();
    let report = flow.retry().await.unwrap();
    let why =
        format!("1 refused (1 cancelled); job {} of task `number` stays as it is, as a job of another", first.id());
    assert!(report.to_string().contains(&why), "{report}");
}

async fn after_several_were_called_off_by_hand(place: Place) {
    let first = number::new(4u64).delay(HOUR);
    let (left, right) = (double::after(), text::after());
    let ids = [left.id(), right.id()];
    let sides = join((first.clone().then(left), first.then(right)));
    let flow = sides.then(pair::after()).enqueue(&place.client).await.unwrap();
    for id in ids {
        place.client.cancel(id).await.unwrap();
    }
    assert_eq!(flow.status().await.unwrap().by_state[&State::Scheduled], 1, "the first is as it was");
    assert_eq!(retry(&flow).await, 3);
    let tree = flow.tree().await.unwrap();
    place.client.edit(tree.nodes[0].job.id, JobEdit::new().now()).await.unwrap();
    assert_eq!(running(&place, flow.wait(PATIENCE)).await.unwrap(), "8<4>", "{tree}");
}

/// Stored behind a gate, which has opened long ago.
async fn a_large_flow_after_it_was_called_off(place: Place) {
    let members = (0..1_200u64).map(|n| number::new(n).delay(HOUR));
    let flow = group(members).then(sum::after(0u64)).enqueue(&place.client).await.unwrap();
    running(&place, async {
        flow.cancel().await.unwrap();
        assert!(flow.wait(PATIENCE).await.unwrap_err().is_cancelled());
        retry(&flow).await;
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), 1_200 * 1_199 / 2);
    })
    .await;
}

/// In one queue, and with its members in others.
async fn a_step_that_was_told_waits_for_the_next_end(place: Place) {
    for queues in [["default", "default"], ["slow", "far"], ["default", "far"]] {
        let switch = Switch::new();
        let members = group(queues.map(|queue| switch.flaky(queue)));
        let flow = members.settled().then(survey::after(switch.name())).enqueue(&place.client).await.unwrap();
        running(&place, async {
            assert!(flow.wait(PATIENCE).await.unwrap_err().is_dead());
            switch.flip();
            retry(&flow).await;
            assert_eq!(flow.wait(PATIENCE).await.unwrap(), "7, 7", "{queues:?}");
        })
        .await;
    }
}

/// More members than one job waits for are gathered, and the gather has completed with the ends that came.
async fn what_was_gathered_is_told_as_it_was(place: Place) {
    let switch = Switch::new();
    let members = (0..101u64).map(|n| if n == 50 { fails::new(n).into_flow() } else { number::new(n).into_flow() });
    let flow = group(members).settled().then(survey::after(switch.name())).enqueue(&place.client).await.unwrap();
    running(&place, async {
        assert!(flow.wait(PATIENCE).await.unwrap_err().is_dead());
        switch.flip();
        assert_eq!(retry(&flow).await, 1);
        assert!(flow.wait(PATIENCE).await.unwrap().contains("49, dead fails: not 50, 51"));
    })
    .await;
}

/// A deadline that has passed does not end it again.
async fn what_expired_while_it_waited(place: Place) {
    let passed = UNIX_EPOCH + HOUR;
    let first = number::new(3u64).delay(HOUR);
    let flow = first.clone().then(double::after().deadline(passed)).then(text::after());
    let flow = flow.enqueue(&place.client).await.unwrap();
    running(&place, async {
        let error = flow.wait(PATIENCE).await.unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        place.client.cancel(first.id()).await.unwrap();
        assert_eq!(retry(&flow).await, 3);
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), "<6>");
    })
    .await;
}

/// It was told of those that failed, and made something of it.
async fn a_flow_that_completed_is_left_alone(place: Place) {
    let switch = Switch::new();
    switch.flip();
    let bad = [fails::new(1u64), fails::new(2u64).queue("slow")];
    let flow = group(bad).settled().then(survey::after(switch.name())).enqueue(&place.client).await.unwrap();
    running(&place, async {
        let said = "dead fails: not 1, dead fails: not 2";
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), said);
        assert_eq!(retry(&flow).await, 0);
        assert_eq!(flow.result().await.unwrap().as_deref(), Some(said));
        assert_eq!(flow.status().await.unwrap().by_state[&State::Dead], 2);
    })
    .await;
}

async fn behind_a_step_that_completed_nothing_runs_again(place: Place) {
    let switch = Switch::new();
    let told = fails::new(1u64).settled().then(tell::after());
    let flow = join((switch.flaky("default"), told)).then(pair::after()).enqueue(&place.client).await.unwrap();
    running(&place, async {
        assert!(flow.wait(PATIENCE).await.unwrap_err().is_cancelled());
        let told = async || (flow.status().await.unwrap().completed() == 1).then_some(());
        eventually("the step was told", told).await;
        switch.flip();
        assert_eq!(retry(&flow).await, 2);
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), "7dead fails: not 1");
    })
    .await;
}

/// Neither those that ran, nor those that were not needed or were called off.
async fn handlers_do_not_come_back(place: Place) {
    let switch = Switch::new();
    let (alarm, off) = (alert::after("ops"), alert::after("never"));
    let (alarm_id, off_id) = (alarm.id(), off.id());
    let told = alarm.handle(&place.client);
    let flow = switch.flaky("default").on_failure(alarm).then(double::after()).enqueue(&place.client).await.unwrap();
    let idle =
        number::new(2u64).delay(HOUR).then(double::after()).on_failure(off).enqueue(&place.client).await.unwrap();
    idle.cancel().await.unwrap();
    running(&place, async {
        assert_eq!(told.wait(PATIENCE).await.unwrap(), "ops: dead fails_until: not yet");
        assert!(flow.wait(PATIENCE).await.unwrap_err().is_cancelled());
        switch.flip();
        assert_eq!((retry(&flow).await, retry(&idle).await), (2, 2));
        assert_eq!((flow.wait(PATIENCE).await.unwrap(), idle.wait(PATIENCE).await.unwrap()), (14, 4));
    })
    .await;
    assert_eq!(state(&place, alarm_id).await, (State::Completed, None));
    assert_eq!(state(&place, off_id).await, (State::Cancelled, Some(EndReason::Requested)));
}

/// It reads how the job ended: until it has, everything stays as it is, and the report says so.
async fn a_handler_still_to_run_is_told_first(place: Place) {
    let switch = Switch::new();
    let alarm = alert::after("ops").delay(HOUR);
    let told = alarm.handle(&place.client);
    let flow = switch.flaky("default").then(double::after()).on_failure(alarm).then(text::after());
    let flow = flow.enqueue(&place.client).await.unwrap();
    running(&place, async {
        assert!(flow.wait(PATIENCE).await.unwrap_err().is_cancelled());
        switch.flip();
        let report = flow.retry().await.unwrap();
        assert_eq!((report.matched, report.refused, report.done), (3, 3, 0), "{report}");
        assert_eq!((report.refused_by_state[&State::Cancelled], report.refused_by_state[&State::Dead]), (2, 1));
        let why = format!("job {} of task `alert` is still to be told how job ", told.id());
        assert!(report.to_string().contains(&why), "{report}");
        place.client.edit(told.id(), JobEdit::new().now()).await.unwrap();
        assert_eq!(told.wait(PATIENCE).await.unwrap(), "ops: dead fails_until: not yet");
        retry(&flow).await;
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), "<14>");
    })
    .await;
}

/// Tried again the moment it failed: what is on its way to a handler in another queue, where nobody works, says how it was.
async fn a_handler_afar_is_told_first(place: Place) {
    for _ in 0..5 {
        let switch = Switch::new();
        let note = tell::after().queue("nobody");
        let told = note.handle(&place.client);
        let flow = switch.flaky("default").on_complete(note).then(double::after());
        let flow = flow.enqueue(&place.client).await.unwrap();
        running(&place, async {
            assert!(flow.wait(PATIENCE).await.unwrap_err().is_cancelled());
            switch.flip();
            retry(&flow).await;
            assert_eq!(flow.wait(PATIENCE).await.unwrap(), 14);
        })
        .await;
        let late = worker(&place, tasks![tell]).queue("nobody").build().unwrap();
        late.run_until(async { assert!(told.wait(PATIENCE).await.unwrap().ends_with(": not yet")) }).await.unwrap();
    }
}

/// The job's own record knows nothing of them: those that follow it do.
async fn handlers_of_a_job_stored_before_are_found(place: Place) {
    let first = number::new(1u64).delay(HOUR);
    first.clone().enqueue(&place.client).await.unwrap();
    let (alarm, note) = (alert::after("never").queue("slow"), tell::after());
    let ids = [alarm.id(), note.id()];
    let flow: Flow<u64> = first.on_failure(alarm).on_complete(note).then(double::after());
    let flow = place.client.flow::<u64>(flow.enqueue(&place.client).await.unwrap().id());
    let tree = flow.tree().await.unwrap();
    assert_eq!(tree.nodes.iter().filter(|node| node.handler).count(), 2, "{tree}");
    assert_eq!(flow.status().await.unwrap().total(), 2);
    flow.cancel().await.unwrap();
    for id in ids {
        assert_eq!(state(&place, id).await, (State::Cancelled, Some(EndReason::Requested)));
    }
}

/// What can't be had any more is said to be refused, and what waits for it is cancelled as before.
async fn nothing_is_left_of_a_flow_of_which_something_is_gone(place: Place) {
    let client: &Client = &place.client;
    let first = fails::new(1u64);
    let flow = first.clone().then(double::after()).then(text::after()).enqueue(client).await.unwrap();
    running(&place, async {
        assert!(flow.wait(PATIENCE).await.unwrap_err().is_cancelled());
        client.delete(first.id()).await.unwrap();
        let report = flow.retry().await.unwrap();
        assert_eq!((report.matched, report.refused), (2, 1), "{report}");
        let why = format!("waited for job {}, which is not stored any more", first.id());
        assert!(report.to_string().contains(&why), "{report}");
        assert!(flow.wait(PATIENCE).await.unwrap_err().is_cancelled());
    })
    .await;
}
