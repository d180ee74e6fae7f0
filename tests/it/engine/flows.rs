//! Jobs tied together: groups, joins, diamonds, handlers, several queues.

use std::sync::Arc;
use std::time::Duration;

use queue::{
    Client, Counts, EndReason, Failed, Flow, JobId, State, Storage, TaskError, TaskResultExt, Worker, group, join,
    task, tasks,
};
use queue_storage::conformance::invariants;

use super::ends::running;
use super::worker;
use crate::support::saboteur::{Call, Saboteur};
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    a_group_hands_on_in_its_order,
    a_group_is_awaited_as_a_list,
    a_chord_of_thousands,
    an_empty_group_hands_on_an_empty_list,
    an_empty_group_needs_no_queue_of_its_own,
    groups_of_groups_of_pipelines,
    unlike_calls_side_by_side,
    a_diamond,
    a_step_takes_the_output_of_any_earlier_one,
    a_dead_member_cancels_the_callback,
    ends_are_told,
    ends_are_told_from_queue_to_queue,
    told_and_untold_side_by_side,
    a_failure_handler_runs_when_it_is_needed,
    a_completion_handler_runs_either_way,
    a_group_in_another_queue,
    what_is_called_off_across_queues,
    a_flow_is_called_off,
    members_arrive_as_they_end,
    handles_are_there_before,
    the_tree_is_read_back,
    what_can_t_be_a_flow_is_refused,
    a_flow_is_one_flow_however_often_it_is_enqueued,
    a_flow_from_a_job_that_has_ended,
    a_pipeline_costs_no_more_calls_than_its_jobs,
    flows_complete_whoever_is_dropped,
);

#[task]
pub(super) async fn number(n: u64) -> Result<u64, TaskError> {
    Ok(n)
}

#[task]
pub(super) async fn sum(all: Vec<u64>, plus: u64) -> Result<u64, TaskError> {
    Ok(all.iter().sum::<u64>() + plus)
}

#[task]
async fn list(all: Vec<u64>) -> Result<Vec<u64>, TaskError> {
    Ok(all)
}

#[task]
async fn flat(all: Vec<Vec<u64>>) -> Result<String, TaskError> {
    Ok(format!("{all:?}"))
}

#[task]
pub(super) async fn double(n: u64) -> Result<u64, TaskError> {
    Ok(n * 2)
}

#[task]
pub(super) async fn text(n: u64) -> Result<String, TaskError> {
    Ok(format!("<{n}>"))
}

#[task]
pub(super) async fn pair(both: (u64, String)) -> Result<String, TaskError> {
    Ok(format!("{}{}", both.0, both.1))
}

#[task]
pub(super) async fn note_length(text: String) -> Result<u64, TaskError> {
    Ok(text.len() as u64)
}

#[task]
async fn shown(three: (u64, String, Vec<u64>)) -> Result<String, TaskError> {
    Ok(format!("{three:?}"))
}

#[task]
pub(super) async fn fails(n: u64) -> Result<u64, TaskError> {
    Err(TaskError::from(format!("not {n}"))).fatal()
}

/// What a failure says, without ids.
pub(super) fn told(failed: &Failed) -> String {
    let (task, state) = (failed.task().unwrap(), failed.state().unwrap());
    format!("{state} {task}: {}", failed.message().unwrap_or("-"))
}

#[task]
pub(super) async fn ends(all: Vec<Result<u64, Failed>>) -> Result<String, TaskError> {
    let one = |end: &Result<u64, Failed>| match end {
        Ok(n) => n.to_string(),
        Err(failed) => told(failed),
    };
    Ok(all.iter().map(one).collect::<Vec<_>>().join(", "))
}

#[task]
async fn either(both: (Result<u64, Failed>, u64)) -> Result<String, TaskError> {
    Ok(format!("{} {}", both.0.is_ok(), both.1))
}

#[task]
pub(super) async fn alert(failed: Failed, channel: String) -> Result<String, TaskError> {
    Ok(format!("{channel}: {}", told(&failed)))
}

#[task]
async fn note(end: Result<u64, Failed>) -> Result<String, TaskError> {
    Ok(end.map_or_else(|failed| told(&failed), |n| format!("ended with {n}")))
}

fn all() -> queue::TaskList {
    tasks![number, sum, list, flat, double, text, pair, note_length, shown, fails, ends, either, alert, note]
}

pub(super) async fn state(place: &Place, id: JobId) -> (State, Option<EndReason>) {
    let job = place.client.job(id).await.unwrap().found().unwrap();
    (job.state, job.reason)
}

async fn a_group_hands_on_in_its_order(place: Place) {
    let members = group((0..10u64).map(|n| number::new(n).priority(if n % 2 == 0 { 5 } else { 0 })));
    let chord = members.then(list::after()).enqueue(&place.client).await.unwrap();
    assert_eq!(running(&place, all(), chord.wait(PATIENCE)).await.unwrap(), (0..10).collect::<Vec<_>>());
}

async fn a_group_is_awaited_as_a_list(place: Place) {
    let squares = group((0..5u64).map(number::new)).enqueue(&place.client).await.unwrap();
    assert_eq!((squares.len(), squares.result().await.unwrap()), (5, None));
    assert_eq!(running(&place, all(), squares.wait(PATIENCE)).await.unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(squares.handles()[3].result().await.unwrap(), Some(3));
    assert_eq!(squares.status().await.unwrap().to_string(), "completed: 5 of 5 completed");
    assert_eq!((squares.tree().await.unwrap().nodes.len(), squares.retry().await.unwrap().matched), (5, 0));
}

/// Stored in several calls, gathered in two tiers, and not one member starts before the last is stored.
async fn a_chord_of_thousands(place: Place) {
    let chord = group((0..2_345u64).map(number::new)).then(sum::after(5u64)).enqueue(&place.client).await.unwrap();
    assert_eq!(running(&place, all(), chord.wait(PATIENCE)).await.unwrap(), 2_345 * 2_344 / 2 + 5);
    let counts = place.client.counts("default").await.unwrap();
    assert_eq!((counts.live(), counts.ended.total()), (0, counts.ended.completed));
}

async fn an_empty_group_hands_on_an_empty_list(place: Place) {
    let none = group(Vec::<queue::Call<number>>::new());
    let chord = none.clone().then(sum::after(3u64)).enqueue(&place.client).await.unwrap();
    let inner =
        group([none.clone(), group([number::new(1u64)])]).then(flat::after()).enqueue(&place.client).await.unwrap();
    let alone = none.enqueue(&place.client).await.unwrap();
    assert_eq!(alone.result().await.unwrap(), Some(Vec::new()));
    assert!(alone.as_completed().next().await.is_none());
    let both = async { (chord.wait(PATIENCE).await.unwrap(), inner.wait(PATIENCE).await.unwrap()) };
    assert_eq!(running(&place, all(), both).await, (3, "[[], [1]]".to_owned()));
}

/// A worker of the queue that the flow is in does all of it.
async fn an_empty_group_needs_no_queue_of_its_own(place: Place) {
    let none = group(Vec::<queue::Call<number>>::new());
    let rows = [none.clone(), group([number::new(1u64).queue("slow")])];
    let beside = group(rows).then(flat::after().queue("slow")).enqueue(&place.client).await.unwrap();
    let alone = group([none.clone(), none]).then(flat::after().queue("slow")).enqueue(&place.client).await.unwrap();
    let worker = worker(&place, all()).queue("slow").build().unwrap();
    let both = async {
        assert_eq!(beside.wait(PATIENCE).await.unwrap(), "[[], [1]]");
        assert_eq!(alone.wait(PATIENCE).await.unwrap(), "[[], []]");
    };
    worker.run_until(both).await.unwrap();
    assert_eq!(place.client.counts("default").await.unwrap().enqueued, 0);
}

async fn groups_of_groups_of_pipelines(place: Place) {
    let row = |from: u64| group((from..from + 3).map(|n| number::new(n).then(double::after())));
    let rows = group([row(0), row(10)]).then(flat::after()).enqueue(&place.client).await.unwrap();
    let nested = group((0..4u64).map(|n| row(n).then(sum::after(0u64)))).then(sum::after(1u64));
    let nested = nested.then(double::after()).enqueue(&place.client).await.unwrap();
    let both = async { (rows.wait(PATIENCE).await.unwrap(), nested.wait(PATIENCE).await.unwrap()) };
    assert_eq!(
        running(&place, all(), both).await,
        ("[[0, 2, 4], [20, 22, 24]]".to_owned(), 2 * (6 + 12 + 18 + 24 + 1))
    );
}

async fn unlike_calls_side_by_side(place: Place) {
    let three = join((number::new(1u64), text::new(2u64), group([number::new(3u64), number::new(4u64)])));
    let flow = three.then(shown::after()).enqueue(&place.client).await.unwrap();
    let alone = join((number::new(5u64), text::new(6u64))).enqueue(&place.client).await.unwrap();
    let both = async { (flow.wait(PATIENCE).await.unwrap(), alone.wait(PATIENCE).await.unwrap()) };
    assert_eq!(running(&place, all(), both).await, (r#"(1, "<2>", [3, 4])"#.to_owned(), (5, "<6>".to_owned())));
}

async fn a_diamond(place: Place) {
    let top = number::new(21u64);
    let sides = join((top.clone().then(double::after()), top.clone().then(text::after())));
    let bottom = sides.then(pair::after());
    assert_eq!((bottom.ids().len(), bottom.ids()[0]), (4, top.id()));
    let bottom = bottom.enqueue(&place.client).await.unwrap();
    assert_eq!(running(&place, all(), bottom.wait(PATIENCE)).await.unwrap(), "42<21>");
    assert_eq!(place.client.counts("default").await.unwrap().enqueued, 4);
}

async fn a_step_takes_the_output_of_any_earlier_one(place: Place) {
    let first = number::new(3u64);
    let third = first.clone().then(double::after()).then(text::after());
    let last = join((first, third)).then(pair::after()).enqueue(&place.client).await.unwrap();
    assert_eq!(running(&place, all(), last.wait(PATIENCE)).await.unwrap(), "3<6>");
}

async fn a_dead_member_cancels_the_callback(place: Place) {
    let bad = fails::new(4u64);
    let members = (0..150u64).map(|n| number::new(n).then(double::after())).chain([bad.clone().then(double::after())]);
    let chord = group(members).then(sum::after(0u64)).then(text::after()).enqueue(&place.client).await.unwrap();
    let error = running(&place, all(), chord.wait(PATIENCE)).await.unwrap_err();
    assert!(error.is_cancelled() && error.culprit() == Some(bad.id()), "{error}");
    assert!(error.to_string().contains("of task `fails`") && error.to_string().contains("not 4"), "{error}");
    let status = chord.status().await.unwrap();
    assert_eq!((status.end, status.culprit), (Some(State::Cancelled), Some(bad.id())));
}

async fn ends_are_told(place: Place) {
    let few = group([number::new(1u64).settled(), fails::new(2u64).settled(), number::new(3u64).settled()]);
    let few = few.then(ends::after()).enqueue(&place.client).await.unwrap();
    let many = group((0..250u64).map(fails::new)).settled().then(ends::after()).enqueue(&place.client).await.unwrap();
    let called_off = number::new(9u64).delay(Duration::from_secs(3_600));
    let off = group([called_off.clone().settled()]).then(ends::after()).enqueue(&place.client).await.unwrap();
    place.client.cancel(called_off.id()).await.unwrap();
    running(&place, all(), async {
        assert_eq!(few.wait(PATIENCE).await.unwrap(), "1, dead fails: not 2, 3");
        let told = many.wait(PATIENCE).await.unwrap();
        let expected: Vec<_> = (0..250).map(|n| format!("dead fails: not {n}")).collect();
        assert_eq!(told, expected.join(", "));
        assert_eq!(off.wait(PATIENCE).await.unwrap(), "cancelled number: -");
    })
    .await;
}

/// What is told is how the job ended that is to blame, not what stood for it here.
async fn ends_are_told_from_queue_to_queue(place: Place) {
    let members = [
        fails::new(1u64).into_flow(),
        fails::new(2u64).queue("slow").into_flow(),
        fails::new(3u64).queue("slow").then(double::after().queue("far")),
        number::new(4u64).queue("far").into_flow(),
    ];
    let flow = group(members).settled().then(ends::after()).enqueue(&place.client).await.unwrap();
    running_queues(&place, async {
        let told = "dead fails: not 1, dead fails: not 2, dead fails: not 3, 4";
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), told);
    })
    .await;
}

async fn told_and_untold_side_by_side(place: Place) {
    let flow = join((fails::new(1u64).settled(), number::new(2u64))).then(either::after());
    let flow = flow.enqueue(&place.client).await.unwrap();
    assert_eq!(running(&place, all(), flow.wait(PATIENCE)).await.unwrap(), "false 2");
}

async fn a_failure_handler_runs_when_it_is_needed(place: Place) {
    let (needed, idle, of_group) = (alert::after("ops"), alert::after("ops"), alert::after("all"));
    let handles = [needed.handle(&place.client), of_group.handle(&place.client)];
    let idle_id = idle.id();
    let bad = fails::new(1u64).then(double::after()).on_failure(needed).enqueue(&place.client).await.unwrap();
    let good = number::new(1u64).then(double::after()).on_failure(idle).enqueue(&place.client).await.unwrap();
    let members = group([number::new(1u64).into_flow(), fails::new(5u64).into_flow()])
        .on_failure(of_group)
        .then(sum::after(0u64));
    members.enqueue(&place.client).await.unwrap();
    running(&place, all(), async {
        assert!(bad.wait(PATIENCE).await.unwrap_err().is_cancelled());
        assert_eq!(good.wait(PATIENCE).await.unwrap(), 2);
        assert_eq!(handles[0].wait(PATIENCE).await.unwrap(), "ops: dead fails: not 1");
        assert_eq!(handles[1].wait(PATIENCE).await.unwrap(), "all: dead fails: not 5");
        eventually("the idle one ends", async || (state(&place, idle_id).await.0.is_end()).then_some(())).await;
    })
    .await;
    assert_eq!(state(&place, idle_id).await, (State::Cancelled, Some(EndReason::NotNeeded)));
}

async fn a_completion_handler_runs_either_way(place: Place) {
    let (after_good, after_bad) = (note::after(), note::after());
    let handles = [after_good.handle(&place.client), after_bad.handle(&place.client)];
    number::new(4u64).on_complete(after_good).enqueue(&place.client).await.unwrap();
    fails::new(4u64).then(double::after()).on_complete(after_bad).enqueue(&place.client).await.unwrap();
    running(&place, all(), async {
        assert_eq!(handles[0].wait(PATIENCE).await.unwrap(), "ended with 4");
        assert_eq!(handles[1].wait(PATIENCE).await.unwrap(), "dead fails: not 4");
    })
    .await;
}

/// Runs workers of three queues beside `body`.
async fn running_queues<T>(place: &Place, body: impl Future<Output = T>) -> T {
    let worker = worker(place, all()).queue("default").queue("slow").queue("far").build().unwrap();
    let mut result = None;
    worker.run_until(async { result = Some(body.await) }).await.unwrap();
    result.unwrap()
}

/// Waits until nothing is left in any queue: a relay is done only once its courier has said that what it told has arrived.
async fn nothing_left(place: &Place) -> Counts {
    let left = async || {
        let mut all = Counts::default();
        for queue in ["default", "slow", "far"] {
            all.add(&place.client.counts(queue).await.unwrap());
        }
        (all.live() == 0).then_some(all)
    };
    running_queues(place, eventually("nothing is left", left)).await
}

async fn a_group_in_another_queue(place: Place) {
    let members = |count: u64| group((0..count).map(|n| number::new(n).queue(if n % 7 == 3 { "far" } else { "slow" })));
    let mixed = members(250).then(sum::after(0u64)).then(double::after().queue("far"));
    let mixed = mixed.enqueue(&place.client).await.unwrap();
    let alike = group((0..230u64).map(|n| number::new(n).queue("slow"))).then(list::after());
    let alike = alike.enqueue(&place.client).await.unwrap();
    running_queues(&place, async {
        assert_eq!(mixed.wait(PATIENCE).await.unwrap(), 250 * 249);
        assert_eq!(alike.wait(PATIENCE).await.unwrap(), (0..230).collect::<Vec<_>>());
    })
    .await;
    nothing_left(&place).await;
}

async fn what_is_called_off_across_queues(place: Place) {
    let first = number::new(1u64).queue("slow").delay(Duration::from_secs(3_600));
    let alarm = alert::after("off").queue("far");
    let told = alarm.handle(&place.client);
    let flow = first.clone().then(double::after()).on_failure(alarm).enqueue(&place.client).await.unwrap();
    place.client.cancel(first.id()).await.unwrap();
    running_queues(&place, async {
        let error = flow.wait(PATIENCE).await.unwrap_err();
        assert!(error.is_cancelled() && error.culprit() == Some(first.id()), "{error}");
        assert_eq!(told.wait(PATIENCE).await.unwrap(), "off: cancelled number: -");
    })
    .await;
}

async fn a_flow_is_called_off(place: Place) {
    let alarm = alert::after("never");
    let alarm_id = alarm.id();
    let members = (0..120u64).map(|n| number::new(n).delay(Duration::from_secs(3_600)));
    let flow = group(members).then(sum::after(0u64)).on_failure(alarm).enqueue(&place.client).await.unwrap();
    let report = flow.cancel().await.unwrap();
    assert_eq!((report.matched, report.done), (122, 122), "tasks, not what ties them together: {report}");
    let counts = place.client.counts("default").await.unwrap();
    assert_eq!((counts.live(), counts.ended.cancelled), (0, 124), "members, two gathers, callback, handler");
    assert_eq!(state(&place, alarm_id).await, (State::Cancelled, Some(EndReason::Requested)));
    assert_eq!(flow.cancel().await.unwrap().matched, 0);
}

async fn members_arrive_as_they_end(place: Place) {
    let first = number::new(10u64).delay(Duration::from_millis(400)).into_flow();
    let members = [first, fails::new(11u64).into_flow(), number::new(12u64).then(double::after())];
    let members = group(members).enqueue(&place.client).await.unwrap();
    let mut arrivals = members.as_completed();
    running(&place, all(), async {
        let mut places = Vec::new();
        while let Some((at, end)) = arrivals.next().await {
            match end {
                Ok(n) => assert_eq!(n, [10, 0, 24][at]),
                Err(error) => assert!(at == 1 && error.is_dead(), "{error}"),
            }
            places.push(at);
        }
        assert_eq!(places.len(), 3);
        assert_eq!(places[2], 0, "it was due last: {places:?}");
    })
    .await;
    let many = group((0..350u64).map(number::new)).enqueue(&place.client).await.unwrap();
    running(&place, all(), async {
        let (mut arrivals, mut seen) = (many.as_completed(), vec![false; 350]);
        while let Some((at, n)) = arrivals.next().await {
            assert_eq!(n.unwrap(), at as u64);
            assert!(!std::mem::replace(&mut seen[at], true), "{at} came twice");
        }
        assert!(!seen.contains(&false));
    })
    .await;
}

async fn handles_are_there_before(place: Place) {
    let (first, second) = (number::new(5u64), double::after());
    let handles = (first.handle(&place.client), second.handle(&place.client));
    let flow = first.then(second).enqueue(&place.client).await.unwrap();
    assert_eq!(handles.1.id(), flow.id());
    assert_eq!(running(&place, all(), flow.wait(PATIENCE)).await.unwrap(), 10);
    assert_eq!((handles.0.result().await.unwrap(), handles.1.result().await.unwrap()), (Some(5), Some(10)));
}

async fn the_tree_is_read_back(place: Place) {
    let top = number::new(1u64).queue("slow");
    let alarm = alert::after("x");
    let (top_id, alarm_id) = (top.id(), alarm.id());
    let sides = join((top.clone().then(double::after()), top.then(text::after())));
    let flow = sides.then(pair::after()).on_failure(alarm).enqueue(&place.client).await.unwrap();
    let tree = place.client.flow::<()>(flow.id()).tree().await.unwrap();
    let shown: Vec<_> =
        tree.nodes.iter().map(|node| (node.job.task.as_str(), node.after.len(), node.handler)).collect();
    assert_eq!(shown.len(), 5, "{tree}");
    assert_eq!(shown[0], ("number", 0, false));
    for (task, count) in [("double", 1), ("text", 1), ("pair", 2)] {
        assert!(shown.contains(&(task, count, false)), "{tree}");
    }
    assert_eq!(
        (shown[4], tree.nodes[4].job.id, &tree.nodes[4].after[..]),
        (("alert", 1, true), alarm_id, &[flow.id()][..])
    );
    assert!(tree.nodes.iter().filter(|node| node.after == [top_id]).count() == 2, "{tree}");
    assert!(tree.to_string().contains(&format!("waiting    pair {} in `default` after ", flow.id())), "{tree}");
    assert_eq!(flow.status().await.unwrap().total(), 4);
}

async fn what_can_t_be_a_flow_is_refused(place: Place) {
    let call = number::new(1u64);
    let clash = join((call.clone(), call.priority(3).then(text::after())));
    let error = clash.enqueue(&place.client).await.unwrap_err();
    assert_eq!(error.code(), "enqueue.clash");
    assert!(error.to_string().contains("two calls of `number` in this flow"), "{error}");
    let unique = || number::new(1u64).unique(queue::Unique::args());
    let error = group([unique(), unique()]).enqueue(&place.client).await.unwrap_err();
    assert_eq!(error.code(), "enqueue.unique_step");
    let error = number::new(1u64).then(double::after().unique(queue::Unique::key("one")));
    let error = error.enqueue(&place.client).await.unwrap_err();
    assert!(error.to_string().starts_with("`double` is unique, but not the one job with which"), "{error}");
    assert_eq!(place.client.counts("default").await.unwrap().enqueued, 0);
    let first = unique().then(double::after()).enqueue(&place.client).await.unwrap();
    let kept_out = unique().then(double::after()).enqueue(&place.client).await.unwrap_err();
    assert!(kept_out.is_rejected());
    assert_eq!(running(&place, all(), first.wait(PATIENCE)).await.unwrap(), 2);
}

async fn a_flow_is_one_flow_however_often_it_is_enqueued(place: Place) {
    let members = group((0..150u64).map(|n| number::new(n).queue(if n < 75 { "slow" } else { "default" })));
    let flow = members.then(sum::after(0u64));
    let (first, second) = tokio::join!(flow.clone().enqueue(&place.client), flow.clone().enqueue(&place.client));
    assert_eq!(first.unwrap().id(), second.unwrap().id());
    let third = flow.enqueue(&place.client).await.unwrap();
    assert_eq!(running_queues(&place, third.wait(PATIENCE)).await.unwrap(), 150 * 149 / 2);
    let mut query = queue::JobQuery::default();
    query.task = Some("number".parse().unwrap());
    assert_eq!(place.client.jobs(&query).await.unwrap().jobs.len(), 150);
    let counts = nothing_left(&place).await;
    assert_eq!(counts.ended.total(), counts.ended.completed);
}

/// A call may have been enqueued before, and have ended, when a flow is built on it; in another queue, too.
async fn a_flow_from_a_job_that_has_ended(place: Place) {
    let first = number::new(4u64).queue("slow").keep(Duration::from_secs(3_600));
    let before = first.clone().enqueue(&place.client).await.unwrap();
    running_queues(&place, async {
        before.wait(PATIENCE).await.unwrap();
        let flow = first.then(double::after()).enqueue(&place.client).await.unwrap();
        assert_eq!(flow.wait(PATIENCE).await.unwrap(), 8);
    })
    .await;
}

/// Enqueue and exchange calls, with one job at a time.
async fn a_pipeline_costs_no_more_calls_than_its_jobs(place: Place) {
    let mut calls = Vec::new();
    for tied in [true, false] {
        let line = Saboteur::new(Arc::clone(&place.storage), []);
        let client = Client::new(Arc::clone(&line) as Arc<dyn Storage>);
        if tied {
            let flow = number::new(1u64).then(double::after()).then(double::after());
            flow.enqueue(&client).await.unwrap();
        } else {
            for n in 0..3u64 {
                number::new(n).enqueue(&client).await.unwrap();
            }
        }
        Worker::builder(&client).tasks(all()).concurrency(1).build().unwrap().run_until_drained().await.unwrap();
        calls.push(line.calls(Call::Enqueue) + line.calls(Call::Exchange));
    }
    assert!(calls[0] <= calls[1], "{calls:?}");
    assert_eq!(place.client.counts("default").await.unwrap().ended.completed, 6);
}

/// Workers that are dropped in the middle of everything, as a process that is killed leaves its jobs: each flow completes
/// all the same, with every value in its place.
async fn flows_complete_whoever_is_dropped(place: Place) {
    const MEMBERS: u64 = 2_000;
    let mut rng = fastrand::Rng::new();
    let keep = Duration::from_secs(3_600);
    let crowd = group((0..MEMBERS).map(|n| number::new(n).keep(keep))).then(list::after());
    let crowd = crowd.enqueue(&place.client).await.unwrap();
    let row = |from: u64| group((from..from + 12).map(number::new)).then(sum::after(0u64));
    let nested = group((0..12).map(row)).then(list::after()).enqueue(&place.client).await.unwrap();
    let mut small = Vec::new();
    for n in 0..10u64 {
        let queue = |at: u64| if (n + at).is_multiple_of(2) { "default" } else { "slow" };
        let chain = |flow: Flow<u64>, at| flow.then(double::after().queue(queue(at)));
        small.push((1..10).fold(number::new(n).into_flow(), chain).then(text::after()));
        let top = number::new(n).queue(queue(0));
        let sides = join((top.clone().then(double::after().queue(queue(1))), top.then(text::after())));
        small.push(sides.then(pair::after()));
    }
    let mut ends = Vec::new();
    for flow in small {
        ends.push(flow.enqueue(&place.client).await.unwrap());
    }
    let builder = || worker(&place, all()).queue("default").queue("slow").lease(Duration::from_millis(300));
    for _ in 0..20 {
        let life = builder().crash_limit(None).build().unwrap();
        let dies = Duration::from_millis(rng.u64(5..60));
        assert!(tokio::time::timeout(dies, life.run_until(std::future::pending())).await.is_err());
    }
    let last = builder().crash_limit(None).build().unwrap();
    last.run_until(async {
        assert_eq!(crowd.wait(PATIENCE).await.unwrap(), (0..MEMBERS).collect::<Vec<_>>());
        let rows: Vec<u64> = (0..12).map(|from| (from..from + 12).sum()).collect();
        assert_eq!(nested.wait(PATIENCE).await.unwrap(), rows);
        for (n, pair) in (0u64..).zip(ends.chunks(2)) {
            assert_eq!(pair[0].wait(PATIENCE).await.unwrap(), format!("<{}>", n << 9));
            assert_eq!(pair[1].wait(PATIENCE).await.unwrap(), format!("{}<{n}>", n * 2));
        }
        let nothing = async || {
            let counts = [place.client.counts("default").await.unwrap(), place.client.counts("slow").await.unwrap()];
            counts.iter().all(|counts| counts.live() == 0).then_some(counts)
        };
        let counts = eventually("nothing waits", nothing).await;
        assert!(counts.iter().all(|counts| counts.ended.completed == counts.ended.total()), "{counts:?}");
    })
    .await
    .unwrap();
    invariants(&*place.storage).await;
}
