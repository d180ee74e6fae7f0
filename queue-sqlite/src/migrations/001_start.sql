-- The first layout. Times are whole microseconds since the epoch, ids 16 bytes, states numbers in the order of a job's life:
-- 0 waiting, 1 scheduled, 2 ready, 3 running, 4 retrying, 5 completed, 6 cancelled, 7 expired, 8 dead.
-- Every name begins with queue_, so that the file can hold an application's own tables too.

-- One row for each shard: what rises, what is counted, and what is remembered of a silence.
CREATE TABLE queue_shards (
    shard         INTEGER PRIMARY KEY,
    namespace     TEXT    NOT NULL,
    queue         TEXT    NOT NULL,
    idx           INTEGER NOT NULL,
    tag           INTEGER NOT NULL,
    seq           INTEGER NOT NULL DEFAULT 0,
    fence         INTEGER NOT NULL DEFAULT 0,
    seen_at       INTEGER,
    silent_since  INTEGER,
    spare_until   INTEGER,
    n_waiting     INTEGER NOT NULL DEFAULT 0,
    n_scheduled   INTEGER NOT NULL DEFAULT 0,
    n_ready       INTEGER NOT NULL DEFAULT 0,
    n_running     INTEGER NOT NULL DEFAULT 0,
    n_retrying    INTEGER NOT NULL DEFAULT 0,
    n_completed   INTEGER NOT NULL DEFAULT 0,
    n_cancelled   INTEGER NOT NULL DEFAULT 0,
    n_expired     INTEGER NOT NULL DEFAULT 0,
    n_dead        INTEGER NOT NULL DEFAULT 0,
    n_parked      INTEGER NOT NULL DEFAULT 0,
    n_suspects    INTEGER NOT NULL DEFAULT 0,
    n_follow      INTEGER NOT NULL DEFAULT 0,
    n_traces      INTEGER NOT NULL DEFAULT 0,
    n_outbox      INTEGER NOT NULL DEFAULT 0,  -- relays whose parcels are to be delivered
    n_limited     INTEGER NOT NULL DEFAULT 0,  -- live jobs with a time limit
    n_blocked     INTEGER NOT NULL DEFAULT 0,  -- parked jobs that are so for a key
    n_stopping    INTEGER NOT NULL DEFAULT 0,  -- running jobs that were asked to stop
    enqueued      INTEGER NOT NULL DEFAULT 0,
    ended_completed INTEGER NOT NULL DEFAULT 0,
    ended_cancelled INTEGER NOT NULL DEFAULT 0,
    ended_expired INTEGER NOT NULL DEFAULT 0,
    ended_dead    INTEGER NOT NULL DEFAULT 0,
    pruned_made_at INTEGER,
    bell          INTEGER NOT NULL DEFAULT 0,  -- rises when workers of other processes are to look
    news          INTEGER NOT NULL DEFAULT 0,  -- rises when jobs have changed, or told how far they got
    stops         INTEGER NOT NULL DEFAULT 0,  -- rises when running jobs were asked to stop
    controlled    INTEGER NOT NULL DEFAULT 0,  -- queue_controls holds something about it
    scheduled     INTEGER NOT NULL DEFAULT 0,  -- it has, or had, a schedule
    ticks_at      INTEGER,                     -- when the first of its schedules is due
    UNIQUE (namespace, queue, idx)
) STRICT;
CREATE INDEX queue_shards_by_tag ON queue_shards (namespace, tag);

CREATE TABLE queue_jobs (
    n             INTEGER PRIMARY KEY,         -- a new one is above all that are stored: lists follow it
    shard         INTEGER NOT NULL,
    id            BLOB    NOT NULL,
    state         INTEGER NOT NULL,
    rank          INTEGER NOT NULL,            -- minus the priority, so that (rank, seq) rises along the line
    seq           INTEGER,
    parked        TEXT,
    parked_for    TEXT,                        -- the key for a slot or the rate of which it is parked
    suspect       INTEGER NOT NULL DEFAULT 0,
    held          INTEGER NOT NULL DEFAULT 0,  -- another job waits for it, takes its result, or keeps it as an input
    task          TEXT    NOT NULL,
    needs         INTEGER NOT NULL,
    at_most_once  INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    worker        BLOB,                        -- its id: who runs it, or ran it when it ended
    fence         INTEGER,
    lease_until   INTEGER,
    delivered     INTEGER,
    enqueued_at   INTEGER NOT NULL,
    due_at        INTEGER,
    started_at    INTEGER,
    ended_at      INTEGER,
    keep_until    INTEGER,
    reason        TEXT,
    waits_for     BLOB,                        -- ids, one after the other
    more          BLOB,                        -- what few jobs have, see `more.rs`; NULL for all others
    result        BLOB,
    envelope      BLOB                         -- NULL when it is large: then in queue_envelopes
) STRICT;
CREATE UNIQUE INDEX queue_jobs_by_id ON queue_jobs (shard, id);
-- Each index below holds the jobs of one stage only, so that no stage slows another.
CREATE INDEX queue_ready    ON queue_jobs (shard, rank, seq) WHERE state = 2 AND parked IS NULL AND suspect = 0;
CREATE INDEX queue_suspects ON queue_jobs (shard, rank, seq) WHERE state = 2 AND parked IS NULL AND suspect = 1;
CREATE INDEX queue_parked   ON queue_jobs (shard, suspect, task, needs, rank, seq)
    WHERE state = 2 AND parked <> 'outbox' AND parked_for IS NULL;
CREATE INDEX queue_blocked  ON queue_jobs (shard, parked_for, parked, rank, seq) WHERE parked_for IS NOT NULL;
CREATE INDEX queue_due      ON queue_jobs (shard, due_at) WHERE state IN (1, 4);
CREATE INDEX queue_leases   ON queue_jobs (shard, lease_until, worker) WHERE state = 3;
CREATE INDEX queue_kept     ON queue_jobs (shard, keep_until) WHERE state >= 5 AND held = 0;
CREATE INDEX queue_traces   ON queue_jobs (shard, keep_until) WHERE state = 5 AND held = 0 AND result IS NULL;
CREATE INDEX queue_letters  ON queue_jobs (shard, ended_at) WHERE state = 8;

-- Moments at which something becomes of a job that does not run, of the few jobs that have one. Kinds: 0 when it is
-- expired, as it is now; 1 since when it is parked because nobody knows its task.
CREATE TABLE queue_watch (
    shard         INTEGER NOT NULL,
    kind          INTEGER NOT NULL,
    at            INTEGER NOT NULL,
    n             INTEGER NOT NULL,
    PRIMARY KEY (shard, kind, at, n)
) STRICT, WITHOUT ROWID;

-- Large envelopes, apart, so that a change of state does not write them anew.
CREATE TABLE queue_envelopes (
    n             INTEGER PRIMARY KEY,
    bytes         BLOB NOT NULL
) STRICT;

-- Runs that did not end their job, the last few of each, numbered from 1.
CREATE TABLE queue_runs (
    job           INTEGER NOT NULL,
    run           INTEGER NOT NULL,
    worker        BLOB    NOT NULL,
    started_at    INTEGER NOT NULL,
    ended_at      INTEGER NOT NULL,
    ended         TEXT    NOT NULL,            -- how
    failure_kind  TEXT,
    failure_message TEXT,
    failure_type  TEXT,
    failure_version TEXT,
    PRIMARY KEY (job, run)
) STRICT, WITHOUT ROWID;

-- What is said of a shard: pauses, revocations and limits.
CREATE TABLE queue_controls (
    shard         INTEGER PRIMARY KEY,
    said          BLOB    NOT NULL             -- MessagePack, a map
) STRICT;

-- Schedules, each changed by whoever names its version. Names are blobs, so that they sort by their bytes in a file of any
-- encoding.
CREATE TABLE queue_schedules (
    shard         INTEGER NOT NULL,
    name          BLOB    NOT NULL,
    version       INTEGER NOT NULL,
    due           INTEGER,                     -- when somebody is to look at it
    data          BLOB    NOT NULL,
    PRIMARY KEY (shard, name)
) STRICT;
CREATE INDEX queue_ticks    ON queue_schedules (shard, due, name) WHERE due IS NOT NULL;

-- Who holds a slot of a key: a row for each running job and key, so that freeing it twice is freeing it once.
CREATE TABLE queue_slots (
    shard         INTEGER NOT NULL,
    key           TEXT    NOT NULL,
    job           INTEGER NOT NULL,
    PRIMARY KEY (shard, key, job)
) STRICT, WITHOUT ROWID;

-- When all that has started under the rate of a key is paid for; the key of the whole shard's is empty.
CREATE TABLE queue_rates (
    shard         INTEGER NOT NULL,
    key           TEXT    NOT NULL,
    paid_at       INTEGER NOT NULL,
    PRIMARY KEY (shard, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_rates_by_payment ON queue_rates (shard, paid_at);

-- When jobs parked for the rate of a key are looked at next: a row as long as there are any.
CREATE TABLE queue_windows (
    shard         INTEGER NOT NULL,
    key           TEXT    NOT NULL,
    opens_at      INTEGER NOT NULL,
    PRIMARY KEY (shard, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_windows_by_opening ON queue_windows (shard, opens_at, key);

-- Who keeps others of a unique key out, by its id, and until when where a time says so.
CREATE TABLE queue_unique (
    shard         INTEGER NOT NULL,
    key           TEXT    NOT NULL,
    id            BLOB    NOT NULL,
    until         INTEGER,
    PRIMARY KEY (shard, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_unique_by_end ON queue_unique (shard, until) WHERE until IS NOT NULL;

-- Who waits for whom, and then keeps whom: 0 while it is waited for; 1 once that is over, as long as the child is live or
-- a gather that has completed; 2 while it is only kept for a child that has ended otherwise. A dead letter has none once
-- those that waited for it have been told.
CREATE TABLE queue_edges (
    parent        INTEGER NOT NULL,
    child         INTEGER NOT NULL,
    struck        INTEGER NOT NULL,
    PRIMARY KEY (parent, struck, child)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_edges_by_child ON queue_edges (child, struck);

-- Ended jobs whose edges are not all followed yet, in the order of their ends.
CREATE TABLE queue_follow (
    n             INTEGER PRIMARY KEY,
    shard         INTEGER NOT NULL,
    parent        INTEGER NOT NULL
) STRICT;
CREATE INDEX queue_follow_by_shard ON queue_follow (shard, n);

-- Relays whose parcels are to be delivered, in the order in which they were reached.
CREATE TABLE queue_outbox (
    shard         INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    n             INTEGER NOT NULL,
    PRIMARY KEY (shard, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE queue_workers (
    worker        INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace     TEXT    NOT NULL,
    id            BLOB    NOT NULL,
    version       INTEGER NOT NULL,            -- rises with each registration, so that a process knows its copy is old
    gone          INTEGER NOT NULL,            -- it has stopped, and leases of its are still out
    seen_at       INTEGER NOT NULL,
    record        BLOB    NOT NULL,            -- MessagePack, a map
    UNIQUE (namespace, id)
) STRICT;
CREATE INDEX queue_workers_by_call ON queue_workers (namespace, seen_at);

-- The last exchange of each worker with each shard, and its answer.
CREATE TABLE queue_exchanges (
    worker        INTEGER NOT NULL,
    shard         INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    fence         INTEGER NOT NULL,
    settled       BLOB    NOT NULL,            -- a byte for each settlement: 1 applied, 0 lost
    claimed       BLOB    NOT NULL,            -- eight bytes for each job: its n, big-endian
    PRIMARY KEY (worker, shard)
) STRICT, WITHOUT ROWID;

-- The last call of each caller to each shard, and its answer.
CREATE TABLE queue_callers (
    shard         INTEGER NOT NULL,
    caller        BLOB    NOT NULL,
    number        INTEGER NOT NULL,
    seen_at       INTEGER NOT NULL,
    answer        BLOB    NOT NULL,            -- for each job 0 and its state, 1 and its state, 2 and an id, or 3 to 5, an id and a state
    PRIMARY KEY (shard, caller)
) STRICT, WITHOUT ROWID;
CREATE INDEX queue_callers_by_call ON queue_callers (shard, seen_at);
