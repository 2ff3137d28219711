/** `user_version` of the files that this code writes; 1 was that of files from before the first release. */
export const schemaVersion = 2;

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

CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
-- state: 0 waiting, 1 leased, 2 dead, 3 settled. due_at: deliverable from, end of the lease, buried at, forgotten from.
-- A lease that has run out needs no change to be deliverable: both states stand in one index, by due_at.
CREATE TABLE messages (
  position INTEGER PRIMARY KEY, queue INTEGER NOT NULL, id TEXT NOT NULL, key TEXT, enqueued_at INTEGER NOT NULL,
  state INTEGER NOT NULL, due_at INTEGER NOT NULL, attempt INTEGER NOT NULL, receipt TEXT, reason TEXT, body BLOB NOT NULL
);
CREATE UNIQUE INDEX messages_by_id ON messages (queue, id);
CREATE INDEX messages_by_due ON messages (queue, due_at, position) WHERE state < 2;
CREATE INDEX messages_dead ON messages (queue, due_at, position) WHERE state = 2;
CREATE INDEX messages_settled ON messages (due_at) WHERE state = 3;
CREATE INDEX messages_by_key ON messages (queue, key, position) WHERE key IS NOT NULL AND state < 2;
PRAGMA user_version = ${schemaVersion};
`;
