-- +goose Up

-- Nothing has filled the first search table. The new one has a row for each
-- message that can be found, under the message's own key. Its terms are words, and
-- besides them whose message it is and in which window of the index it stands
-- (search_windows): so the newest messages with a word are found without looking
-- at all that have it.
DROP TABLE postbox.search;
CREATE TABLE postbox.search (
    conversation_id bigint NOT NULL,
    seq             bigint NOT NULL,
    sender_id       bigint NOT NULL,
    sent_at         timestamptz NOT NULL,
    expires_at      timestamptz,
    terms           tsvector NOT NULL,
    CONSTRAINT search_pkey PRIMARY KEY (conversation_id, seq)
);
COMMENT ON TABLE postbox.search IS 'Search terms, filled behind the log by the indexer.';
COMMENT ON COLUMN postbox.search.terms IS 'Words in lower case; U: a user of a direct conversation, C: another conversation, A and B: windows of the index, D: 256 messages of a conversation; numbers are hexadecimal.';
-- Entries are put into the index many at a time, by the indexer.
CREATE INDEX search_terms ON postbox.search USING gin (terms) WITH (fastupdate = on, gin_pending_list_limit = 16384);
CREATE INDEX search_expiry ON postbox.search (expires_at) WHERE expires_at IS NOT NULL;

-- Rows are numbered as they come: those of messages that were there before the
-- index from zero on, the others from 2^40 on. A window is 4096 numbers.
CREATE TABLE postbox.search_windows (
    id     bigint PRIMARY KEY,
    newest timestamptz NOT NULL,
    oldest timestamptz NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE postbox.search_windows IS 'When the messages of 4096 rows of search were sent.';
COMMENT ON COLUMN postbox.search_windows.newest IS 'No message in this window, or in an earlier one of those that are filled in the same way, is younger.';
COMMENT ON COLUMN postbox.search_windows.oldest IS 'No message in this window is older.';

-- What has been committed and is not in the index yet. The writer puts a row in
-- with each batch, in the same transaction, so that nothing is missed, whatever
-- ends when; triggers do it for what changes.
CREATE TABLE postbox.search_queue (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queued_at     timestamptz NOT NULL,
    conversations bigint[] NOT NULL,
    afters        bigint[] NOT NULL,
    counts        integer[] NOT NULL,
    changed       boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE postbox.search_queue IS 'Messages for the indexer: of each of the conversations so many after a seq.';
COMMENT ON COLUMN postbox.search_queue.changed IS 'They are no longer what they were when they were sent, or are gone.';

CREATE TABLE postbox.search_state (
    one         boolean PRIMARY KEY DEFAULT true,
    next        bigint NOT NULL DEFAULT 1::bigint << 40,
    newest      timestamptz NOT NULL DEFAULT '-infinity',
    fill_next   bigint NOT NULL DEFAULT 0,
    fill_newest timestamptz NOT NULL DEFAULT '-infinity',
    fill_after  uuid,
    fill_up_to  uuid,
    CONSTRAINT search_state_one CHECK (one)
) WITH (fillfactor = 50);
COMMENT ON TABLE postbox.search_state IS 'How far the indexer is; who holds this row indexes.';
COMMENT ON COLUMN postbox.search_state.next IS 'Number of the next row.';
COMMENT ON COLUMN postbox.search_state.fill_next IS 'The same for messages that were there before the index.';
COMMENT ON COLUMN postbox.search_state.fill_after IS 'Of those, all up to this id are in the index; NULL when all are.';
INSERT INTO postbox.search_state DEFAULT VALUES;

-- +goose StatementBegin
CREATE FUNCTION postbox.search_rebuild() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM postbox.search_state FOR UPDATE;
    TRUNCATE postbox.search, postbox.search_windows;
    UPDATE postbox.search_state
       SET next = DEFAULT, newest = DEFAULT, fill_next = DEFAULT, fill_newest = DEFAULT,
           fill_after = '00000000-0000-0000-0000-000000000000',
           fill_up_to = (SELECT m.id FROM postbox.messages m ORDER BY m.id DESC LIMIT 1);
    UPDATE postbox.search_state SET fill_after = NULL WHERE fill_up_to IS NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.search_rebuild IS 'Empties the search index; the indexer fills it again.';
SELECT postbox.search_rebuild();

-- A message that has changed leaves the index at once; if there is something
-- new to find, or the indexer is just about to put the old text in, the queue
-- sees to it.
-- +goose StatementBegin
CREATE FUNCTION postbox.search_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM postbox.search s WHERE s.conversation_id = NEW.conversation_id AND s.seq = NEW.seq;
    IF current_setting('postbox.erasing', true) IS DISTINCT FROM 'on' THEN -- who erases puts many into one row
        INSERT INTO postbox.search_queue (queued_at, conversations, afters, counts, changed)
        VALUES (clock_timestamp(), ARRAY[NEW.conversation_id], ARRAY[NEW.seq - 1], ARRAY[1], true);
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.search_changed IS 'Trigger of messages: takes the old text out of the search index.';
CREATE TRIGGER search_changed AFTER UPDATE OF body, content_type, expires_at, retracted_at ON postbox.messages
    FOR EACH ROW EXECUTE FUNCTION postbox.search_changed();

-- +goose StatementBegin
CREATE FUNCTION postbox.search_deleted() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    WITH found AS (
        DELETE FROM postbox.search s USING gone g
         WHERE s.conversation_id = g.conversation_id AND s.seq = g.seq
        RETURNING s.conversation_id, s.seq),
    missed AS (
        SELECT g.conversation_id, g.seq FROM gone g
         WHERE NOT EXISTS (SELECT FROM found f WHERE f.conversation_id = g.conversation_id AND f.seq = g.seq))
    INSERT INTO postbox.search_queue (queued_at, conversations, afters, counts, changed)
    SELECT clock_timestamp(), array_agg(m.conversation_id), array_agg(m.seq - 1), array_agg(1), true
      FROM missed m HAVING count(*) > 0;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.search_deleted IS 'Trigger of messages: takes what is deleted out of the search index, or has the indexer do it.';
CREATE TRIGGER search_deleted AFTER DELETE ON postbox.messages
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION postbox.search_deleted();

CREATE INDEX memberships_former ON postbox.memberships (user_id) WHERE left_seq IS NOT NULL;
