-- oldest release: 0.1.0
--
-- Times are milliseconds since 1970, keys are case-folded names. A room's log is `events`; the folded state of a message
-- is its own row with two marks: the event that edited it last, and the one that deleted it.

CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- The store's part of every room's epoch.
    epoch TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users (id),
    -- The number of the current refresh token, and when it was given out.
    counter INTEGER NOT NULL,
    rotated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    ended_at INTEGER,
    user_agent TEXT
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user_id, id);
CREATE INDEX sessions_by_end ON sessions (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE rooms (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    last_seq INTEGER NOT NULL DEFAULT 0,
    grew_at INTEGER NOT NULL DEFAULT 0,
    created_by INTEGER NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    -- The room's part of its epoch.
    log_number INTEGER NOT NULL DEFAULT 1,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    topic TEXT,
    topic_key TEXT
) STRICT;

CREATE INDEX rooms_by_creator ON rooms (created_by, created_at);

CREATE TABLE events (
    room_id INTEGER NOT NULL REFERENCES rooms (id),
    seq INTEGER NOT NULL CHECK (seq > 0),
    -- 1 message, 2 edit, 3 delete
    kind INTEGER NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    -- Of an edit or a deletion: the message.
    ref_seq INTEGER,
    -- Of a message: its last edit, and its first deletion.
    edit_seq INTEGER,
    deleted_seq INTEGER,
    nonce TEXT,
    -- Of a message or an edit; NULL once the message was deleted.
    content TEXT,
    PRIMARY KEY (room_id, seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX events_by_nonce ON events (room_id, user_id, nonce) WHERE nonce IS NOT NULL;
CREATE INDEX events_of_messages ON events (room_id, seq) WHERE kind = 1;
CREATE INDEX events_by_ref ON events (room_id, ref_seq) WHERE ref_seq IS NOT NULL;
