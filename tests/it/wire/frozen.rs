//! The bytes of a shard with a job in every state: today's program writes them as they were written first, and reads what
//! was.
//!
//! The fixture was written once, as `key type content…` with bytes as hex. It changes with the major of the layout only;
//! then `QUEUE_NEW_FIXTURE=1` writes it anew. A minor that adds to what is written adds a fixture of its own.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use queue::State;
use queue_redis::{RedisOptions, RedisStorage};
use queue_servers::Redis;
use queue_storage::clock::{Clock, ManualClock};
use queue_storage::model::{
    CallerId, Conflict, EndReason, Ending, Failure, FailureKind, Fence, Input, Job, JobId, Key, Limit, NewJob, Node,
    Progress, Rate, Settled, Settlement, Shard, Timestamp, Trigger, Unique, When, WhenFull, Window, WorkerId,
};
use queue_storage::storage::{
    Act, Acted, Changed, Claim, Control, Enqueue, EnqueueCall, Exchange, Exchanged, JobQuery, LeaseTerms, Maintain,
    Operate, Receipt, Renewal, Retention, Revocation, ScheduleChange, Scope, SettleAnswer, WorkerRecord,
};

use super::{block, code, root, table, tables};

const FIXTURE: &str = "tests/fixtures/redis-shard-v1.txt";

/// Lines of everything below a namespace.
const DUMP: &str = "local function hex(text)
  return (text:gsub('.', function(c) return string.format('%02x', c:byte()) end))
end
local how = {string = {'GET'}, set = {'SMEMBERS'}, list = {'LRANGE', 0, -1}, hash = {'HGETALL'},
  zset = {'ZRANGE', 0, -1, 'WITHSCORES'}}
local lines = {}
for _, key in ipairs(redis.call('KEYS', 'queue:*')) do
  local kind = redis.call('TYPE', key).ok
  local found = redis.call(how[kind][1], key, unpack(how[kind], 2))
  for i = 1, type(found) == 'table' and #found or 1, (kind == 'hash' or kind == 'zset') and 2 or 1 do
    local line = key:sub(7) .. ' ' .. kind .. ' ' .. hex(type(found) == 'table' and found[i] or found)
    if kind == 'hash' then line = line .. ' ' .. hex(found[i + 1]) end
    if kind == 'zset' then line = line .. ' ' .. string.format('%.0f', found[i + 1]) end
    lines[#lines + 1] = line
  end
end
return lines";

/// Writes such lines.
const LOAD: &str = "local function bytes(text)
  return (text:gsub('..', function(two) return string.char(tonumber(two, 16)) end))
end
local how = {string = 'SET', set = 'SADD', list = 'RPUSH'}
for _, line in ipairs(ARGV) do
  local key, kind, one, two = line:match('^(%S+) (%S+) (%S+) ?(%S*)$')
  key, one = 'queue:' .. key, bytes(one)
  if kind == 'hash' then redis.call('HSET', key, one, bytes(two))
  elseif kind == 'zset' then redis.call('ZADD', key, two, one)
  else redis.call(how[kind], key, one) end
end
return 'loaded'";

/// An ear that waits for a job.
const INTEREST: &str = "local id = ARGV[1]:gsub('..', function(two) return string.char(tonumber(two, 16)) end)
return redis.call('HSET', 'queue:{default}:interest', id, ARGV[2])";

fn shard() -> Shard {
    Shard::of("default".parse().unwrap())
}

/// Of the moment at which the clock starts.
fn id(n: u8) -> JobId {
    JobId::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0000 | u128::from(n) << 12).at_home(&shard())
}

fn number(id: JobId) -> u8 {
    (id.as_u128() >> 12) as u8
}

fn job(n: u8) -> NewJob {
    NewJob::new(id(n), "t".parse().unwrap(), (&b"\x01\x00\x81\xa1a\xc4\x01\x80"[..]).into())
}

const SECOND: Duration = Duration::from_secs(1);

struct Story {
    server: Redis,
    clock: ManualClock,
    storage: RedisStorage,
}

impl Story {
    async fn at(now: Timestamp, server: Redis) -> Self {
        let clock = ManualClock::at(now);
        let options = RedisOptions::from_url(&server.url()).unwrap().clock(Arc::new(clock.clone()));
        Self { server, clock, storage: options.connect().await.unwrap() }
    }

    async fn enqueue(&self, caller: u8, number: u64, jobs: Vec<NewJob>) {
        let caller = CallerId::from_u128(0xca00_0000_0000_7000_8000_0000_0000_0000 | u128::from(caller));
        self.storage.enqueue(EnqueueCall { caller, shard: shard(), number, jobs }).await.unwrap();
    }

    async fn register(&self, worker: u8) {
        let record = WorkerRecord {
            id: self.worker(worker),
            host: "here".into(),
            version: None,
            shards: vec![shard()],
            tasks: BTreeSet::from(["t".parse().unwrap(), "u".parse().unwrap()]),
            understands: 1,
            lease: LeaseTerms::default(),
            concurrency: 64,
            started_at: Timestamp::EPOCH,
            seen_at: Timestamp::EPOCH,
        };
        self.storage.register(record).await.unwrap();
    }

    fn worker(&self, n: u8) -> WorkerId {
        WorkerId::from_u128(0x3000_0000_0000_7000_8000_0000_0000_0000 | u128::from(n))
    }

    async fn exchange(&self, worker: u8, number: u64, settlements: Vec<Settled>, want: u32) -> Exchanged {
        let count = settlements.len();
        let (worker, suspects) = (self.worker(worker), want.min(1));
        let call = Exchange { worker, shard: shard(), number, settlements, want, suspects };
        let answer = self.storage.exchange(call).await.unwrap();
        assert_eq!(answer.settled, vec![SettleAnswer::Applied; count]);
        answer
    }

    async fn prune(&self) {
        self.storage.prune(&shard(), Retention::default()).await.unwrap();
    }

    async fn jobs(&self) -> Vec<Job> {
        self.storage.list(&JobQuery::default()).await.unwrap().jobs
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.server.cli(&["EVAL", DUMP, "0"]).lines().map(without_ear).collect();
        lines.sort();
        lines
    }

    /// What people say and do: a rule of each sort, and a run that is to stop.
    async fn meddle(&self) {
        let until = Some(self.clock.now() + 3600 * SECOND);
        let mut gone = Revocation::default();
        (gone.job, gone.task, gone.tag) = (Some(id(99)), "u".parse().ok(), "gone".parse().ok());
        (gone.until, gone.next_only) = (until, true);
        for change in [
            Control::Pause(Scope::Queue, Some(self.clock.now() + SECOND)),
            Control::Pause(Scope::Task("paused".parse().unwrap()), until),
            Control::Pause(Scope::Worker(self.worker(9)), None),
            Control::Revoke(gone),
        ] {
            assert!(self.storage.control(&shard(), &change).await.unwrap());
        }
        let act = Act::Cancel { keep: 60 * SECOND };
        assert_eq!(self.storage.act(&shard(), &[id(13)], &act).await.unwrap(), [Acted::Asked]);
    }

    /// A schedule that is to be due, and one that never is.
    async fn schedules(&self) {
        let data = bytes::Bytes::from_static(b"\x01\x80");
        let due = [("daily", Some(self.clock.now() + 3600 * SECOND)), ("paused", None)];
        let changes =
            due.map(|(name, due)| ScheduleChange::new(name.parse().unwrap(), None, Some((due, data.clone()))));
        let ticked = self.storage.tick(&shard(), &changes).await.unwrap();
        assert_eq!(ticked.changed, [Changed::Applied(Vec::new()), Changed::Applied(Vec::new())]);
    }

    /// Jobs that hold each other back: by slots, by a rate, by being unique.
    async fn crowd(&self) {
        let slots = Limit::Slots { key: "task:t".parse().unwrap(), most: 1, full: WhenFull::Wait };
        let rate = Limit::Rate { key: "key:api".parse().unwrap(), rate: Rate::per(60 * SECOND, 1), cost: 1 };
        let unique = |key: &str, window| Some(Unique::new(key.parse().unwrap(), window, Conflict::Existing));
        let mut jobs = [33, 34, 31, 32].map(job);
        for (job, priority) in jobs.iter_mut().zip((201..=204).rev()) {
            job.priority = priority;
            job.limits = vec![if number(job.id) < 33 { slots.clone() } else { rate.clone() }];
        }
        jobs[2].unique = unique("key:once", Window::Forever);
        jobs[3].unique = unique("key:hourly", Window::For(3600 * SECOND));
        let [a, b, c, last] = jobs;
        self.enqueue(2, 2, vec![a, b, c]).await;
        let claimed = self.exchange(2, 4, vec![], 2).await.claimed;
        assert_eq!(claimed.iter().map(|one| number(one.job.id)).collect::<Vec<_>>(), [33, 31]);
        self.enqueue(2, 3, vec![last]).await;
    }

    /// Jobs tied into flows: each trigger and each node, waiting and not, and what was delivered.
    async fn flow(&self) {
        let there = Shard { queue: "there".parse().unwrap(), index: 3 };
        let to = JobId::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0000).at_home(&there);
        let relay = Node::Relay { shard: there, to };
        let gather = Node::Gather { keep: 3600 * SECOND };
        let ties = [
            (40, Trigger::Completed, vec![1, 10], gather.clone()),
            (41, Trigger::Completed, vec![], Node::Hold),
            (42, Trigger::Failed, vec![41], Node::Task),
            (43, Trigger::Ended, vec![41, 7], gather),
            (44, Trigger::Ended, vec![10], relay.clone()),
            (45, Trigger::Ended, vec![41], relay),
            (46, Trigger::Completed, vec![], Node::Hold),
            (47, Trigger::Completed, vec![46, 1], Node::Task),
            (48, Trigger::Failed, vec![4], Node::Task),
            (49, Trigger::Ended, vec![7], Node::Task),
        ];
        let tied = ties.map(|(n, trigger, waits_for, node)| {
            let mut job = job(n);
            (job.trigger, job.node) = (trigger, node);
            job.waits_for = waits_for.into_iter().map(id).collect();
            job.expires = (n == 41).then_some(When::In(3600 * SECOND));
            job
        });
        self.enqueue(2, 4, tied.into()).await;
        let mut far = Ending::new(to, "t".parse().unwrap(), State::Dead);
        far.failure = Some(Failure::new(FailureKind::Error, "far away"));
        far.keep_until = Some(self.clock.now() + 7200 * SECOND);
        let delivered = self.storage.deliver(&shard(), &[(id(46), Input::Failed(far.into()))]).await.unwrap();
        assert_eq!(delivered, [Some(State::Cancelled)]);
    }
}

/// A line in which the ear of a worker is always the same.
fn without_ear(line: &str) -> String {
    let Some((name, terms)) = line.rsplit_once(' ').filter(|(name, _)| name.starts_with("{default}:meta hash 773a"))
    else {
        return line.to_owned();
    };
    format!("{name} {}{}{}", &terms[..84], "45".repeat(26), &terms[136..])
}

/// How a run ended well.
fn complete(result: Option<&'static [u8]>, keep: Duration) -> Settlement {
    Settlement::Complete { result: result.map(Into::into), keep }
}

/// A job in every state, and something in almost every key.
async fn tell() -> Story {
    let story = Story::at(ManualClock::new().now(), Redis::start()).await;
    // Those that are waited for come first.
    let mut jobs: Vec<_> = (1..=12).chain([14, 16, 17, 18, 19, 20]).filter(|&n| n != 6).chain([6]).map(job).collect();
    for job in &mut jobs {
        match number(job.id) {
            2 => job.priority = -7,
            3 => job.when = When::In(60 * SECOND),
            4 => job.when = When::At(story.clock.now() - 5 * SECOND),
            5 => (job.waits_for, job.when) = (vec![id(1)], When::In(30 * SECOND)),
            6 => job.waits_for = vec![id(10), id(7)],
            11 => job.needs = 2,
            12 => job.task = "strange".parse().unwrap(),
            17 => (job.waits_for, job.priority) = (vec![id(3)], 1),
            18 => job.at_most_once = true,
            19 => (job.when, job.expires) = (When::In(60 * SECOND), Some(When::At(story.clock.now() + 5 * SECOND))),
            20 => {
                (job.when, job.deadline) = (When::In(60 * SECOND), Some(When::In(3600 * SECOND)));
                job.tags = ["vip".parse().unwrap(), "tenant/7".parse().unwrap()].into();
            }
            _ => {}
        }
    }
    story.enqueue(1, 1, jobs).await;
    story.register(1).await;
    story.register(2).await;

    let claimed = story.exchange(1, 1, vec![], 256).await.claimed;
    assert_eq!(claimed.iter().map(|one| number(one.job.id)).collect::<Vec<_>>(), [1, 4, 7, 8, 9, 10, 14, 16, 18, 2]);
    let fence = claimed[0].fence;
    let settled = |n: u8, attempts: u32, settlement| Settled { job: id(n), fence, attempts, settlement };
    let plain = Failure::new(FailureKind::Panic, "boom");
    let typed = Failure::new(FailureKind::Error, "not there").of_type("std::io::Error");
    story
        .exchange(
            1,
            2,
            vec![
                settled(1, 1, complete(Some(b"\x2a"), 3600 * SECOND)),
                settled(2, 0, Settlement::Release),
                settled(4, 1, complete(None, 3600 * SECOND)),
                settled(7, 1, Settlement::Die { reason: EndReason::Fatal, failure: plain, keep: 7200 * SECOND }),
                settled(8, 1, Settlement::Retry { when: When::In(20 * SECOND), failure: typed }),
                settled(9, 0, Settlement::Snooze { when: When::In(40 * SECOND), hold: None }),
                settled(10, 1, complete(Some(b"\xa4done"), 1800 * SECOND)),
                settled(16, 1, complete(None, SECOND)),
            ],
            0,
        )
        .await;
    story.clock.advance(5 * SECOND);
    story.exchange(2, 1, vec![], 0).await;
    story.clock.advance(5 * SECOND);
    // 14 crashes, 18 is interrupted.
    story.exchange(2, 2, vec![], 0).await;
    let mut first = job(13);
    first.priority = 100;
    let old = JobId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | 15 << 12).at_home(&shard());
    let of_old = NewJob::new(old, "u".parse().unwrap(), job(15).envelope);
    story.enqueue(2, 1, vec![first, of_old]).await;
    let claimed = story.exchange(2, 3, vec![], 1).await.claimed;
    let leases: Vec<(JobId, Fence)> = claimed.iter().map(|one| (one.job.id, one.fence)).collect();
    assert_eq!(leases[0].0, id(13));
    let progress = vec![(id(13), Progress::new(3, 4, "on its way"))];
    story.storage.renew(Renewal { worker: story.worker(2), shard: shard(), leases, progress }).await.unwrap();
    story.crowd().await;
    story.flow().await;
    story.meddle().await;
    story.schedules().await;
    story.storage.deregister(story.worker(1)).await.unwrap();
    story.prune().await;
    story
}

/// What the fixture holds, job after job in the order of admission.
const JOBS: &[&str] = &[
    "1 completed t sequence=1 attempts=1 started=0 ended=0 keep=3600 worker=1 result=2a",
    "2 ready t sequence=2 priority=-7 started=0 first=0 history=released@0",
    "3 scheduled t due=60",
    "4 completed t sequence=4 attempts=1 due=-5 started=0 ended=0 keep=3600 worker=1",
    "5 scheduled t due=30 after=[1]",
    "7 dead t sequence=6 attempts=1 started=0 ended=0 keep=7200 reason=fatal worker=1 failure=panicked: boom (None)",
    "8 retrying t sequence=7 attempts=1 due=20 started=0 first=0 history=failed@0 failure=not there (Some(\"std::io::Error\"))",
    "9 scheduled t sequence=8 due=40 started=0 first=0 history=snoozed@0",
    "10 completed t sequence=9 attempts=1 started=0 ended=0 keep=1800 worker=1 result=a4646f6e65",
    "11 ready t sequence=10 needs=2 parked=newer_program",
    "12 ready strange sequence=11 parked=unknown_task",
    "14 ready t sequence=12 crashes=1 suspect= started=0 first=0 history=crashed@10 failure=crash: worker 1",
    "17 waiting t priority=1 after=[3]",
    "18 dead t sequence=15 once= started=0 ended=10 keep=7776010 reason=interrupted worker=1 failure=crash: worker 1",
    "19 expired t expires=5 due=60 ended=5 keep=3605 reason=overdue",
    "20 scheduled t tags=vip+tenant/7 deadline=3660 due=60",
    "6 cancelled t ended=0 keep=7200 reason=dependency culprit=7 after=[10, 7]",
    "13 running t sequence=19 priority=100 stop= enqueued=10 started=10 until=20 delivered=true worker=2 progress=3/4 on its way",
    "15 ready u sequence=20 enqueued=10",
    "33 running t sequence=21 priority=204 limits=key:api enqueued=10 started=10 until=20 delivered=false worker=2",
    "34 ready t sequence=22 priority=203 parked=rate_window for=key:api opens=70 limits=key:api enqueued=10",
    "31 running t sequence=23 priority=202 unique=key:once+Forever limits=task:t enqueued=10 started=10 until=20 delivered=false worker=2",
    "32 ready t sequence=24 priority=201 parked=limit_full for=task:t unique=key:hourly+For(3600s) limits=task:t enqueued=10",
    "40 completed t node=gather+3600s enqueued=10 ended=10 keep=3610 after=[1, 10]",
    "41 waiting t expires=3610 node=hold enqueued=10",
    "42 waiting t trigger=Failed enqueued=10 after=[41]",
    "43 waiting t node=gather+3600s trigger=Ended enqueued=10 after=[41, 7]",
    "44 ready t sequence=30 parked=outbox node=relay+there#3+01KDVDNA00E0080000000000QK trigger=Ended enqueued=10 after=[10]",
    "45 waiting t node=relay+there#3+01KDVDNA00E0080000000000QK trigger=Ended enqueued=10 after=[41]",
    "46 cancelled t node=hold enqueued=10 ended=10 keep=7210 reason=dependency culprit=0 failure=far away (None)",
    "47 cancelled t enqueued=10 ended=10 keep=7210 reason=dependency culprit=0 after=[46, 1]",
    "48 cancelled t trigger=Failed enqueued=10 ended=10 keep=3600 reason=not_needed after=[4]",
    "49 ready t sequence=36 trigger=Ended enqueued=10 after=[7]",
];

/// A failure with its type; of one that the server wrote, whose worker vanished.
fn told(failure: &Failure) -> String {
    match failure.message.strip_prefix("worker 1G0000000") {
        Some(_) => "crash: worker 1".into(),
        None => format!("{failure} ({:?})", failure.error_type),
    }
}

fn told_node(node: &Node) -> String {
    match node {
        Node::Gather { keep } => format!("gather+{keep:?}"),
        Node::Relay { shard, to } => format!("relay+{shard}+{to}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn shown(job: &Job) -> String {
    let since = |at: Option<Timestamp>| at.map(|at| at.as_micros() / 1_000_000 - 1_767_225_600);
    let mut text = format!("{} {} {}", number(job.id), job.state, job.task);
    let mut add = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {what}={value}"));
        }
    };
    let unless_zero = |n: u32| (n > 0).then(|| n.to_string());
    add("sequence", job.sequence.map(|n| n.to_string()));
    add("priority", (job.priority != 0).then(|| job.priority.to_string()));
    add("needs", (job.needs != 1).then(|| job.needs.to_string()));
    add("once", job.at_most_once.then(String::new));
    let texts = |tags: &[queue_storage::model::Tag]| tags.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
    add("tags", (!job.tags.is_empty()).then(|| texts(&job.tags)));
    add("expires", since(job.expires_at).map(|at| at.to_string()));
    add("deadline", since(job.deadline_at).map(|at| at.to_string()));
    add("stop", job.cancel_requested.then(String::new));
    add("parked", job.parked.as_ref().map(ToString::to_string));
    add("for", job.parked_for.as_ref().map(ToString::to_string));
    add("opens", since(job.opens_at).map(|at| at.to_string()));
    add("unique", job.unique.as_ref().map(|unique| format!("{}+{:?}", unique.key, unique.window)));
    let keys = |limits: &[Limit]| limits.iter().map(|limit| limit.key().to_string()).collect::<Vec<_>>().join("+");
    add("limits", (!job.limits.is_empty()).then(|| keys(&job.limits)));
    add("node", (!job.node.is_task()).then(|| told_node(&job.node)));
    add("trigger", (job.trigger != Trigger::Completed).then(|| format!("{:?}", job.trigger)));
    add("attempts", unless_zero(job.attempts));
    add("crashes", unless_zero(job.crashes));
    add("suspect", job.suspect.then(String::new));
    add("enqueued", since(Some(job.enqueued_at)).filter(|&at| at > 0).map(|at| at.to_string()));
    add("due", since(job.due_at).map(|at| at.to_string()));
    add("started", since(job.started_at).map(|at| at.to_string()));
    add("ended", since(job.ended_at).map(|at| at.to_string()));
    add("keep", since(job.keep_until).map(|at| at.to_string()));
    add("until", since(job.lease.map(|lease| lease.until)).map(|at| at.to_string()));
    add("delivered", job.lease.map(|lease| lease.delivered.to_string()));
    add("reason", job.reason.as_ref().map(ToString::to_string));
    add("culprit", job.culprit.map(|id| number(id).to_string()));
    add("worker", job.worker.map(|worker| (worker.as_u128() & 255).to_string()));
    add("first", since(job.first_started_at.filter(|_| !job.history.is_empty())).map(|at| at.to_string()));
    let run = |one: &queue_storage::model::Attempt| format!("{}@{}", one.end, since(Some(one.ended_at)).unwrap_or(-1));
    add("history", (!job.history.is_empty()).then(|| job.history.iter().map(run).collect::<Vec<_>>().join("+")));
    add("progress", job.progress.as_ref().map(|told| format!("{}/{} {}", told.done, told.total, told.message)));
    add("failure", job.failure.as_ref().map(told));
    add("result", job.result.as_ref().map(|result| format!("{result:x}")));
    add(
        "after",
        (!job.waits_for.is_empty())
            .then(|| format!("{:?}", job.waits_for.iter().map(|id| number(*id)).collect::<Vec<_>>())),
    );
    text
}

#[tokio::test]
async fn today_writes_the_bytes_of_layout_1() {
    let story = tell().await;
    let written = story.lines();
    if std::env::var_os("QUEUE_NEW_FIXTURE").is_some() {
        fs::write(root().join(FIXTURE), written.join("\n") + "\n").unwrap();
    }
    let frozen = super::read(FIXTURE);
    let frozen: BTreeSet<_> = frozen.lines().collect();
    let now: BTreeSet<_> = written.iter().map(String::as_str).collect();
    let gone: Vec<_> = frozen.difference(&now).collect();
    let new: Vec<_> = now.difference(&frozen).collect();
    assert!(gone.is_empty() && new.is_empty(), "the layout has changed: no more {gone:#?}, but {new:#?}");
    types_are_those_of_the_page(&written);
    states_have_the_letters_of_the_page(&story.jobs().await, &written);
}

/// Each key has its type; those that nothing is in by now are told.
fn types_are_those_of_the_page(lines: &[String]) {
    let found: BTreeSet<_> = lines.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>()).collect();
    let mut rows = table("name | type | content");
    rows.iter_mut().for_each(|row| row[0] = format!("{{default}}:{}", code(&row[0])));
    let shared = table("key | type | content").into_iter();
    rows.extend(shared.map(|row| vec![code(&row[0]).replace("<namespace>:", ""), row[1].clone()]));
    let told: BTreeSet<_> = rows.iter().map(|row| vec![row[0].as_str(), row[1].as_str()]).collect();
    let strange: Vec<_> = found.difference(&told).collect();
    assert!(strange.is_empty(), "not on the page: {strange:?}");
    let empty: Vec<_> = told.difference(&found).map(|key| key[0]).collect();
    assert_eq!(empty, ["watch", "{default}:follow", "{default}:interest", "{default}:sleepers"]);
}

fn states_have_the_letters_of_the_page(jobs: &[Job], lines: &[String]) {
    for job in jobs {
        let start = format!("{{default}}:marks hash {:032x} ", job.id.as_u128());
        if let Some(mark) = lines.iter().find_map(|line| line.strip_prefix(&start)) {
            assert_eq!(mark[..2], format!("{:02x}", tables::letter(job.state)), "{job:?}");
        } else {
            assert!(matches!(job.state, State::Ready | State::Scheduled), "{job:?}");
        }
    }
}

/// A server with what the fixture holds.
fn loaded() -> Redis {
    let server = Redis::start();
    let frozen = super::read(FIXTURE);
    let load: Vec<_> = ["EVAL", LOAD, "0"].into_iter().chain(frozen.lines()).collect();
    assert_eq!(server.cli(&load), "loaded");
    server
}

/// Whoever may only enqueue may do so whatever it leads to.
#[tokio::test]
async fn an_enqueuer_needs_no_more_than_the_page_says() {
    let server = loaded();
    let users = block("acl").replace("\n    ", " ");
    let enqueuer = users.lines().nth(1).unwrap().split_whitespace();
    // What the Rust client asks when it connects.
    server.cli(&enqueuer.chain(["+info", "+ping", "+select"]).collect::<Vec<_>>());
    // Someone waits for a job to end, and sleepers wait for one.
    let ear = "E".repeat(26);
    server.cli(&["EVAL", INTEREST, "0", &format!("{:032x}", id(23).as_u128()), &ear]);
    for worker in ["W", "V"] {
        server.cli(&["ZADD", "queue:{default}:sleepers", "8000000000000000", &(ear.clone() + &worker.repeat(16))]);
    }
    let mut jobs: Vec<_> = [14, 20, 21, 22, 23, 24].map(job).into();
    jobs[1].priority = 3;
    jobs[2].waits_for = vec![id(10)];
    jobs[3].waits_for = vec![id(99)];
    jobs[4].waits_for = vec![id(7)];
    (jobs[5].waits_for, jobs[5].when) = (vec![id(3), id(1)], When::In(SECOND));
    let mut soon = job(25);
    soon.when = When::In(SECOND);
    let mut held_back = [26, 27, 28].map(job);
    let key: Key = "k".parse().unwrap();
    for one in &mut held_back {
        one.limits = vec![Limit::Slots { key: key.clone(), most: 1, full: WhenFull::Wait }];
        one.unique = Some(Unique::new(key.clone(), Window::Finished, Conflict::Debounce));
        one.when = When::In(SECOND);
    }
    let options = RedisOptions::from_url(&server.url().replace("//", "//enqueuer:secret@")).unwrap();
    let storage = options.connect().await.unwrap();
    for (number, jobs) in (1..).zip([jobs, vec![soon], held_back.into()]) {
        let count = jobs.len();
        let call = EnqueueCall { caller: CallerId::from_u128(1), shard: shard(), number, jobs };
        assert_eq!(storage.enqueue(call).await.unwrap().len(), count);
    }
    assert_eq!(server.cli(&["EXISTS", "queue:{default}:sleepers", "queue:{default}:interest"]), "0");
    assert_eq!(server.cli(&["EXISTS", "queue:{default}:follow"]), "0");
}

#[tokio::test]
async fn today_reads_and_goes_on_with_the_bytes_of_layout_1() {
    let story = Story::at(ManualClock::new().now() + 10 * SECOND, loaded()).await;
    let jobs: Vec<_> = story.jobs().await.iter().map(shown).collect();
    assert_eq!(jobs, JOBS, "{jobs:#?}");

    // The last answer is remembered.
    let repeated = story.exchange(2, 4, vec![], 2).await.claimed;
    assert_eq!(repeated.iter().map(|one| number(one.job.id)).collect::<Vec<_>>(), [33, 31]);
    let mut held: Vec<_> = story.jobs().await;
    for call in 5..9 {
        let done = |one: &Job| {
            let settlement = complete(None, 86_400 * SECOND);
            Some(Settled { job: one.id, fence: one.lease?.fence, attempts: one.attempts + 1, settlement })
        };
        let claimed = story.exchange(2, call, held.iter().filter_map(done).collect(), 256).await.claimed;
        held = claimed.into_iter().map(|one| one.job).collect();
        story.clock.advance(60 * SECOND);
    }
    let counts = story.storage.counts(&shard()).await.unwrap();
    assert_eq!((counts.live(), counts.parked, counts.enqueued), (7, 3, 34), "{counts:?}");
    assert_eq!((counts.ended.completed, counts.ended.dead, counts.ended.cancelled), (20, 2, 4), "{counts:?}");
    assert_eq!(counts.ended.expired, 1, "{counts:?}");
    flows_go_on(&story).await;
}

/// Whom flows wait for comes, and what they hand on is carried away.
async fn flows_go_on(story: &Story) {
    let parcels = async |sent: &[Receipt]| {
        let parcels = story.storage.outbox(&shard(), sent).await.unwrap().parcels;
        parcels.into_iter().map(|one| (number(one.relay), one.input)).collect::<Vec<_>>()
    };
    let done = Input::Returned((&b"\xa4done"[..]).into());
    assert_eq!(parcels(&[]).await, [(44, done.clone())]);
    let inputs = story.storage.inputs(id(40)).await.unwrap().unwrap().inputs;
    assert_eq!(inputs, [Input::Returned((&b"\x2a"[..]).into()), done]);
    let delivered = story.storage.deliver(&shard(), &[(id(41), Input::Nothing)]).await.unwrap();
    assert_eq!(delivered, [Some(State::Completed)]);
    assert_eq!(parcels(&[Receipt { relay: id(44), sequence: 30 }]).await, [(45, Input::Nothing)]);
    let states: Vec<_> = story.jobs().await.iter().filter(|job| number(job.id) > 40).map(|job| job.state).collect();
    let [x, c] = [State::Cancelled, State::Completed];
    assert_eq!(states, [c, x, c, c, State::Ready, x, x, x, c]);
}
