-- +goose Up

-- Every log (a user's inbox, a conversation) has one row here. Whoever appends
-- to the log locks it and takes the number after the log's last entry, found by
-- index. So numbers are never those of a sequence, which become visible out of
-- commit order and leave holes; and nothing is updated for a message: a counter
-- in the row would leave one dead version for each, which pile up, and are
-- walked through, for as long as anybody keeps an old transaction open.
CREATE SEQUENCE postbox.log_id;

CREATE TABLE postbox.logs (
    id    bigint PRIMARY KEY,
    floor bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE postbox.logs IS 'One row per inbox and per conversation: its lock. The last number is in the view heads.';
COMMENT ON COLUMN postbox.logs.id IS 'users.id of an inbox, conversations.id of a conversation; both from log_id.';
COMMENT ON COLUMN postbox.logs.floor IS 'Highest number of an entry that was deleted: it is not given again.';

CREATE TABLE postbox.users (
    id                 bigint PRIMARY KEY DEFAULT nextval('postbox.log_id'),
    name               text NOT NULL,
    display_name       text NOT NULL DEFAULT '',
    password_hash      text NOT NULL DEFAULT '',
    admin              boolean NOT NULL DEFAULT false,
    receipts           boolean NOT NULL DEFAULT true,
    accept             text NOT NULL DEFAULT 'everyone',
    delivered_seq      bigint NOT NULL DEFAULT 0,
    tokens_valid_after timestamptz NOT NULL DEFAULT 'epoch',
    created_at         timestamptz NOT NULL DEFAULT now(),
    seen_at            timestamptz,
    disabled_at        timestamptz,
    erased_at          timestamptz,
    CONSTRAINT users_name_key UNIQUE (name),
    CONSTRAINT users_name_form CHECK (name ~ '^[a-z0-9][a-z0-9._@-]{0,63}$'),
    CONSTRAINT users_accept_known CHECK (accept IN ('everyone', 'known', 'nobody'))
) WITH (fillfactor = 80);
COMMENT ON COLUMN postbox.users.password_hash IS 'argon2id or bcrypt; empty: no password login.';
COMMENT ON COLUMN postbox.users.delivered_seq IS 'High-water mark over the user''s devices: highest acknowledged inbox_seq.';
COMMENT ON COLUMN postbox.users.tokens_valid_after IS 'Tokens issued before this moment are refused.';
COMMENT ON COLUMN postbox.users.erased_at IS 'The person is gone; the row keeps the name reserved.';

CREATE TABLE postbox.blocks (
    user_id    bigint NOT NULL REFERENCES postbox.users ON DELETE CASCADE,
    blocked_id bigint NOT NULL REFERENCES postbox.users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, blocked_id)
);
COMMENT ON TABLE postbox.blocks IS 'user_id takes nothing from blocked_id.';

CREATE TABLE postbox.conversations (
    id         bigint PRIMARY KEY DEFAULT nextval('postbox.log_id'),
    user_low   bigint REFERENCES postbox.users,
    user_high  bigint REFERENCES postbox.users,
    room       text,
    title      text NOT NULL DEFAULT '',
    public     boolean NOT NULL DEFAULT false,
    history    text NOT NULL DEFAULT 'all',
    members    bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT conversations_pair_key UNIQUE (user_low, user_high),
    CONSTRAINT conversations_room_key UNIQUE (room),
    CONSTRAINT conversations_kind CHECK (
        (room IS NULL AND user_low IS NOT NULL AND user_high IS NOT NULL AND user_low <= user_high)
        OR (room IS NOT NULL AND user_low IS NULL AND user_high IS NULL)),
    CONSTRAINT conversations_history_known CHECK (history IN ('all', 'joined'))
);
COMMENT ON TABLE postbox.conversations IS 'A pair of users (low id, high id; the same twice for notes to oneself), or a room.';
COMMENT ON COLUMN postbox.conversations.members IS 'Version of a room''s membership: grows with each change, under the lock of its log.';
CREATE INDEX conversations_user_high ON postbox.conversations (user_high) WHERE room IS NULL;

CREATE TABLE postbox.memberships (
    conversation_id bigint NOT NULL REFERENCES postbox.conversations ON DELETE CASCADE,
    user_id         bigint NOT NULL REFERENCES postbox.users,
    role            text NOT NULL,
    joined_seq      bigint NOT NULL,
    left_seq        bigint,
    CONSTRAINT memberships_pkey PRIMARY KEY (conversation_id, user_id, joined_seq),
    CONSTRAINT memberships_role_known CHECK (role IN ('owner', 'admin', 'member', 'reader'))
);
COMMENT ON TABLE postbox.memberships IS 'Intervals of room membership: messages with joined_seq < seq, and seq <= left_seq once left.';
CREATE UNIQUE INDEX memberships_current ON postbox.memberships (conversation_id, user_id) WHERE left_seq IS NULL;
CREATE INDEX memberships_user ON postbox.memberships (user_id) WHERE left_seq IS NULL;

CREATE TABLE postbox.positions (
    conversation_id bigint NOT NULL REFERENCES postbox.conversations ON DELETE CASCADE,
    user_id         bigint NOT NULL REFERENCES postbox.users ON DELETE CASCADE,
    read_seq        bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation_id, user_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE postbox.positions IS 'How far a user has read in a conversation; it only grows.';

-- One row per message, whoever receives it. No foreign keys here and in inbox:
-- their checks would lock a user row for each message; the writer is the only
-- one that inserts, and it has resolved both ids in the same database.
CREATE TABLE postbox.messages (
    conversation_id  bigint NOT NULL,
    seq              bigint NOT NULL,
    sender_id        bigint NOT NULL,
    sender_inbox_seq bigint NOT NULL,
    sent_at          timestamptz NOT NULL,
    id               uuid NOT NULL,
    expires_at       timestamptz,
    edited_at        timestamptz,
    retracted_at     timestamptz,
    packet_id        integer,
    qos              smallint NOT NULL DEFAULT 0,
    digest           bytea NOT NULL,
    idempotency_key  text,
    device           text,
    content_type     text,
    ref              text,
    body             bytea NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (conversation_id, seq),
    CONSTRAINT messages_id_key UNIQUE (id)
);
COMMENT ON COLUMN postbox.messages.sender_inbox_seq IS 'Number of the sender''s own copy.';
COMMENT ON COLUMN postbox.messages.packet_id IS 'MQTT packet id of a QoS 1 or 2 publish, for the re-send rule; NULL once it cannot come again, and for other ways in.';
COMMENT ON COLUMN postbox.messages.digest IS 'First 16 bytes of SHA-256 over destination, content type, ref, expiry and body.';
COMMENT ON COLUMN postbox.messages.device IS 'Sending MQTT client id.';
COMMENT ON COLUMN postbox.messages.content_type IS 'NULL: text/plain if the body is UTF-8, else application/octet-stream.';
COMMENT ON COLUMN postbox.messages.ref IS 'The app''s own JSON object, byte for byte.';
COMMENT ON COLUMN postbox.messages.body IS 'Payload bytes exactly as sent.';
CREATE UNIQUE INDEX messages_idempotency_key ON postbox.messages (sender_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX messages_resend ON postbox.messages (sender_id, device, packet_id, id) WHERE packet_id IS NOT NULL;

CREATE TABLE postbox.events (
    id              uuid PRIMARY KEY,
    conversation_id bigint NOT NULL,
    seq             bigint NOT NULL,
    kind            smallint NOT NULL,
    actor_id        bigint NOT NULL,
    happened_at     timestamptz NOT NULL,
    idempotency_key text,
    data            jsonb,
    body            bytea,
    CONSTRAINT events_kind_known CHECK (kind BETWEEN 1 AND 4)
);
COMMENT ON TABLE postbox.events IS 'What is in an inbox besides messages: 1 edit, 2 retract, 3 read, 4 room. seq is that of the message it is about.';

CREATE TABLE postbox.inbox (
    user_id         bigint NOT NULL,
    inbox_seq       bigint NOT NULL,
    conversation_id bigint NOT NULL,
    seq             bigint NOT NULL,
    kind            smallint NOT NULL DEFAULT 0,
    event_id        uuid,
    CONSTRAINT inbox_pkey PRIMARY KEY (user_id, inbox_seq)
);
COMMENT ON TABLE postbox.inbox IS 'One narrow row per entry and user: kind 0 is the message (conversation_id, seq), others name their event.';

CREATE VIEW postbox.heads AS
SELECT l.id, greatest(l.floor,
       (SELECT i.inbox_seq FROM postbox.inbox i WHERE i.user_id = l.id ORDER BY i.inbox_seq DESC LIMIT 1),
       (SELECT m.seq FROM postbox.messages m WHERE m.conversation_id = l.id ORDER BY m.seq DESC LIMIT 1)) AS head
  FROM postbox.logs l;
COMMENT ON VIEW postbox.heads IS 'The last number of each inbox and conversation; 0 when it never had an entry.';

-- A deleted entry's number is not given again, though it was the last.
-- +goose StatementBegin
CREATE FUNCTION postbox.keep_numbers() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'inbox' THEN
        UPDATE postbox.logs l SET floor = g.last
          FROM (SELECT user_id AS id, max(inbox_seq) AS last FROM gone GROUP BY user_id) g
         WHERE l.id = g.id AND l.floor < g.last;
    ELSE
        UPDATE postbox.logs l SET floor = g.last
          FROM (SELECT conversation_id AS id, max(seq) AS last FROM gone GROUP BY conversation_id) g
         WHERE l.id = g.id AND l.floor < g.last;
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.keep_numbers IS 'Trigger of inbox and messages: raises logs.floor to what was deleted.';
CREATE TRIGGER keep_numbers AFTER DELETE ON postbox.inbox
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION postbox.keep_numbers();
CREATE TRIGGER keep_numbers AFTER DELETE ON postbox.messages
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION postbox.keep_numbers();

CREATE TABLE postbox.devices (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id        bigint NOT NULL REFERENCES postbox.users ON DELETE CASCADE,
    client_id      text NOT NULL,
    cursor         bigint NOT NULL DEFAULT -1,
    epoch          text NOT NULL,
    protocol       smallint NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    connected_at   timestamptz NOT NULL DEFAULT now(),
    disconnected_at timestamptz,
    expires_after  bigint NOT NULL,
    known_id       uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    CONSTRAINT devices_client_key UNIQUE (user_id, client_id)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE postbox.devices IS 'MQTT sessions. A device without a session has no row.';
COMMENT ON COLUMN postbox.devices.cursor IS 'Highest inbox_seq up to which all is acknowledged or spared; -1 before the first subscription.';
COMMENT ON COLUMN postbox.devices.known_id IS 'The device has shown to know that its messages up to this id are stored: it does not send them again.';
COMMENT ON COLUMN postbox.devices.disconnected_at IS 'NULL while connected (or since its server was killed).';
COMMENT ON COLUMN postbox.devices.expires_after IS 'Seconds after disconnected_at when the session ends.';

CREATE TABLE postbox.subscriptions (
    device_id    bigint NOT NULL REFERENCES postbox.devices ON DELETE CASCADE,
    filter       text NOT NULL,
    qos          smallint NOT NULL,
    no_local     boolean NOT NULL DEFAULT false,
    raw          boolean NOT NULL DEFAULT false,
    identifier   integer NOT NULL DEFAULT 0,
    PRIMARY KEY (device_id, filter)
);
COMMENT ON COLUMN postbox.subscriptions.raw IS 'Deliveries carry the sender''s bytes as payload (form=raw).';

-- No foreign key to devices: a will outlives the session that it ends with, and
-- a device without one has a will, too.
CREATE TABLE postbox.wills (
    id              uuid PRIMARY KEY,
    user_id         bigint NOT NULL REFERENCES postbox.users ON DELETE CASCADE,
    client_id       text NOT NULL,
    delay           bigint NOT NULL,
    due_at          timestamptz,
    recipient       text NOT NULL,
    expires_after   bigint NOT NULL,
    idempotency_key text,
    content_type    text,
    ref             text,
    body            bytea NOT NULL
);
COMMENT ON TABLE postbox.wills IS 'MQTT wills, from CONNECT until they are taken back or become messages: the same transaction deletes the will and inserts its message.';
COMMENT ON COLUMN postbox.wills.id IS 'Of the message that it becomes.';
COMMENT ON COLUMN postbox.wills.delay IS 'Seconds from the end of its connection, at most the life of the session.';
COMMENT ON COLUMN postbox.wills.due_at IS 'NULL while its connection lives (or since its server was killed).';
COMMENT ON COLUMN postbox.wills.expires_after IS 'Seconds that the message lives; 0: for ever.';
CREATE INDEX wills_device ON postbox.wills (user_id, client_id);
CREATE INDEX wills_due ON postbox.wills (due_at, id) WHERE due_at IS NOT NULL;

CREATE TABLE postbox.open_publishes (
    device_id  bigint NOT NULL REFERENCES postbox.devices ON DELETE CASCADE,
    packet_id  integer NOT NULL,
    message_id uuid NOT NULL,
    digest     bytea NOT NULL,
    PRIMARY KEY (device_id, packet_id)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE postbox.open_publishes IS 'QoS 2 packet ids between PUBREC and PUBREL.';

CREATE TABLE postbox.lanes (
    id          integer PRIMARY KEY,
    incarnation bigint NOT NULL
);
COMMENT ON TABLE postbox.lanes IS 'Fence of each writer: a transaction of an older incarnation can no longer commit.';

CREATE TABLE postbox.epochs (
    epoch             text PRIMARY KEY,
    system_identifier text NOT NULL,
    timeline          bigint NOT NULL,
    database_oid      bigint NOT NULL,
    table_oid         bigint NOT NULL,
    began_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE postbox.epochs IS 'Lineages of this database; the newest is in force.';

CREATE TABLE postbox.signing_keys (
    id         text PRIMARY KEY,
    secret     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE postbox.signing_keys IS 'Keys of our own access tokens; the newest signs.';

CREATE TABLE postbox.control (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL,
    user_id    bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE postbox.control IS 'What other processes tell the servers: disabled, password, revoked … with NOTIFY postbox_control.';

CREATE TABLE postbox.search (
    message_id      uuid PRIMARY KEY,
    conversation_id bigint NOT NULL,
    seq             bigint NOT NULL,
    sender_id       bigint NOT NULL,
    sent_at         timestamptz NOT NULL,
    terms           tsvector NOT NULL
);
COMMENT ON TABLE postbox.search IS 'Search terms, filled behind the log by the indexer.';
CREATE INDEX search_terms ON postbox.search USING gin (terms);
