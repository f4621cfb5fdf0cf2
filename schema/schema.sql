-- The schema as the migrations leave it, for reading and for review: what a
-- change of the migrations does shows here. It is listed from the catalogs;
-- bodies of functions are in the migrations and stand here as their MD5.
-- Written by: go test ./schema -update

CREATE SEQUENCE postbox.control_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807;

CREATE SEQUENCE postbox.deletions AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807;

CREATE SEQUENCE postbox.devices_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807;

CREATE SEQUENCE postbox.invites_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807;

CREATE SEQUENCE postbox.log_id AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807;

CREATE SEQUENCE postbox.logins_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807;

CREATE SEQUENCE postbox.schema_version_id_seq AS integer START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 2147483647;

CREATE SEQUENCE postbox.search_queue_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807;

CREATE TABLE postbox.blocks (
    user_id bigint NOT NULL,
    blocked_id bigint NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now()
);
ALTER TABLE postbox.blocks ADD CONSTRAINT blocks_blocked_id_fkey FOREIGN KEY (blocked_id) REFERENCES postbox.users(id) ON DELETE CASCADE;
ALTER TABLE postbox.blocks ADD CONSTRAINT blocks_pkey PRIMARY KEY (user_id, blocked_id);
ALTER TABLE postbox.blocks ADD CONSTRAINT blocks_user_id_fkey FOREIGN KEY (user_id) REFERENCES postbox.users(id) ON DELETE CASCADE;
COMMENT ON TABLE postbox.blocks IS 'user_id takes nothing from blocked_id.';

CREATE TABLE postbox.control (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    kind text NOT NULL,
    user_id bigint NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    subject text NOT NULL DEFAULT ''::text
);
ALTER TABLE postbox.control ADD CONSTRAINT control_pkey PRIMARY KEY (id);
COMMENT ON TABLE postbox.control IS 'What other processes tell the servers: disabled, password, revoked … with NOTIFY postbox_control.';
COMMENT ON COLUMN postbox.control.subject IS 'What of the user it is about: the client id of a revoked device, the name of who was blocked.';

CREATE TABLE postbox.conversations (
    id bigint NOT NULL DEFAULT nextval('postbox.log_id'::regclass),
    user_low bigint,
    user_high bigint,
    room text,
    title text NOT NULL DEFAULT ''::text,
    public boolean NOT NULL DEFAULT false,
    history text NOT NULL DEFAULT 'all'::text,
    members bigint NOT NULL DEFAULT 0,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    deleted_at timestamp with time zone,
    low_wrote boolean NOT NULL DEFAULT false,
    high_wrote boolean NOT NULL DEFAULT false
);
ALTER TABLE postbox.conversations ADD CONSTRAINT conversations_history_known CHECK ((history = ANY (ARRAY['all'::text, 'joined'::text])));
ALTER TABLE postbox.conversations ADD CONSTRAINT conversations_kind CHECK ((((room IS NULL) AND (user_low IS NOT NULL) AND (user_high IS NOT NULL) AND (user_low <= user_high)) OR ((room IS NOT NULL) AND (user_low IS NULL) AND (user_high IS NULL))));
ALTER TABLE postbox.conversations ADD CONSTRAINT conversations_pair_key UNIQUE (user_low, user_high);
ALTER TABLE postbox.conversations ADD CONSTRAINT conversations_pkey PRIMARY KEY (id);
ALTER TABLE postbox.conversations ADD CONSTRAINT conversations_room_key UNIQUE (room);
ALTER TABLE postbox.conversations ADD CONSTRAINT conversations_user_high_fkey FOREIGN KEY (user_high) REFERENCES postbox.users(id);
ALTER TABLE postbox.conversations ADD CONSTRAINT conversations_user_low_fkey FOREIGN KEY (user_low) REFERENCES postbox.users(id);
CREATE INDEX conversations_public ON postbox.conversations USING btree (room) WHERE (public AND (deleted_at IS NULL));
CREATE INDEX conversations_user_high ON postbox.conversations USING btree (user_high) WHERE (room IS NULL);
COMMENT ON TABLE postbox.conversations IS 'A pair of users (low id, high id; the same twice for notes to oneself), or a room.';
COMMENT ON COLUMN postbox.conversations.members IS 'Version of a room: grows with each change of it, under the lock of its log.';
COMMENT ON COLUMN postbox.conversations.low_wrote IS 'user_low has written in it, or was about to: set when a server first learns where their messages go.';
COMMENT ON COLUMN postbox.conversations.high_wrote IS 'The same of user_high.';

CREATE TABLE postbox.devices (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id bigint NOT NULL,
    client_id text NOT NULL,
    cursor bigint NOT NULL DEFAULT '-1'::integer,
    epoch text NOT NULL,
    protocol smallint NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    connected_at timestamp with time zone NOT NULL DEFAULT now(),
    disconnected_at timestamp with time zone,
    expires_after bigint NOT NULL,
    known_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'::uuid
) WITH (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_threshold=500, fillfactor=60);
ALTER TABLE postbox.devices ADD CONSTRAINT devices_client_key UNIQUE (user_id, client_id);
ALTER TABLE postbox.devices ADD CONSTRAINT devices_pkey PRIMARY KEY (id);
ALTER TABLE postbox.devices ADD CONSTRAINT devices_user_id_fkey FOREIGN KEY (user_id) REFERENCES postbox.users(id) ON DELETE CASCADE;
COMMENT ON TABLE postbox.devices IS 'MQTT sessions. A device without a session has no row.';
COMMENT ON COLUMN postbox.devices.cursor IS 'Highest inbox_seq up to which all is acknowledged or spared; -1 before the first subscription.';
COMMENT ON COLUMN postbox.devices.disconnected_at IS 'NULL while connected (or since its server was killed).';
COMMENT ON COLUMN postbox.devices.expires_after IS 'Seconds after disconnected_at when the session ends.';
COMMENT ON COLUMN postbox.devices.known_id IS 'The device has shown to know that its messages up to this id are stored: it does not send them again.';

CREATE TABLE postbox.epochs (
    epoch text NOT NULL,
    system_identifier text NOT NULL,
    timeline bigint NOT NULL,
    database_oid bigint NOT NULL,
    table_oid bigint NOT NULL,
    began_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE postbox.epochs ADD CONSTRAINT epochs_pkey PRIMARY KEY (epoch);
COMMENT ON TABLE postbox.epochs IS 'Lineages of this database; the newest is in force.';

CREATE TABLE postbox.erasures (
    user_id bigint NOT NULL,
    worked_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE postbox.erasures ADD CONSTRAINT erasures_pkey PRIMARY KEY (user_id);
ALTER TABLE postbox.erasures ADD CONSTRAINT erasures_user_id_fkey FOREIGN KEY (user_id) REFERENCES postbox.users(id);
COMMENT ON TABLE postbox.erasures IS 'Accounts of which something is left to erase.';
COMMENT ON COLUMN postbox.erasures.worked_at IS 'When something of it was last erased.';

CREATE TABLE postbox.events (
    id uuid NOT NULL,
    conversation_id bigint NOT NULL,
    seq bigint NOT NULL,
    kind smallint NOT NULL,
    actor_id bigint NOT NULL,
    happened_at timestamp with time zone NOT NULL,
    idempotency_key text,
    data jsonb,
    body bytea,
    digest bytea,
    actor_inbox_seq bigint NOT NULL DEFAULT 0
);
ALTER TABLE postbox.events ADD CONSTRAINT events_kind_known CHECK (((kind >= 1) AND (kind <= 4)));
ALTER TABLE postbox.events ADD CONSTRAINT events_pkey PRIMARY KEY (id);
CREATE INDEX events_actor ON postbox.events USING btree (actor_id);
CREATE UNIQUE INDEX events_idempotency_key ON postbox.events USING btree (actor_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE INDEX events_message ON postbox.events USING btree (conversation_id, seq) WHERE (kind = ANY (ARRAY[1, 2]));
CREATE INDEX events_room ON postbox.events USING btree (conversation_id) WHERE (kind = 4);
COMMENT ON TABLE postbox.events IS 'What is in an inbox besides messages: 1 edit, 2 retract, 3 read, 4 room. seq is that of the message it is about.';
COMMENT ON COLUMN postbox.events.data IS 'Of a change of a room: what happened.';
COMMENT ON COLUMN postbox.events.digest IS 'Of what was asked for under the idempotency key.';
COMMENT ON COLUMN postbox.events.actor_inbox_seq IS 'Number of the actor''s own entry.';

CREATE VIEW postbox.heads (
    id bigint,
    head bigint
);
COMMENT ON TABLE postbox.heads IS 'The last number of each inbox and conversation; 0 when it never had an entry.';

CREATE TABLE postbox.imported_users (
    source text NOT NULL,
    ref text NOT NULL,
    user_id bigint NOT NULL,
    opened boolean NOT NULL DEFAULT false
);
ALTER TABLE postbox.imported_users ADD CONSTRAINT imported_users_account UNIQUE (user_id, source);
ALTER TABLE postbox.imported_users ADD CONSTRAINT imported_users_pkey PRIMARY KEY (source, ref);
ALTER TABLE postbox.imported_users ADD CONSTRAINT imported_users_user_id_fkey FOREIGN KEY (user_id) REFERENCES postbox.users(id) ON DELETE CASCADE;
COMMENT ON TABLE postbox.imported_users IS 'Accounts that were imported; an erased one is not among them any more.';
COMMENT ON COLUMN postbox.imported_users.source IS 'What the import called the place where the user is from.';
COMMENT ON COLUMN postbox.imported_users.ref IS 'The user''s key there.';
COMMENT ON COLUMN postbox.imported_users.opened IS 'The account has its password: it gets it when its messages are here.';

CREATE TABLE postbox.inbox (
    user_id bigint NOT NULL,
    inbox_seq bigint NOT NULL,
    conversation_id bigint NOT NULL,
    seq bigint NOT NULL,
    kind smallint NOT NULL DEFAULT 0,
    event_id uuid,
    entries integer NOT NULL DEFAULT 1,
    publisher bigint,
    packets bytea
);
ALTER TABLE postbox.inbox ADD CONSTRAINT inbox_entries CHECK (((entries = 1) OR ((entries > 1) AND (kind = 0)))) NOT VALID;
ALTER TABLE postbox.inbox ADD CONSTRAINT inbox_pkey PRIMARY KEY (user_id, inbox_seq);
CREATE INDEX inbox_published ON postbox.inbox USING btree (publisher, inbox_seq) WHERE (publisher IS NOT NULL);
CREATE TRIGGER keep_numbers AFTER DELETE ON postbox.inbox REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION postbox.keep_numbers();
COMMENT ON TABLE postbox.inbox IS 'Narrow rows for each user: kind 0 is a message, or several that follow each other; others name their event.';
COMMENT ON COLUMN postbox.inbox.inbox_seq IS 'Number of the first entry of the row.';
COMMENT ON COLUMN postbox.inbox.seq IS 'The message of the first entry, in the conversation.';
COMMENT ON COLUMN postbox.inbox.entries IS 'The row is so many entries: inbox_seq + n is the message seq + n.';
COMMENT ON COLUMN postbox.inbox.publisher IS 'Of what its user has published by MQTT at QoS 1 or 2: the upper 54 bits are from a hash of the user and the device, the lower 10 the upper ones of the packet ids.';
COMMENT ON COLUMN postbox.inbox.packets IS 'A byte for each entry: 1 + the lower 6 bits of its packet id, each once; 0: it has none.';

CREATE VIEW postbox.inbox_entries (
    user_id bigint,
    inbox_seq bigint,
    conversation_id bigint,
    seq bigint,
    kind smallint,
    event_id uuid
);
COMMENT ON TABLE postbox.inbox_entries IS 'The inbox with a row for each entry.';

CREATE TABLE postbox.invites (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    code_hash bytea NOT NULL,
    note text NOT NULL DEFAULT ''::text,
    uses integer NOT NULL,
    used integer NOT NULL DEFAULT 0,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamp with time zone NOT NULL
);
ALTER TABLE postbox.invites ADD CONSTRAINT invites_code_key UNIQUE (code_hash);
ALTER TABLE postbox.invites ADD CONSTRAINT invites_pkey PRIMARY KEY (id);
ALTER TABLE postbox.invites ADD CONSTRAINT invites_uses CHECK (((used >= 0) AND (used <= uses)));
CREATE INDEX invites_expires ON postbox.invites USING btree (expires_at);
COMMENT ON TABLE postbox.invites IS 'Invitations to make an account. The code is kept as SHA-256.';

CREATE TABLE postbox.lanes (
    id integer NOT NULL,
    incarnation bigint NOT NULL
);
ALTER TABLE postbox.lanes ADD CONSTRAINT lanes_pkey PRIMARY KEY (id);
COMMENT ON TABLE postbox.lanes IS 'Fence of each writer: a transaction of an older incarnation can no longer commit.';

CREATE TABLE postbox.logins (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    user_id bigint NOT NULL,
    family bytea NOT NULL,
    device text NOT NULL DEFAULT ''::text,
    token_hash bytea NOT NULL,
    spent_hash bytea,
    salt bytea,
    created_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    used_at timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamp with time zone NOT NULL
) WITH (fillfactor=70);
ALTER TABLE postbox.logins ADD CONSTRAINT logins_family_key UNIQUE (family);
ALTER TABLE postbox.logins ADD CONSTRAINT logins_pkey PRIMARY KEY (id);
ALTER TABLE postbox.logins ADD CONSTRAINT logins_user_id_fkey FOREIGN KEY (user_id) REFERENCES postbox.users(id) ON DELETE CASCADE;
CREATE INDEX logins_expires ON postbox.logins USING btree (expires_at);
CREATE INDEX logins_user ON postbox.logins USING btree (user_id, used_at);
COMMENT ON TABLE postbox.logins IS 'Sign-ins: families of refresh tokens. Access tokens name theirs, and end with it.';
COMMENT ON COLUMN postbox.logins.family IS 'First part of each of its refresh tokens.';
COMMENT ON COLUMN postbox.logins.device IS 'What the sign-in called itself: a device of this name that is revoked takes it along.';
COMMENT ON COLUMN postbox.logins.token_hash IS 'SHA-256 of the refresh token that counts.';
COMMENT ON COLUMN postbox.logins.spent_hash IS 'SHA-256 of the one before, spent at used_at.';
COMMENT ON COLUMN postbox.logins.salt IS 'From the spent token and this follows the one that counts.';
COMMENT ON COLUMN postbox.logins.used_at IS 'When its newest refresh token was made.';

CREATE TABLE postbox.logs (
    id bigint NOT NULL,
    floor bigint NOT NULL DEFAULT 0
);
ALTER TABLE postbox.logs ADD CONSTRAINT logs_pkey PRIMARY KEY (id);
CREATE TRIGGER count_deletion AFTER DELETE OR UPDATE OF floor ON postbox.logs FOR EACH ROW EXECUTE FUNCTION postbox.count_deletion();
COMMENT ON TABLE postbox.logs IS 'One row per inbox and per conversation: its lock. The last number is in the view heads.';
COMMENT ON COLUMN postbox.logs.id IS 'users.id of an inbox, conversations.id of a conversation; both from log_id.';
COMMENT ON COLUMN postbox.logs.floor IS 'Highest number of an entry that was deleted: it is not given again.';

CREATE TABLE postbox.memberships (
    conversation_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    joined_seq bigint NOT NULL,
    left_seq bigint
);
ALTER TABLE postbox.memberships ADD CONSTRAINT memberships_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES postbox.conversations(id) ON DELETE CASCADE;
ALTER TABLE postbox.memberships ADD CONSTRAINT memberships_pkey PRIMARY KEY (conversation_id, user_id, joined_seq);
ALTER TABLE postbox.memberships ADD CONSTRAINT memberships_role_known CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'member'::text, 'reader'::text])));
ALTER TABLE postbox.memberships ADD CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES postbox.users(id);
CREATE UNIQUE INDEX memberships_current ON postbox.memberships USING btree (conversation_id, user_id) WHERE (left_seq IS NULL);
CREATE INDEX memberships_former ON postbox.memberships USING btree (user_id) WHERE (left_seq IS NOT NULL);
CREATE INDEX memberships_user ON postbox.memberships USING btree (user_id) WHERE (left_seq IS NULL);
COMMENT ON TABLE postbox.memberships IS 'Intervals of room membership: messages with joined_seq < seq, and seq <= left_seq once left.';

CREATE TABLE postbox.messages (
    conversation_id bigint NOT NULL,
    seq bigint NOT NULL,
    sender_id bigint NOT NULL,
    sender_inbox_seq bigint NOT NULL,
    sent_at timestamp with time zone NOT NULL,
    id uuid NOT NULL,
    expires_at timestamp with time zone,
    edited_at timestamp with time zone,
    retracted_at timestamp with time zone,
    qos smallint NOT NULL DEFAULT 0,
    digest bytea NOT NULL,
    idempotency_key text,
    device text,
    content_type text,
    ref text,
    body bytea NOT NULL,
    peer_inbox_seq bigint
);
ALTER TABLE postbox.messages ADD CONSTRAINT messages_id_key UNIQUE (id);
ALTER TABLE postbox.messages ADD CONSTRAINT messages_pkey PRIMARY KEY (conversation_id, seq);
CREATE UNIQUE INDEX messages_idempotency_key ON postbox.messages USING btree (sender_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE TRIGGER keep_numbers AFTER DELETE ON postbox.messages REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION postbox.keep_numbers();
CREATE TRIGGER search_changed AFTER UPDATE OF body, content_type, expires_at, retracted_at ON postbox.messages FOR EACH ROW EXECUTE FUNCTION postbox.search_changed();
CREATE TRIGGER search_deleted AFTER DELETE ON postbox.messages REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION postbox.search_deleted();
COMMENT ON COLUMN postbox.messages.sender_inbox_seq IS 'Number of the sender''s own copy.';
COMMENT ON COLUMN postbox.messages.qos IS 'How it was published; -1: it was imported, and sent_at is not when it came.';
COMMENT ON COLUMN postbox.messages.digest IS 'First 16 bytes of SHA-256 over destination, content type, ref, expiry and body.';
COMMENT ON COLUMN postbox.messages.device IS 'Sending MQTT client id.';
COMMENT ON COLUMN postbox.messages.content_type IS 'NULL: text/plain if the body is UTF-8, else application/octet-stream.';
COMMENT ON COLUMN postbox.messages.ref IS 'The app''s own JSON object, byte for byte.';
COMMENT ON COLUMN postbox.messages.body IS 'Payload bytes exactly as sent.';
COMMENT ON COLUMN postbox.messages.peer_inbox_seq IS 'Number of the other side''s entry of a direct message; NULL in rooms, for notes to oneself, and for messages from before this column.';

CREATE TABLE postbox.open_publishes (
    device_id bigint NOT NULL,
    packet_id integer NOT NULL,
    message_id uuid NOT NULL,
    digest bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=2000, fillfactor=60);
ALTER TABLE postbox.open_publishes ADD CONSTRAINT open_publishes_device_id_fkey FOREIGN KEY (device_id) REFERENCES postbox.devices(id) ON DELETE CASCADE;
ALTER TABLE postbox.open_publishes ADD CONSTRAINT open_publishes_pkey PRIMARY KEY (device_id, packet_id);
COMMENT ON TABLE postbox.open_publishes IS 'QoS 2 packet ids between PUBREC and PUBREL.';

CREATE TABLE postbox.positions (
    conversation_id bigint NOT NULL,
    user_id bigint NOT NULL,
    read_seq bigint NOT NULL DEFAULT 0,
    told_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor=70);
ALTER TABLE postbox.positions ADD CONSTRAINT positions_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES postbox.conversations(id) ON DELETE CASCADE;
ALTER TABLE postbox.positions ADD CONSTRAINT positions_pkey PRIMARY KEY (conversation_id, user_id);
ALTER TABLE postbox.positions ADD CONSTRAINT positions_user_id_fkey FOREIGN KEY (user_id) REFERENCES postbox.users(id) ON DELETE CASCADE;
COMMENT ON TABLE postbox.positions IS 'How far a user has read in a conversation; it only grows.';
COMMENT ON COLUMN postbox.positions.told_seq IS 'The read_seq that the user''s devices, and the other side, were last told of.';

CREATE TABLE postbox.reserved_names (
    digest bytea NOT NULL
);
ALTER TABLE postbox.reserved_names ADD CONSTRAINT reserved_names_pkey PRIMARY KEY (digest);
COMMENT ON TABLE postbox.reserved_names IS 'Names that are not given again: SHA-256 over the salt in reserved_names_salt and the name.';

CREATE TABLE postbox.reserved_names_salt (
    one boolean NOT NULL DEFAULT true,
    salt bytea NOT NULL
);
ALTER TABLE postbox.reserved_names_salt ADD CONSTRAINT reserved_names_salt_one CHECK (one);
ALTER TABLE postbox.reserved_names_salt ADD CONSTRAINT reserved_names_salt_pkey PRIMARY KEY (one);

CREATE TABLE postbox.schema_version (
    id integer NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    version_id bigint NOT NULL,
    is_applied boolean NOT NULL,
    tstamp timestamp without time zone NOT NULL DEFAULT now()
);
ALTER TABLE postbox.schema_version ADD CONSTRAINT schema_version_pkey PRIMARY KEY (id);

CREATE TABLE postbox.search (
    conversation_id bigint NOT NULL,
    seq bigint NOT NULL,
    sender_id bigint NOT NULL,
    sent_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    terms text NOT NULL
);
ALTER TABLE postbox.search ADD CONSTRAINT search_pkey PRIMARY KEY (conversation_id, seq);
CREATE INDEX search_expiry ON postbox.search USING btree (expires_at) WHERE (expires_at IS NOT NULL);
CREATE INDEX search_terms ON postbox.search USING gin (array_to_tsvector(string_to_array(terms, ' '::text))) WITH (fastupdate='on', gin_pending_list_limit='16384');
COMMENT ON TABLE postbox.search IS 'Search terms, filled behind the log by the indexer.';
COMMENT ON COLUMN postbox.search.terms IS 'With a space between two: words in lower case; U: a user of a direct conversation, C: another conversation, A and B: windows of the index, D: 256 messages of a conversation; numbers are hexadecimal.';

CREATE TABLE postbox.search_queue (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    queued_at timestamp with time zone NOT NULL,
    conversations bigint[] NOT NULL,
    afters bigint[] NOT NULL,
    counts integer[] NOT NULL,
    changed boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=2000);
ALTER TABLE postbox.search_queue ADD CONSTRAINT search_queue_pkey PRIMARY KEY (id);
COMMENT ON TABLE postbox.search_queue IS 'Messages for the indexer: of each of the conversations so many after a seq.';
COMMENT ON COLUMN postbox.search_queue.changed IS 'They are no longer what they were when they were sent, or are gone.';

CREATE TABLE postbox.search_state (
    one boolean NOT NULL DEFAULT true,
    next bigint NOT NULL DEFAULT ((1)::bigint << 40),
    newest timestamp with time zone NOT NULL DEFAULT '-infinity'::timestamp with time zone,
    fill_next bigint NOT NULL DEFAULT 0,
    fill_newest timestamp with time zone NOT NULL DEFAULT '-infinity'::timestamp with time zone,
    fill_after uuid,
    fill_up_to uuid,
    covered timestamp with time zone NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor=50);
ALTER TABLE postbox.search_state ADD CONSTRAINT search_state_one CHECK (one);
ALTER TABLE postbox.search_state ADD CONSTRAINT search_state_pkey PRIMARY KEY (one);
COMMENT ON TABLE postbox.search_state IS 'How far the indexer is; who holds this row indexes.';
COMMENT ON COLUMN postbox.search_state.next IS 'Number of the next row.';
COMMENT ON COLUMN postbox.search_state.fill_next IS 'The same for messages that were there before the index.';
COMMENT ON COLUMN postbox.search_state.fill_after IS 'Of those, all up to this id are in the index; NULL when all are.';
COMMENT ON COLUMN postbox.search_state.covered IS 'All that was committed before is in the index, besides what fill_after says.';

CREATE TABLE postbox.search_windows (
    id bigint NOT NULL,
    newest timestamp with time zone NOT NULL,
    oldest timestamp with time zone NOT NULL
) WITH (fillfactor=70);
ALTER TABLE postbox.search_windows ADD CONSTRAINT search_windows_pkey PRIMARY KEY (id);
COMMENT ON TABLE postbox.search_windows IS 'When the messages of 4096 rows of search were sent.';
COMMENT ON COLUMN postbox.search_windows.newest IS 'No message in this window, or in an earlier one of those that are filled in the same way, is younger.';
COMMENT ON COLUMN postbox.search_windows.oldest IS 'No message in this window is older.';

CREATE TABLE postbox.signing_keys (
    id text NOT NULL,
    secret bytea NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now()
);
ALTER TABLE postbox.signing_keys ADD CONSTRAINT signing_keys_pkey PRIMARY KEY (id);
COMMENT ON TABLE postbox.signing_keys IS 'Keys of our own access tokens; the newest signs.';

CREATE TABLE postbox.subscriptions (
    device_id bigint NOT NULL,
    filter text NOT NULL,
    qos smallint NOT NULL,
    no_local boolean NOT NULL DEFAULT false,
    raw boolean NOT NULL DEFAULT false,
    identifier integer NOT NULL DEFAULT 0
);
ALTER TABLE postbox.subscriptions ADD CONSTRAINT subscriptions_device_id_fkey FOREIGN KEY (device_id) REFERENCES postbox.devices(id) ON DELETE CASCADE;
ALTER TABLE postbox.subscriptions ADD CONSTRAINT subscriptions_pkey PRIMARY KEY (device_id, filter);
COMMENT ON COLUMN postbox.subscriptions.raw IS 'Deliveries carry the sender''s bytes as payload (form=raw).';

CREATE TABLE postbox.users (
    id bigint NOT NULL DEFAULT nextval('postbox.log_id'::regclass),
    name text NOT NULL,
    display_name text NOT NULL DEFAULT ''::text,
    password_hash text NOT NULL DEFAULT ''::text,
    admin boolean NOT NULL DEFAULT false,
    receipts boolean NOT NULL DEFAULT true,
    accept text NOT NULL DEFAULT 'everyone'::text,
    delivered_seq bigint NOT NULL DEFAULT 0,
    tokens_valid_after timestamp with time zone NOT NULL DEFAULT '1970-01-01 00:00:00+00'::timestamp with time zone,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    seen_at timestamp with time zone,
    disabled_at timestamp with time zone,
    erased_at timestamp with time zone
) WITH (fillfactor=80);
ALTER TABLE postbox.users ADD CONSTRAINT users_accept_known CHECK ((accept = ANY (ARRAY['everyone'::text, 'known'::text, 'nobody'::text])));
ALTER TABLE postbox.users ADD CONSTRAINT users_name_form CHECK ((name ~ '^[a-z0-9][a-z0-9._@-]{0,63}$'::text));
ALTER TABLE postbox.users ADD CONSTRAINT users_name_key UNIQUE (name);
ALTER TABLE postbox.users ADD CONSTRAINT users_pkey PRIMARY KEY (id);
CREATE TRIGGER keep_reserved BEFORE INSERT ON postbox.users FOR EACH ROW EXECUTE FUNCTION postbox.keep_reserved();
COMMENT ON COLUMN postbox.users.password_hash IS 'argon2id or bcrypt; empty: no password login.';
COMMENT ON COLUMN postbox.users.delivered_seq IS 'High-water mark over the user''s devices: highest acknowledged inbox_seq.';
COMMENT ON COLUMN postbox.users.tokens_valid_after IS 'Tokens issued before this moment are refused.';
COMMENT ON COLUMN postbox.users.erased_at IS 'The person is gone; the row is who wrote the tombstones. It has a name of its own then, and no log: nothing can be appended to its inbox, nor by it.';

CREATE TABLE postbox.wills (
    id uuid NOT NULL,
    user_id bigint NOT NULL,
    client_id text NOT NULL,
    delay bigint NOT NULL,
    due_at timestamp with time zone,
    recipient text NOT NULL,
    expires_after bigint NOT NULL,
    idempotency_key text,
    content_type text,
    ref text,
    body bytea NOT NULL,
    room boolean NOT NULL DEFAULT false
);
ALTER TABLE postbox.wills ADD CONSTRAINT wills_pkey PRIMARY KEY (id);
ALTER TABLE postbox.wills ADD CONSTRAINT wills_user_id_fkey FOREIGN KEY (user_id) REFERENCES postbox.users(id) ON DELETE CASCADE;
CREATE INDEX wills_device ON postbox.wills USING btree (user_id, client_id);
CREATE INDEX wills_due ON postbox.wills USING btree (due_at, id) WHERE (due_at IS NOT NULL);
COMMENT ON TABLE postbox.wills IS 'MQTT wills, from CONNECT until they are taken back or become messages: the same transaction deletes the will and inserts its message.';
COMMENT ON COLUMN postbox.wills.id IS 'Of the message that it becomes.';
COMMENT ON COLUMN postbox.wills.delay IS 'Seconds from the end of its connection, at most the life of the session.';
COMMENT ON COLUMN postbox.wills.due_at IS 'NULL while its connection lives (or since its server was killed).';
COMMENT ON COLUMN postbox.wills.expires_after IS 'Seconds that the message lives; 0: for ever.';
COMMENT ON COLUMN postbox.wills.room IS 'recipient is a room.';

-- FUNCTION postbox.append (
--     p_lane integer,
--     p_incarnation bigint,
--     p_now bigint,
--     p_logs bigint[],
--     p_conversations integer,
--     p_messages integer[],
--     m_id uuid[],
--     m_device text[],
--     m_key text[],
--     m_type text[],
--     m_ref text[],
--     m_expires bigint[],
--     p_digests bytea,
--     p_bodies bytea,
--     p_entries integer[],
--     p_publishers bigint[],
--     p_offsets integer[],
--     p_packets bytea,
--     o_device bigint[],
--     o_packet integer[],
--     o_message uuid[],
--     o_digests bytea,
--     c_device bigint[],
--     c_packet integer[],
--     w_message integer[],
--     r_log integer[],
--     r_version bigint[],
--     p_locks bigint[],
--     p_known boolean,
--     p_heads bigint[],
--     p_stamps bigint[],
--     p_deletions bigint,
--     p_counts integer[],
--     OUT deletions bigint,
--     OUT heads bigint[],
--     OUT stamps bigint[],
--     OUT taken integer[],
--     OUT gone integer[],
--     OUT stale integer[]
-- ) RETURNS record LANGUAGE plpgsql VOLATILE, MD5 of its body ac9553ee82abc776d8cfe1f28dfa1c7b
-- Stores one batch of a lane; called by the writer only.

-- FUNCTION postbox.change (
--     p_lane integer,
--     p_incarnation bigint,
--     p_now timestamp with time zone,
--     p_kind smallint,
--     p_actor bigint,
--     p_id uuid,
--     p_target uuid,
--     p_conversation bigint,
--     p_seq bigint,
--     p_quiet boolean,
--     p_key text,
--     p_digest bytea,
--     p_body bytea,
--     OUT r_outcome text,
--     OUT r_id uuid,
--     OUT r_conversation bigint,
--     OUT r_seq bigint,
--     OUT r_at timestamp with time zone,
--     OUT r_expires timestamp with time zone,
--     OUT r_target uuid,
--     OUT r_to text,
--     OUT r_room text,
--     OUT r_users bigint[],
--     OUT r_numbers bigint[]
-- ) RETURNS record LANGUAGE plpgsql VOLATILE, MD5 of its body 5be1eb6a440e6e3cd796d057d6555f63
-- Stores one edit, retraction or read marker of a lane; called by the writer only.

-- FUNCTION postbox.count_deletion (
--     
-- ) RETURNS trigger LANGUAGE plpgsql VOLATILE, MD5 of its body 4671c29967e0231d76fbfb8fcf54b4b0
-- Trigger of logs: raises postbox.deletions.

-- FUNCTION postbox.keep_numbers (
--     
-- ) RETURNS trigger LANGUAGE plpgsql VOLATILE, MD5 of its body 4b38766b62c410cf5e87ac5966c65bfb
-- Trigger of inbox and messages: raises logs.floor to what was deleted.

-- FUNCTION postbox.keep_reserved (
--     
-- ) RETURNS trigger LANGUAGE plpgsql VOLATILE, MD5 of its body 6b5a96987ed07c50b1365776433231d0
-- Trigger of users: a reserved name is not inserted.

-- FUNCTION postbox.note_own_positions (
--     p_conversations bigint[],
--     p_afters bigint[],
--     p_counts integer[]
-- ) RETURNS void LANGUAGE plpgsql VOLATILE, MD5 of its body 68343b6a248e2a7b6685d050928d21b7
-- Notes in positions how far those have read who have sent one of each 500 messages that are complete with these: of each conversation so many after a seq.

-- FUNCTION postbox.reserved_name (
--     name text
-- ) RETURNS bytea LANGUAGE sql STABLE, MD5 of its body d41d8cd98f00b204e9800998ecf8427e
-- What reserved_names has of a name.

-- FUNCTION postbox.room (
--     p_lane integer,
--     p_incarnation bigint,
--     p_now timestamp with time zone,
--     p_id uuid,
--     p_actor bigint,
--     p_event text,
--     p_conversation bigint,
--     p_version bigint,
--     p_room text,
--     p_user bigint,
--     p_role text,
--     p_title text,
--     p_public boolean,
--     p_history text,
--     p_data jsonb,
--     OUT r_outcome text,
--     OUT r_conversation bigint,
--     OUT r_at timestamp with time zone,
--     OUT r_users bigint[],
--     OUT r_numbers bigint[]
-- ) RETURNS record LANGUAGE plpgsql VOLATILE, MD5 of its body 439bc86cbc2132d5e4cbb6af0c301558
-- Stores one change of a room of a lane; called by the writer only.

-- FUNCTION postbox.search_changed (
--     
-- ) RETURNS trigger LANGUAGE plpgsql VOLATILE, MD5 of its body cde4fb6d6aab723c73e260c76b892cda
-- Trigger of messages: takes the old text out of the search index.

-- FUNCTION postbox.search_deleted (
--     
-- ) RETURNS trigger LANGUAGE plpgsql VOLATILE, MD5 of its body 938cc1f21c252ff2fb847c8830ff097c
-- Trigger of messages: takes what is deleted out of the search index, or has the indexer do it.

-- FUNCTION postbox.search_rebuild (
--     
-- ) RETURNS void LANGUAGE plpgsql VOLATILE, MD5 of its body 90248b2ccbfbdee31ee437146248eb86
-- Empties the search index; the indexer fills it again.
