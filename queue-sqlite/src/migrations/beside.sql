-- What stands beside the layout: programs of the same layout that know nothing of it miss nothing, and go on beside those
-- that do. So the layout keeps its number, and each table is made where it is not there yet.

-- Processes in which someone watches, until when by the machine's clock: renewed long before.
CREATE TABLE IF NOT EXISTS queue_watchers (
    teller        BLOB    PRIMARY KEY,         -- 16 bytes, anew for each storage that is opened
    namespace     TEXT    NOT NULL,
    until         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- News for those who watch in another process than the one that tells them; the oldest soon go.
CREATE TABLE IF NOT EXISTS queue_news (
    n             INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, so that a gap shows what went unread
    namespace     TEXT    NOT NULL,
    at            INTEGER NOT NULL,            -- by the machine's clock
    teller        BLOB    NOT NULL,
    news          BLOB    NOT NULL
) STRICT;
