//! What people do to stored jobs: edits, revivals, results that are taken, moves, dead letters.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::{BoxError, Cancelled, Context, DeadLetter, EndReason, JobEdit, Limit, State, TaskError, task, tasks};
use tokio::sync::mpsc;

use super::ends::running;
use super::worker;
use crate::support::saboteur::{Call, Lose, Saboteur};
use crate::support::{PATIENCE, Place, eventually, on_every_storage};

on_every_storage!(
    a_job_at_rest_is_changed,
    what_runs_or_has_ended_is_not_changed,
    arguments_are_replaced_and_headers_stay,
    a_step_with_an_argument_of_its_own_takes_no_result,
    a_result_is_taken_once,
    a_lost_reply_to_a_taker,
    an_ended_job_is_revived,
    what_another_job_needs_is_not_revived,
    a_dead_letter_is_mended_and_revived,
    dead_letters_come_newest_first,
    selections_find_what_they_say,
    a_selection_that_can_not_be,
    many_are_revived_with_other_arguments,
    each_keeps_its_own_headers,
    the_hook_hears_of_each_death_once,
    a_hook_that_panics_harms_nobody,
    a_job_moves_to_another_queue,
    a_move_that_was_interrupted,
    a_job_moves_to_one_queue_only,
    a_job_moves_with_its_limits,
    what_was_moved_and_revived_has_its_own_times,
    what_can_not_be_moved,
);

const HOUR: Duration = Duration::from_secs(3_600);

#[task]
async fn greet(name: String, ctx: Context) -> Result<String, TaskError> {
    Ok(format!("hello {name} of {}", ctx.header("tenant").unwrap_or("nobody")))
}

#[task]
async fn shout(text: String, mark: String) -> Result<String, TaskError> {
    Ok(format!("{text}{mark}"))
}

#[task]
async fn picky(to: String, blob: Vec<u8>) -> Result<usize, TaskError> {
    if to.is_empty() { Err("nobody to send it to".into()) } else { Ok(blob.len()) }
}

/// Stays until it is cancelled.
#[task]
async fn stays(ctx: Context) -> Result<(), TaskError> {
    ctx.cancelled().await;
    Ok(())
}

async fn a_job_at_rest_is_changed(place: Place) {
    let job = greet::new("a").enqueue(&place.client).await.unwrap();
    job.reschedule(HOUR).await.unwrap();
    assert_eq!(job.status().await.unwrap().state(), Some(State::Scheduled));
    job.set_priority(7).await.unwrap();
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.state, facts.priority), (State::Scheduled, 7));
    job.edit(JobEdit::new().now().priority(-1)).await.unwrap();
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.state, facts.priority), (State::Ready, -1));
}

async fn what_runs_or_has_ended_is_not_changed(place: Place) {
    let (runs, ended) = (stays::new(), greet::new("a"));
    let ended = ended.enqueue(&place.client).await.unwrap();
    running(&place, tasks![stays, greet], async {
        ended.wait(PATIENCE).await.unwrap();
        let runs = runs.enqueue(&place.client).await.unwrap();
        let begun = async || (runs.status().await.unwrap().state() == Some(State::Running)).then_some(());
        eventually("it runs", begun).await;
        for error in [runs.set_priority(1).await.unwrap_err(), runs.reschedule(HOUR).await.unwrap_err()] {
            assert_eq!(error.refused_in(), Some(State::Running));
            let text = format!("job {} can't be changed: it runs; cancel it, or wait until it has ended", runs.id());
            assert_eq!(error.to_string(), text);
        }
        assert!(runs.delete().await.unwrap_err().is_refused());
        assert_eq!(runs.revive().await.unwrap_err().refused_in(), Some(State::Running));
        runs.cancel().await.unwrap();
    })
    .await;
    let error = ended.set_priority(1).await.unwrap_err();
    let text = format!("job {} can't be changed: it has ended (completed); revive it to run it again", ended.id());
    assert_eq!((error.refused_in(), error.to_string()), (Some(State::Completed), text));
}

async fn arguments_are_replaced_and_headers_stay(place: Place) {
    let call = greet::new("a").header("tenant", "acme").delay(HOUR);
    let job = call.enqueue(&place.client).await.unwrap();
    job.replace_arguments(greet { name: "b".into() }).await.unwrap();
    job.edit(JobEdit::new().now()).await.unwrap();
    assert_eq!(running(&place, tasks![greet], job.wait(PATIENCE)).await.unwrap(), "hello b of acme");
    let large = job.revive_with(JobEdit::new().arguments(greet { name: "x".repeat(2_000_000) })).await.unwrap_err();
    assert!(large.is_invalid() && large.to_string().contains("ClientBuilder::payload_limit"), "{large}");
}

async fn a_step_with_an_argument_of_its_own_takes_no_result(place: Place) {
    let job = greet::new("a").then(shout::after("!")).enqueue(&place.client).await.unwrap();
    job.job().replace_arguments(shout { text: "quiet".into(), mark: ".".into() }).await.unwrap();
    assert_eq!(running(&place, tasks![greet, shout], job.wait(PATIENCE)).await.unwrap(), "quiet.");
}

async fn a_result_is_taken_once(place: Place) {
    let job = greet::new("a").enqueue(&place.client).await.unwrap();
    running(&place, tasks![greet], job.wait(PATIENCE)).await.unwrap();
    let (one, other) = tokio::join!(job.take(PATIENCE), job.take(PATIENCE));
    let (got, missed) = if one.is_ok() { (one, other) } else { (other, one) };
    assert_eq!(got.unwrap(), "hello a of nobody");
    assert!(missed.unwrap_err().is_gone());
    assert!(job.wait(PATIENCE).await.unwrap_err().is_gone());
}

async fn a_lost_reply_to_a_taker(place: Place) {
    let job = greet::new("a").enqueue(&place.client).await.unwrap();
    running(&place, tasks![greet], job.wait(PATIENCE)).await.unwrap();
    let line = Saboteur::new(Arc::clone(&place.storage), [(Call::Act, 1, Lose::Request)]);
    let job = queue::Client::new(line).handle::<greet>(job.id()).await.unwrap();
    assert_eq!(job.take(PATIENCE).await.unwrap(), "hello a of nobody", "it asks again");
}

async fn an_ended_job_is_revived(place: Place) {
    let job = greet::new("a").enqueue(&place.client).await.unwrap();
    assert_eq!(job.revive().await.unwrap_err().refused_in(), Some(State::Ready));
    assert_eq!(job.cancel().await.unwrap(), Cancelled::Done);
    job.revive().await.unwrap();
    assert_eq!(running(&place, tasks![greet], job.wait(PATIENCE)).await.unwrap(), "hello a of nobody");
    job.revive_with(JobEdit::new().delay(HOUR).priority(3)).await.unwrap();
    let facts = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.state, facts.priority, facts.attempts, facts.history.len()), (State::Scheduled, 3, 0, 1));
}

async fn what_another_job_needs_is_not_revived(place: Place) {
    let first = greet::new("a");
    let id = first.id();
    let step = first.then(shout::after("!").delay(HOUR)).enqueue(&place.client).await.unwrap();
    let first = place.client.handle::<greet>(id).await.unwrap();
    running(&place, tasks![greet], first.wait(PATIENCE)).await.unwrap();
    assert_eq!(step.job().status().await.unwrap().state(), Some(State::Scheduled));
    let error = first.revive().await.unwrap_err();
    assert_eq!(error.refused_in(), Some(State::Completed));
    assert!(error.to_string().contains("but a live job needs what it returned"), "{error}");
}

async fn a_dead_letter_is_mended_and_revived(place: Place) {
    let job = picky::new("", vec![0, 255]).enqueue(&place.client).await.unwrap();
    running(&place, tasks![picky], job.wait(PATIENCE)).await.unwrap_err();
    let letter = place.client.dead_letter(job.id()).await.unwrap().unwrap();
    assert_eq!((letter.task.as_str(), letter.queue.as_str()), ("picky", "default"));
    assert_eq!(letter.arguments.as_deref(), Some(r#"{"to":"","blob":[0,255]}"#));
    assert_eq!(
        (letter.error.as_deref(), letter.reason.clone()),
        (Some("nobody to send it to"), Some(EndReason::Exhausted))
    );
    assert_eq!((letter.attempts.len(), letter.attempts[0].end.as_str()), (1, "failed"));
    for (text, why) in [("[]", "by name, and this is a list"), ("{", "this is no JSON")] {
        let error = job.revive_with_json(text).await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains(why), "{error}");
    }
    job.revive_with_json(r#"{"to":"a@b.c","blob":[1,2,3]}"#).await.unwrap();
    assert_eq!(running(&place, tasks![picky], job.wait(PATIENCE)).await.unwrap(), 3);
    assert_eq!(place.client.dead_letter(job.id()).await.unwrap(), None);
}

/// Jobs of `picky` that have died in this order.
async fn dead(place: &Place, count: usize) -> Vec<queue::JobId> {
    let mut ids = Vec::new();
    let worker = worker(place, tasks![picky]).build().unwrap();
    let body = async {
        for n in 0..count {
            let job = picky::new("", vec![n as u8]).enqueue(&place.client).await.unwrap();
            job.wait(PATIENCE).await.unwrap_err();
            ids.push(job.id());
        }
    };
    worker.run_until(body).await.unwrap();
    ids
}

async fn dead_letters_come_newest_first(place: Place) {
    let mut ids = dead(&place, 5).await;
    ids.reverse();
    let mut letters = place.client.dead_letters().letters();
    let mut seen = Vec::new();
    while let Some(letter) = letters.next().await {
        seen.push(letter.unwrap().id);
    }
    assert_eq!(seen, ids);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = place.client.dead_letters().task::<picky>().page(after.as_ref(), 2).await.unwrap();
        paged.extend(page.jobs.iter().map(|job| job.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, ids);
}

async fn selections_find_what_they_say(place: Place) {
    let ids = dead(&place, 3).await;
    greet::new("a").enqueue(&place.client).await.unwrap();
    greet::new("b").queue("other").tag("acme").enqueue(&place.client).await.unwrap();
    let all = || place.client.select();
    assert_eq!(all().count().await.unwrap(), 5);
    assert_eq!(all().queue("other").count().await.unwrap(), 1);
    assert_eq!(all().queue("nowhere").count().await.unwrap(), 0);
    assert_eq!(all().state(State::Dead).count().await.unwrap(), 3);
    assert_eq!(all().task::<greet>().count().await.unwrap(), 2);
    assert_eq!(all().task_named("picky").reason(EndReason::Exhausted).count().await.unwrap(), 3);
    assert_eq!(all().reason(EndReason::Fatal).count().await.unwrap(), 0);
    assert_eq!(all().tag("acme").count().await.unwrap(), 1);
    let who = place.client.dead_letter(ids[0]).await.unwrap().unwrap().attempts[0].worker;
    assert_eq!(all().worker(who).count().await.unwrap(), 3);
    let first = place.client.dead_letter(ids[0]).await.unwrap().unwrap().enqueued_at;
    assert_eq!(all().until(first).count().await.unwrap(), 0);
    assert_eq!(all().from(first).count().await.unwrap(), 5);
    let purged = place.client.queue("default").purge().await.unwrap();
    assert_eq!((purged.done, purged.done_by_state[&State::Dead], purged.done_by_state[&State::Cancelled]), (4, 3, 1));
    assert_eq!(all().count().await.unwrap(), 1);
}

async fn a_selection_that_can_not_be(place: Place) {
    let wrong = place.client.select().queue("a b").state(State::Ready);
    assert!(wrong.count().await.unwrap_err().is_invalid());
    let error = wrong.cancel().await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().starts_with("`a b` can't name a queue"), "{error}");
    assert!(wrong.jobs().next().await.unwrap().unwrap_err().is_invalid());
    let cursor = queue::Cursor("nonsense".into());
    assert!(place.client.select().page(Some(&cursor), 0).await.unwrap_err().is_invalid());
}

async fn many_are_revived_with_other_arguments(place: Place) {
    dead(&place, 7).await;
    let letters = place.client.dead_letters().task::<picky>();
    let error = letters.revive_with(JobEdit::new().arguments_json("7")).await.unwrap_err();
    assert!(error.is_invalid() && error.report().matched == 0, "{error}");
    let edit = JobEdit::new().arguments_json(r#"{"to":"a@b.c","blob":[]}"#);
    let report = letters.revive_with(edit).await.unwrap();
    assert_eq!((report.done, report.done_by_state[&State::Ready]), (7, 7));
    running(&place, tasks![picky], async {
        let all_done =
            async || (place.client.select().state(State::Completed).count().await.unwrap() == 7).then_some(());
        eventually("all have completed", all_done).await;
    })
    .await;
}

async fn each_keeps_its_own_headers(place: Place) {
    let calls = ["acme", "umbrella", "acme"].map(|tenant| greet::new("a").delay(HOUR).header("tenant", tenant));
    let jobs = place.client.enqueue_all(calls).await.unwrap();
    let edit = JobEdit::new().arguments(greet { name: "b".into() }).now();
    assert_eq!(place.client.select().task::<greet>().edit(edit).await.unwrap().done, 3);
    running(&place, tasks![greet], async {
        for (job, tenant) in jobs.iter().zip(["acme", "umbrella", "acme"]) {
            assert_eq!(job.wait(PATIENCE).await.unwrap(), format!("hello b of {tenant}"));
        }
    })
    .await;
}

async fn the_hook_hears_of_each_death_once(place: Place) {
    let (said, mut heard) = mpsc::unbounded_channel::<DeadLetter>();
    let worker = worker(&place, tasks![picky, greet]).on_dead(move |letter| {
        let said = said.clone();
        async move { said.send(letter).unwrap() }
    });
    worker
        .build()
        .unwrap()
        .run_until(async {
            greet::new("a").enqueue(&place.client).await.unwrap().wait(PATIENCE).await.unwrap();
            let jobs = (0..20).map(|n| picky::new("", vec![n]));
            let jobs = place.client.enqueue_all(jobs).await.unwrap();
            for job in &jobs {
                job.wait(PATIENCE).await.unwrap_err();
            }
            let mut ids = Vec::new();
            for _ in &jobs {
                let letter = tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
                assert_eq!(letter.error.as_deref(), Some("nobody to send it to"));
                ids.push(letter.id);
            }
            ids.sort();
            let mut wanted: Vec<_> = jobs.iter().map(queue::JobHandle::id).collect();
            wanted.sort();
            assert_eq!(ids, wanted);
        })
        .await
        .unwrap();
    // The worker has stopped, and with it every call of the hook.
    assert!(heard.recv().await.is_none(), "no death is told twice");
}

async fn a_hook_that_panics_harms_nobody(place: Place) {
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    let worker = worker(&place, tasks![picky]).on_dead(move |letter| {
        *counted.lock().unwrap() += 1;
        assert!(letter.arguments.as_deref() != Some(r#"{"to":"","blob":[0]}"#), "before there is a future");
        async { panic!("within it") }
    });
    worker
        .build()
        .unwrap()
        .run_until(async {
            for n in 0..2 {
                picky::new("", vec![n]).enqueue(&place.client).await.unwrap().wait(PATIENCE).await.unwrap_err();
            }
        })
        .await
        .unwrap();
    assert_eq!(*calls.lock().unwrap(), 2);
}

async fn a_job_moves_to_another_queue(place: Place) {
    let call = greet::new("a").header("tenant", "acme").priority(4).delay(HOUR);
    let job = call.enqueue(&place.client).await.unwrap();
    let due = job.status().await.unwrap().facts().unwrap().due_at;
    let moved = job.move_to("other").await.unwrap();
    let facts = moved.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.queue.as_str(), facts.state, facts.priority, facts.due_at), ("other", State::Scheduled, 4, due));
    let old = job.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((old.state, old.reason), (State::Cancelled, Some(EndReason::Requested)));
    moved.edit(JobEdit::new().now()).await.unwrap();
    let worker = worker(&place, tasks![greet]).queue("other").build().unwrap();
    let result = async { assert_eq!(moved.wait(PATIENCE).await.unwrap(), "hello a of acme") };
    worker.run_until(result).await.unwrap();
    assert_eq!(job.move_to("other").await.unwrap().id(), moved.id(), "moved again, it is there already");
    assert_eq!(place.client.counts("other").await.unwrap().enqueued, 1);
}

async fn a_move_that_was_interrupted(place: Place) {
    moves_in_the_end(&place).await.unwrap();
}

async fn moves_in_the_end(place: &Place) -> Result<(), BoxError> {
    // Each step of a move is lost in turn: an act that holds it back, one that cancels it, the new job.
    for (call, nth, lose) in [
        (Call::Act, 1, Lose::Request),
        (Call::Act, 1, Lose::Reply),
        (Call::Act, 2, Lose::Request),
        (Call::Act, 2, Lose::Reply),
    ] {
        let job = greet::new("a").enqueue(&place.client).await?;
        let line = Saboteur::new(Arc::clone(&place.storage), [(call, nth, lose)]);
        let client = queue::Client::new(line);
        let error = client.move_job(job.id(), "other").await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        let moved = client.move_job(job.id(), "other").await?;
        let moved = place.client.handle::<greet>(moved).await?;
        assert_eq!(moved.status().await?.state(), Some(State::Ready), "{call:?} {nth} {lose:?}");
        assert_eq!(job.status().await?.state(), Some(State::Cancelled));
    }
    assert_eq!(place.client.counts("other").await?.enqueued, 4);
    Ok(())
}

async fn a_job_moves_to_one_queue_only(place: Place) {
    let job = greet::new("a").enqueue(&place.client).await.unwrap();
    let moved = job.move_to("other").await.unwrap();
    let error = job.move_to("third").await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("moved to `other`"), "{error}");
    assert!(error.to_string().contains(&moved.id().to_string()), "{error}");
    assert_eq!(place.client.counts("third").await.unwrap().enqueued, 0);
    moved.move_to("third").await.unwrap();
    for (queue, live) in [("default", 0), ("other", 0), ("third", 1)] {
        assert_eq!(place.client.counts(queue).await.unwrap().live(), live, "{queue}");
    }
}

async fn a_job_moves_with_its_limits(place: Place) {
    let job = greet::new("a").lock("ledger").limit(Limit::concurrency(7)).enqueue(&place.client).await.unwrap();
    let moved = job.move_to("other").await.unwrap();
    let stored = async |id| place.client.job(id).await.unwrap().found().unwrap();
    let (old, new) = (stored(job.id()).await, stored(moved.id()).await);
    assert_eq!((new.limits.len(), new.limits), (2, old.limits));
}

async fn what_was_moved_and_revived_has_its_own_times(place: Place) {
    let job = greet::new("a").delay(HOUR).deadline(HOUR * 2).enqueue(&place.client).await.unwrap();
    job.move_to("other").await.unwrap();
    job.revive().await.unwrap();
    let moved = job.move_to("third").await.unwrap();
    let facts = moved.status().await.unwrap().facts().cloned().unwrap();
    assert_eq!((facts.state, facts.deadline_at), (State::Ready, None));
}

async fn what_can_not_be_moved(place: Place) {
    let first = greet::new("a");
    let id = first.id();
    let step = first.then(shout::after("!")).enqueue(&place.client).await.unwrap();
    let error = step.job().move_to("other").await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("takes the results of other jobs"), "{error}");
    assert!(place.client.move_job(id, "default").await.unwrap_err().is_invalid());
    assert!(place.client.move_job(id, "a b").await.unwrap_err().is_invalid());
    place.client.cancel(id).await.unwrap();
    assert_eq!(place.client.move_job(id, "other").await.unwrap_err().refused_in(), Some(State::Cancelled));
    let runs = stays::new().enqueue(&place.client).await.unwrap();
    running(&place, tasks![stays], async {
        let begun = async || (runs.status().await.unwrap().state() == Some(State::Running)).then_some(());
        eventually("it runs", begun).await;
        assert_eq!(runs.move_to("other").await.unwrap_err().refused_in(), Some(State::Running));
        assert!(!runs.status().await.unwrap().facts().unwrap().cancel_requested, "nobody asked it to stop");
        runs.cancel().await.unwrap();
    })
    .await;
    assert_eq!(place.client.counts("other").await.unwrap().enqueued, 0);
}
