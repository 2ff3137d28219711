/** `user_version` of the files that this code writes; a file with a higher one is a newer server's. */
export const schemaVersion = 1;

export const schema = `
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('revision', 0);

CREATE TABLE records (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL, expires_at INTEGER) WITHOUT ROWID;
CREATE INDEX records_by_revision ON records (revision);
CREATE INDEX records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;
-- What is gone, for those who watch from a revision in the past.
CREATE TABLE deletions (key TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX deletions_by_revision ON deletions (revision);

CREATE TABLE streams (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, last INTEGER NOT NULL);
CREATE TABLE events (stream INTEGER NOT NULL, sequence INTEGER NOT NULL, at REAL NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX events_by_sequence ON events (stream, sequence);
CREATE INDEX events_by_time ON events (stream, at, sequence);

-- state: 0 waiting, 1 leased, 2 dead, 3 settled. due_at: deliverable from, end of the lease, forgotten from.
CREATE TABLE messages (
  position INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, key TEXT,
  enqueued_at INTEGER NOT NULL, state INTEGER NOT NULL, due_at INTEGER NOT NULL, attempt INTEGER NOT NULL,
  receipt TEXT, reason TEXT, buried_at INTEGER
);
CREATE UNIQUE INDEX messages_by_id ON messages (queue, id);
CREATE INDEX messages_by_due ON messages (queue, state, due_at, position);
CREATE INDEX messages_by_receipt ON messages (receipt) WHERE receipt IS NOT NULL;
CREATE INDEX messages_by_key ON messages (queue, key, position) WHERE key IS NOT NULL AND state < 2;
PRAGMA user_version = ${schemaVersion};
`;
