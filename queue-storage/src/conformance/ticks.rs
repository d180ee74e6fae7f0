//! Schedules: changed by compare-and-set, told when they are due, ticked once.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::notify::sleeper;
use super::races::views;
use super::stage::{DAY, HOUR, MINUTE, Stage, at_most, hear, secs};
use crate::model::{JobId, NewJob, ScheduleName, State, Timestamp, When};
use crate::storage::{
    Admission, Changed, Control, MAX_CLAIM_BYTES, MAX_ENQUEUE, MAX_TICKS, MAX_UPKEEP, ScheduleChange, SchedulePage,
    ScheduleQuery, ScheduleRecord, Scope, Ticked,
};

fn name(text: &str) -> ScheduleName {
    ScheduleName::new(text).expect("a name of a schedule")
}

/// The change that stores a schedule, which must not be there.
fn stores(text: &str, due: Option<Timestamp>) -> ScheduleChange {
    ScheduleChange::new(name(text), None, Some((due, Bytes::copy_from_slice(text.as_bytes()))))
}

/// The change of this record to be due then, with a job.
fn moves(record: &ScheduleRecord, due: Option<Timestamp>, jobs: Vec<NewJob>) -> ScheduleChange {
    let change = ScheduleChange::new(record.name.clone(), Some(record.version), Some((due, record.data.clone())));
    ScheduleChange { jobs, ..change }
}

fn removes(record: &ScheduleRecord) -> ScheduleChange {
    ScheduleChange::new(record.name.clone(), Some(record.version), None)
}

fn names(records: &[ScheduleRecord]) -> Vec<&str> {
    records.iter().map(|record| record.name.as_str()).collect()
}

fn applied() -> Changed {
    Changed::Applied(Vec::new())
}

impl Stage {
    pub(super) async fn tick_with(&self, changes: &[ScheduleChange]) -> Ticked {
        self.storage().tick(self.shard(), changes).await.expect("tick")
    }

    pub(super) async fn due(&self) -> Vec<ScheduleRecord> {
        self.tick_with(&[]).await.due
    }

    pub(super) async fn schedules(&self, query: ScheduleQuery) -> SchedulePage {
        self.storage().schedules(self.shard(), &query).await.expect("schedules")
    }

    /// Stores a schedule that is due so long from now.
    async fn set_schedule(&self, text: &str, due: Duration) -> ScheduleRecord {
        let at = self.tick_with(&[]).await.now + due;
        assert_eq!(self.tick_with(&[stores(text, Some(at))]).await.changed, [applied()]);
        self.schedule(text).await
    }

    async fn schedule(&self, text: &str) -> ScheduleRecord {
        let mut page = self.schedules(ScheduleQuery::Named(vec![name(text)])).await;
        page.schedules.pop().expect("the schedule is stored")
    }
}

/// What a schedule is stored with is shown again, byte for byte, by its name and on a page.
pub(super) async fn a_schedule_is_stored_as_it_came(stage: &Stage) {
    let now = stage.tick_with(&[]).await.now;
    let every_byte: Vec<u8> = (0..=255).collect();
    for (text, due, data) in [
        ("never", None, Bytes::new()),
        ("long-ago", Some(Timestamp::EPOCH), Bytes::from(every_byte)),
        ("später/x.y:z", Some(now + DAY), Bytes::from(vec![7; 100_000])),
    ] {
        let change = ScheduleChange::new(name(text), None, Some((due, data.clone())));
        assert_eq!(stage.tick_with(&[change]).await.changed, [applied()]);
        let stored = stage.schedule(text).await;
        assert_eq!((stored.due, stored.data), (due, data));
        assert!(stored.version >= u64::try_from(now.as_micros()).unwrap(), "{}", stored.version);
    }
    let all = stage.schedules(ScheduleQuery::After(None, 0)).await;
    assert_eq!((names(&all.schedules), all.next), (vec!["long-ago", "never", "später/x.y:z"], None));
    stage.assert_same_time(all.now, stage.now().await);
}

/// Of a change only the version it names is changed: an older one, one that is not there, or is there against its word,
/// changes nothing and takes no job in.
pub(super) async fn a_stale_change_changes_nothing(stage: &Stage) {
    let first = stage.set_schedule("x", HOUR).await;
    assert_eq!(stage.tick_with(&[stores("x", None)]).await.changed, [Changed::Stale]);
    let later = Some(first.due.unwrap() + HOUR);
    assert_eq!(stage.tick_with(&[moves(&first, later, Vec::new())]).await.changed, [applied()]);
    let second = stage.schedule("x").await;
    assert!(second.version > first.version);
    assert_eq!(second.due, later);
    let job = stage.job();
    for stale in [moves(&first, None, vec![job.clone()]), removes(&first)] {
        assert_eq!(stage.tick_with(&[stale]).await.changed, [Changed::Stale]);
    }
    assert_eq!(stage.schedule("x").await, second);
    assert_eq!(stage.counts().await.enqueued, 0);
    let stranger = ScheduleRecord::new(name("y"), first.version, None, Bytes::new());
    assert_eq!(
        stage.tick_with(&[removes(&stranger), moves(&stranger, None, vec![job])]).await.changed,
        [Changed::Stale, Changed::Stale]
    );
    assert_eq!(stage.counts().await.enqueued, 0);
}

/// One that was removed is gone, is due no more, and may be stored anew under another version.
pub(super) async fn a_removed_one_may_come_again(stage: &Stage) {
    let first = stage.set_schedule("x", MINUTE).await;
    assert_eq!(stage.tick_with(&[removes(&first)]).await.changed, [applied()]);
    assert_eq!(stage.schedules(ScheduleQuery::After(None, 0)).await.schedules, []);
    stage.advance(HOUR).await;
    assert_eq!(stage.due().await, []);
    let again = stage.set_schedule("x", MINUTE).await;
    assert!(again.version > first.version);
    assert_eq!(stage.tick_with(&[removes(&first)]).await.changed, [Changed::Stale]);
    assert_eq!(stage.schedule("x").await, again);
}

/// One is due at its moment and not before, and stays so until it is changed; those due first are told first.
pub(super) async fn what_is_due_is_told(stage: &Stage) {
    for (text, due) in [("c", 3 * MINUTE), ("b", MINUTE), ("a", 3 * MINUTE), ("z", 2 * MINUTE)] {
        stage.set_schedule(text, due).await;
    }
    stage.advance_until_just_before(MINUTE).await;
    assert_eq!(stage.due().await, []);
    stage.advance(stage.tick()).await;
    for _ in 0..2 {
        assert_eq!(names(&stage.due().await), ["b"]);
    }
    stage.advance(2 * MINUTE).await;
    let due = stage.due().await;
    assert_eq!(names(&due)[..2], ["b", "z"]);
    assert_eq!(names(&due)[2..].iter().collect::<BTreeSet<_>>(), BTreeSet::from([&"a", &"c"]));
    let left = stage.tick_with(&[moves(&due[0], Some(due[0].due.unwrap() + DAY), vec![]), removes(&due[1])]).await;
    assert_eq!(names(&left.due).len(), 2);
    let never: Vec<_> = left.due.iter().map(|one| moves(one, None, vec![])).collect();
    let left = stage.tick_with(&never).await;
    assert_eq!((left.due, left.more), (vec![], false));
    stage.advance(HOUR).await;
    assert_eq!(stage.due().await, []);
}

/// Schedules of one moment are told by name.
pub(super) async fn those_of_one_moment_go_by_name(stage: &Stage) {
    let at = stage.tick_with(&[]).await.now;
    let all: Vec<_> = ["m", "b", "z", "a"].map(|text| stores(text, Some(at))).into();
    assert_eq!(names(&stage.tick_with(&all).await.due), ["a", "b", "m", "z"]);
}

/// A change and its jobs come together; the jobs are taken in like any others, in order.
pub(super) async fn a_tick_takes_its_jobs_in(stage: &Stage) {
    let record = stage.set_schedule("x", MINUTE).await;
    stage.advance(MINUTE).await;
    let jobs = vec![stage.job(), stage.job_at(When::In(HOUR)), stage.job()];
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let ticked = stage.tick_with(&[moves(&record, None, jobs.clone())]).await;
    let added = [State::Ready, State::Scheduled, State::Ready].map(Admission::Added);
    assert_eq!(ticked.changed, [Changed::Applied(added.into())]);
    assert_eq!((ticked.due, stage.counts().await.enqueued), (vec![], 3));
    assert_eq!(stage.tick_with(&[moves(&record, None, jobs.clone())]).await.changed, [Changed::Stale]);
    assert_eq!(stage.counts().await.enqueued, 3);
    // The same jobs by another change are duplicates.
    let record = stage.schedule("x").await;
    let again = added.map(|admission| Admission::Duplicate(admission.state().unwrap()));
    let ticked = stage.tick_with(&[moves(&record, None, jobs)]).await;
    assert_eq!(ticked.changed, [Changed::Applied(again.into())]);
    assert_eq!(stage.counts().await.enqueued, 3);
    assert_eq!(stage.worker().await.claim_ids(9).await, [ids[0], ids[2]]);
}

/// Each change stands alone, also with others of its schedule in the call.
pub(super) async fn each_change_stands_alone(stage: &Stage) {
    let record = stage.set_schedule("x", HOUR).await;
    let stale = ScheduleRecord { version: record.version - 1, ..record.clone() };
    let job = || vec![stage.job()];
    let changes = [
        ScheduleChange { jobs: job(), ..stores("new", None) },
        moves(&stale, None, job()),
        moves(&record, None, job()),
        moves(&record, None, job()),
        stores("new", None),
    ];
    let ready = || Changed::Applied(vec![Admission::Added(State::Ready)]);
    let ticked = stage.tick_with(&changes).await;
    assert_eq!(ticked.changed, [ready(), Changed::Stale, ready(), Changed::Stale, Changed::Stale]);
    assert_eq!(stage.counts().await.enqueued, 2);
}

/// Of many that carry out the same tick, one does.
pub(super) async fn of_many_one_ticks(stage: &Stage) {
    const ROUNDS: u64 = 20;
    for round in 1..=ROUNDS {
        let record = stage.set_schedule(&format!("x-{round}"), secs(0)).await;
        let mut racers = JoinSet::new();
        for storage in views(stage).await.into_iter().cycle().take(8) {
            let change = [moves(&record, None, vec![stage.job()])];
            let shard = stage.shard().clone();
            racers.spawn(async move { storage.tick(&shard, &change).await.unwrap().changed });
        }
        let answers = racers.join_all().await.concat();
        assert_eq!(answers.iter().filter(|answer| **answer != Changed::Stale).count(), 1, "{answers:?}");
        assert_eq!(stage.counts().await.enqueued, round);
    }
}

/// Exchanges tell that a schedule is due, also repeated ones, and when the next is to be; one that is due already is no
/// reason to look again.
pub(super) async fn exchanges_tell_of_ticks(stage: &Stage) {
    let mut worker = stage.worker().await;
    let quiet = worker.upkeep().await;
    assert_eq!((quiet.ticks, quiet.look_again), (false, None));
    let record = stage.set_schedule("x", MINUTE).await;
    stage.set_schedule("y", HOUR).await;
    let told = worker.look(1).await;
    let again = told.look_again.unwrap();
    assert!(!told.ticks && again <= MINUTE && again + secs(1) > MINUTE, "{again:?}");
    stage.advance(MINUTE).await;
    let told = worker.look(1).await;
    let again = told.look_again.unwrap();
    assert!(told.ticks && again <= HOUR - MINUTE && again > MINUTE, "{again:?}");
    assert!(worker.repeat().await.ticks);
    stage.tick_with(&[moves(&record, None, vec![])]).await;
    assert!(!worker.upkeep().await.ticks);
    assert!(!worker.repeat().await.ticks);
}

/// A sleeper is told of a schedule that is due before it meant to look, and of the job of a tick.
pub(super) async fn sleepers_are_told_of_schedules(stage: &Stage) {
    let (mut worker, listener) = sleeper(stage, &["t"]).await;
    stage.set_schedule("x", HOUR).await;
    hear(&listener, "a schedule is to be due").await;
    worker.claim(1).await;
    let record = stage.set_schedule("y", MINUTE).await;
    hear(&listener, "a schedule is due sooner").await;
    worker.claim(1).await;
    stage.tick_with(&[moves(&record, Some(record.due.unwrap() + DAY), vec![stage.job()])]).await;
    hear(&listener, "a tick enqueued a job").await;
    assert_eq!(worker.claim(2).await.len(), 1);
}

/// While one is due, a sleeper is told all the same of another that is due before it meant to look.
pub(super) async fn what_is_due_hides_no_other(stage: &Stage) {
    let (mut worker, listener) = sleeper(stage, &["t"]).await;
    let record = stage.set_schedule("x", MINUTE).await;
    hear(&listener, "a schedule is to be due").await;
    stage.advance(MINUTE).await;
    assert_eq!(worker.look(1).await.look_again, None);
    stage.set_schedule("y", HOUR).await;
    hear(&listener, "another is to be due").await;
    assert!(worker.look(1).await.ticks);
    let next = Some(record.due.unwrap() + MINUTE);
    stage.tick_with(&[moves(&record, next, vec![])]).await;
    hear(&listener, "the one that was due is to be due again").await;
}

/// What is due is handed out in bounds, what is most due first, and it is told that there is more.
pub(super) async fn due_ones_are_handed_out_in_bounds(stage: &Stage) {
    let now = stage.tick_with(&[]).await.now;
    let most = MAX_UPKEEP as usize;
    let all: Vec<String> = (0..most + 10).map(|n| format!("s{n:03}")).collect();
    for (some, later) in [(&all[most..], 0), (&all[..most], 1)] {
        let changes: Vec<_> = some.iter().map(|text| stores(text, Some(now + secs(later)))).collect();
        stage.tick_with(&changes).await;
    }
    stage.advance(MINUTE).await;
    let first = stage.tick_with(&[]).await;
    assert_eq!((first.due.len(), first.more), (most, true));
    assert_eq!(names(&first.due)[..10], all[most..]);
    let changes: Vec<_> = first.due.iter().map(removes).collect();
    let rest = stage.tick_with(&changes).await;
    assert_eq!((names(&rest.due), rest.more), (all[most - 10..most].iter().map(String::as_str).collect(), false));
}

/// Schedules with heavy data are handed out and shown a few at a time, at least one.
pub(super) async fn pages_have_a_largest_weight(stage: &Stage) {
    let heavy = Bytes::from(vec![1; MAX_CLAIM_BYTES / 2 + 1]);
    let now = stage.tick_with(&[]).await.now;
    for text in ["a", "b", "c"] {
        stage.tick_with(&[ScheduleChange::new(name(text), None, Some((Some(now), heavy.clone())))]).await;
    }
    let ticked = stage.tick_with(&[]).await;
    assert_eq!((names(&ticked.due), ticked.more), (vec!["a", "b"], true));
    let page = stage.schedules(ScheduleQuery::After(None, 0)).await;
    assert_eq!((names(&page.schedules), page.next.clone()), (vec!["a", "b"], Some(name("b"))));
    let page = stage.schedules(ScheduleQuery::After(page.next, 0)).await;
    assert_eq!((names(&page.schedules), page.next), (vec!["c"], None));
}

/// Pages show each schedule once, by name, those of a name among them.
pub(super) async fn schedules_are_shown_in_pages(stage: &Stage) {
    let all: Vec<String> = (0..25).map(|n| format!("s{n:02}")).collect();
    let changes: Vec<_> = all.iter().rev().map(|text| stores(text, None)).collect();
    stage.tick_with(&changes).await;
    let (mut shown, mut after) = (Vec::new(), None);
    loop {
        let page = stage.schedules(ScheduleQuery::After(after, 10)).await;
        shown.extend(page.schedules.iter().map(|one| one.name.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(shown, all);
    let named = ["s07", "none", "s01", "s07"].map(name);
    let page = stage.schedules(ScheduleQuery::Named(named.into())).await;
    assert_eq!((names(&page.schedules), page.next), (vec!["s01", "s07"], None));
    let between = stage.schedules(ScheduleQuery::After(Some(name("s20x")), 2)).await;
    assert_eq!((names(&between.schedules), between.next), (vec!["s21", "s22"], Some(name("s22"))));
    assert_eq!(stage.schedules(ScheduleQuery::Named(vec![])).await.schedules, []);
}

/// Schedules belong to their shard, which is known by them; another's may bear the same name.
pub(super) async fn a_schedule_lives_in_its_shard(stage: &Stage) {
    let other = stage.beside("other");
    assert_eq!(stage.due().await, []);
    assert_eq!(stage.schedules(ScheduleQuery::After(None, 0)).await.schedules, []);
    assert_eq!(stage.storage().shards().await.unwrap(), []);
    other.set_schedule("x", MINUTE).await;
    assert_eq!(stage.storage().shards().await.unwrap(), [other.shard().clone()]);
    let here = stage.set_schedule("x", HOUR).await;
    stage.advance(MINUTE).await;
    assert_eq!((stage.due().await.len(), other.due().await.len()), (0, 1));
    other.tick_with(&[removes(&other.schedule("x").await)]).await;
    assert_eq!(stage.schedule("x").await, here);
    assert_eq!(stage.storage().shards().await.unwrap().len(), 2);
}

/// Pauses hold no tick back, and no pruning takes a schedule.
pub(super) async fn nothing_else_touches_schedules(stage: &Stage) {
    let record = stage.set_schedule("x", MINUTE).await;
    stage.storage().control(stage.shard(), &Control::Pause(Scope::Queue, None)).await.unwrap();
    stage.advance(DAY * 3).await;
    let mut worker = stage.worker().await;
    assert!(worker.upkeep().await.ticks);
    stage.prune(at_most(0, 0)).await;
    assert_eq!(stage.due().await, std::slice::from_ref(&record));
    stage.tick_with(&[moves(&record, None, vec![stage.job()])]).await;
    assert_eq!((stage.counts().await.enqueued, worker.claim(1).await.len()), (1, 0));
}

/// When the clock goes back, a schedule is due at its moment all the same, and its version rises.
pub(super) async fn the_clock_may_go_back(stage: &Stage) {
    let record = stage.set_schedule("x", HOUR).await;
    stage.rewind(HOUR * 2).await;
    assert_eq!(stage.due().await, []);
    stage.tick_with(&[moves(&record, record.due, vec![])]).await;
    assert!(stage.schedule("x").await.version > record.version);
    stage.advance(HOUR * 3).await;
    assert_eq!(names(&stage.due().await), ["x"]);
}

/// A call has largest sizes, and only jobs that wait for nothing are a schedule's.
pub(super) async fn a_call_of_changes_is_checked(stage: &Stage) {
    let refused = async |changes: &[ScheduleChange]| {
        let error = stage.storage().tick(stage.shard(), changes).await.unwrap_err();
        assert!(error.is_invalid(), "{error}");
    };
    let many: Vec<_> = (0..=MAX_TICKS).map(|n| stores(&format!("s{n}"), None)).collect();
    refused(&many).await;
    assert_eq!(stage.tick_with(&many[1..]).await.changed.len(), MAX_TICKS);
    let half = || (0..=MAX_ENQUEUE / 2).map(|_| stage.job()).collect::<Vec<_>>();
    refused(&["a", "b"].map(|text| ScheduleChange { jobs: half(), ..stores(text, None) })).await;
    let foreign = stage.beside("other").job();
    let waiting = stage.job_after([stage.job().id]);
    for job in [foreign, waiting, stage.hold()] {
        refused(&[stores("fine", None), ScheduleChange { jobs: vec![job], ..stores("x", None) }]).await;
    }
    let query = ScheduleQuery::Named(many.iter().map(|change| change.name.clone()).collect());
    assert!(stage.storage().schedules(stage.shard(), &query).await.unwrap_err().is_invalid());
    let stored = stage.schedules(ScheduleQuery::After(None, 0)).await.schedules;
    assert_eq!((stored.len(), stage.counts().await.enqueued), (MAX_TICKS, 0));
}

/// Opened anew, a storage knows its schedules and their versions.
pub(super) async fn opened_anew_schedules_are_there(stage: &Stage) {
    let records = [stage.set_schedule("x", MINUTE).await, stage.set_schedule("y", HOUR).await];
    let Some(stage) = stage.reopen().await else { return };
    assert_eq!(stage.schedules(ScheduleQuery::After(None, 0)).await.schedules, records);
    stage.advance(MINUTE).await;
    assert_eq!(names(&stage.due().await), ["x"]);
    stage.tick_with(&[removes(&records[0])]).await;
    assert!(stage.set_schedule("x", MINUTE).await.version > records[1].version);
    stage.end().await;
}

/// Two who look at the same data see the same schedules.
pub(super) async fn two_views_know_the_same(stage: &Stage) {
    let views = views(stage).await;
    for (n, storage) in views.iter().enumerate() {
        let text = format!("s{n}");
        assert_eq!(storage.tick(stage.shard(), &[stores(&text, None)]).await.unwrap().changed, [applied()]);
        for other in &views {
            let page = other.schedules(stage.shard(), &ScheduleQuery::After(None, 0)).await.unwrap();
            assert_eq!(page.schedules.len(), n + 1);
        }
    }
}
