-- +goose Up

-- A row of inbox may be several entries that follow each other in the inbox and in their
-- conversation: who gets twenty messages of one conversation by one commit gets one row, not
-- twenty. That is less than half of what storing them takes otherwise, and the inbox and its
-- index are smaller.
ALTER TABLE postbox.inbox ADD entries integer NOT NULL DEFAULT 1;
ALTER TABLE postbox.inbox ADD CONSTRAINT inbox_entries CHECK (entries = 1 OR entries > 1 AND kind = 0) NOT VALID;
COMMENT ON TABLE postbox.inbox IS 'Narrow rows for each user: kind 0 is a message, or several that follow each other; others name their event.';
COMMENT ON COLUMN postbox.inbox.inbox_seq IS 'Number of the first entry of the row.';
COMMENT ON COLUMN postbox.inbox.seq IS 'The message of the first entry, in the conversation.';
COMMENT ON COLUMN postbox.inbox.entries IS 'The row is so many entries: inbox_seq + n is the message seq + n.';

-- By what a re-send is recognised is in the rows of the sender's own inbox now: one entry
-- in an index for a row instead of one for each message, which was a fifth of what storing
-- it took. What can still come again is brought over.
ALTER TABLE postbox.inbox ADD publisher bigint, ADD packets bytea;
UPDATE postbox.inbox i
   SET publisher = ('x' || encode(substring(sha256(convert_to(m.sender_id || ':' || m.device, 'UTF8')) FROM 1 FOR 8), 'hex'))::bit(64)::bigint & ~1023::bigint
                   | (m.packet_id >> 6),
       packets = set_byte('\x00', 0, 1 + (m.packet_id & 63))
  FROM postbox.messages m
 WHERE m.packet_id IS NOT NULL AND m.sent_at > now() - interval '24 hours'
   AND m.id > (lpad(to_hex((extract(epoch FROM now() - interval '25 hours') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
   AND i.user_id = m.sender_id AND i.inbox_seq = m.sender_inbox_seq;
ALTER TABLE postbox.messages DROP packet_id; -- and its index with it
CREATE INDEX inbox_published ON postbox.inbox (publisher, inbox_seq) WHERE publisher IS NOT NULL;
COMMENT ON COLUMN postbox.inbox.publisher IS 'Of what its user has published by MQTT at QoS 1 or 2: the upper 54 bits are from a hash of the user and the device, the lower 10 the upper ones of the packet ids.';
COMMENT ON COLUMN postbox.inbox.packets IS 'A byte for each entry: 1 + the lower 6 bits of its packet id, each once; 0: it has none.';

CREATE VIEW postbox.inbox_entries AS
SELECT i.user_id, i.inbox_seq + n.n AS inbox_seq, i.conversation_id, i.seq + n.n AS seq, i.kind, i.event_id
  FROM postbox.inbox i CROSS JOIN LATERAL generate_series(0, i.entries - 1) AS n (n);
COMMENT ON VIEW postbox.inbox_entries IS 'The inbox with a row for each entry.';

CREATE OR REPLACE VIEW postbox.heads AS
SELECT l.id, greatest(l.floor,
       (SELECT i.inbox_seq + i.entries - 1 FROM postbox.inbox i WHERE i.user_id = l.id ORDER BY i.inbox_seq DESC LIMIT 1),
       (SELECT m.seq FROM postbox.messages m WHERE m.conversation_id = l.id ORDER BY m.seq DESC LIMIT 1)) AS head
  FROM postbox.logs l;

-- These look for the last number of an inbox as they did, now by all that its last row is.
-- +goose StatementBegin
DO $do$
DECLARE
    v_change text[];
    v_old    text;
BEGIN
    FOREACH v_change SLICE 1 IN ARRAY ARRAY[
        ['postbox.change', 'SELECT e.inbox_seq FROM postbox.inbox e
                              WHERE e.user_id = u.id ORDER BY', 'SELECT e.inbox_seq + e.entries - 1 AS inbox_seq FROM postbox.inbox e
                              WHERE e.user_id = u.id ORDER BY'],
        ['postbox.room', 'SELECT e.inbox_seq FROM postbox.inbox e
                          WHERE e.user_id = u.id ORDER BY', 'SELECT e.inbox_seq + e.entries - 1 AS inbox_seq FROM postbox.inbox e
                          WHERE e.user_id = u.id ORDER BY'],
        ['postbox.keep_numbers', 'max(inbox_seq)', 'max(inbox_seq + entries - 1)']]
    LOOP
        v_old := pg_get_functiondef(v_change[1]::regproc);
        IF strpos(v_old, v_change[2]) = 0 THEN
            RAISE EXCEPTION '% is not what it was', v_change[1];
        END IF;
        EXECUTE replace(v_old, v_change[2], v_change[3]);
    END LOOP;
END
$do$;
-- +goose StatementEnd

-- A trigger that looks at each message for every 500th cost a fifteenth of what storing
-- them takes. Whoever stores messages says so for all of a transaction.
DROP TRIGGER note_own_positions ON postbox.messages;
DROP FUNCTION postbox.note_own_positions;
-- +goose StatementBegin
CREATE FUNCTION postbox.note_own_positions(p_conversations bigint[], p_afters bigint[], p_counts integer[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(p_afters, p_counts) AS u (after, count) WHERE u.after % 500 + u.count >= 500) THEN
        INSERT INTO postbox.positions AS k (conversation_id, user_id, read_seq, told_seq)
        SELECT c.id, s.sender_id, s.last, s.last
          FROM unnest(p_conversations, p_afters, p_counts) AS c (id, after, count)
         CROSS JOIN LATERAL (
               SELECT m.sender_id, max(m.seq) AS last FROM postbox.messages m
                WHERE m.conversation_id = c.id AND m.seq > c.after / 500 * 500 AND m.seq <= (c.after + c.count) / 500 * 500
                GROUP BY m.sender_id) s
         WHERE c.after % 500 + c.count >= 500 AND EXISTS (SELECT FROM postbox.users u WHERE u.id = s.sender_id)
         ORDER BY c.id, s.sender_id
        ON CONFLICT (conversation_id, user_id) DO UPDATE
           SET read_seq = EXCLUDED.read_seq, told_seq = greatest(k.told_seq, EXCLUDED.told_seq)
         WHERE k.read_seq < EXCLUDED.read_seq;
    END IF;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.note_own_positions IS 'Notes in positions how far those have read who have sent one of each 500 messages that are complete with these: of each conversation so many after a seq.';

-- The new append stores such rows.
DROP FUNCTION postbox.append;

-- append stores one batch of one lane in one round trip. The order is: fence,
-- look for used idempotency keys, lock the logs of p_locks, read those heads that the
-- caller does not know, insert. The heads are read by a statement of their own, which
-- sees what the one who held the lock before has stored: READ COMMITTED is a must.
-- If a key was used before, nothing is written and `taken` names the drafts
-- (1-based); the caller answers these and calls again without them. A key that
-- another server stores between the look and the insert breaks the unique
-- index: all of the batch is rolled back, and the caller calls again.
--
-- A will leaves its table with the insert of its message. Those that are not
-- there any more, because they were sent before or taken back, are named by
-- `gone` in the same way.
--
-- The logs are locked in the order of their ids. Should two transactions meet in
-- another order all the same, PostgreSQL ends one of them, and its caller calls
-- again. The inboxes of a room's members need no lock: whoever writes to an inbox begins
-- a row with the number after its last, so of two transactions that would give the same
-- number the primary key of inbox refuses one. The caller keeps its own batches apart. A caller that was refused for that asks for all locks the next time. Others
-- that were refused, which write to inboxes under their locks, keep all appends away
-- the next time, by the advisory lock.
--
-- An inbox that is not locked may be one whose user is just being erased. What it gets
-- is erased after the user has left the room.
--
-- Whom a room's message goes to was looked up before. Under the lock of the
-- room's log it is certain whether that still holds: if the room has another
-- version by then, nothing is written and `stale` names the rooms (as places in
-- r_log, 1-based); the caller looks again.
--
-- Numbers: p_logs are the conversations, of which there are p_conversations, and then
-- the inboxes. If p_known, p_heads are their last numbers as far as the caller knows,
-- and p_stamps when the messages of this batch in the conversations are sent, in
-- milliseconds since 1970. Else p_heads is -1 where the caller does not know the
-- number, and p_stamps is when those messages are sent if the last one of the
-- conversation is not younger. A head that is behind breaks a primary key: all of
-- the batch is rolled back, and the caller calls again with -1.
--
-- What was deleted breaks no key. So the caller says at which value of
-- postbox.deletions it has learnt what it knows. If there is another by now, nothing
-- of that counts. It may also become another while a log that is not locked is written
-- to: a number that somebody else has given, and deleted again, is free for the insert
-- only after that. So a look after it is enough, and then all is rolled back as
-- above. heads and stamps are what was looked for; NULL if all was known.
--
-- The caller also knows each draft's rank among those of the batch in its
-- conversation and in each inbox; head + rank is its number. A row of p_messages is:
-- the place in p_logs of the message's conversation, the rank there, the same of its
-- sender's inbox and of its recipient's (0 if there is none, or many), QoS, where its body begins in p_bodies, and its length. A row of
-- p_entries: the place of the inbox, the rank there, the place of the message, how many
-- entries and messages it is, each behind the other, and the place in p_publishers and
-- p_offsets of what they were published by, and of where their bytes begin in p_packets
-- (0: none of them was).
-- Bodies and digests come as one value each and are cut here: as arrays of bytea they
-- would cross the wire as hexadecimal text. NULL may be: p_locks, for all of p_logs, and
-- m_key, m_type, m_ref, m_expires, p_publishers, p_offsets, p_packets, what is of wills (w_), rooms (r_) and packet ids that
-- are opened (o_) or closed (c_), for none.
-- +goose StatementBegin
CREATE FUNCTION postbox.append(
    p_lane integer, p_incarnation bigint, p_now bigint,
    p_logs bigint[], p_conversations integer, p_messages integer[],
    m_id uuid[], m_device text[], m_key text[], m_type text[], m_ref text[], m_expires bigint[],
    p_digests bytea, p_bodies bytea, p_entries integer[], p_publishers bigint[], p_offsets integer[], p_packets bytea,
    o_device bigint[], o_packet integer[], o_message uuid[], o_digests bytea,
    c_device bigint[], c_packet integer[], w_message integer[],
    r_log integer[], r_version bigint[],
    p_locks bigint[], p_known boolean, p_heads bigint[], p_stamps bigint[], p_deletions bigint, p_counts integer[],
    OUT deletions bigint, OUT heads bigint[], OUT stamps bigint[], OUT taken integer[], OUT gone integer[], OUT stale integer[])
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    msgs     integer := coalesce(cardinality(m_id), 0);
    entries  integer := coalesce(array_length(p_entries, 1), 0);
    v_looked bigint;
    v_there  bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(5794237148022599681) FROM postbox.lanes l
      WHERE l.id = p_lane AND l.incarnation = p_incarnation FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lane % has been taken over by another server', p_lane USING ERRCODE = 'PB001';
    END IF;

    IF msgs > 0 THEN
        IF w_message IS NOT NULL THEN
            PERFORM 1 FROM unnest(w_message) AS u (message) JOIN postbox.wills w ON w.id = m_id[u.message]
              ORDER BY w.id FOR UPDATE OF w;
            SELECT array_agg(u.message) INTO gone FROM unnest(w_message) AS u (message)
             WHERE NOT EXISTS (SELECT FROM postbox.wills w WHERE w.id = m_id[u.message]);
            IF gone IS NOT NULL THEN
                RETURN;
            END IF;
        END IF;
        IF m_key IS NOT NULL THEN
            SELECT array_agg(u.ord) INTO taken
              FROM unnest(m_key) WITH ORDINALITY AS u (key, ord)
              JOIN postbox.messages m ON m.sender_id = p_logs[p_messages[u.ord][3]] AND m.idempotency_key = u.key
             WHERE u.key <> '';
            IF taken IS NOT NULL THEN
                RETURN;
            END IF;
        END IF;

        PERFORM 1 FROM unnest(coalesce(p_locks, p_logs)) AS u (id) JOIN postbox.logs l ON l.id = u.id
          ORDER BY l.id FOR NO KEY UPDATE OF l;
        IF r_log IS NOT NULL THEN
            SELECT array_agg(u.ord) INTO stale
              FROM unnest(r_log, r_version) WITH ORDINALITY AS u (log, version, ord)
              JOIN postbox.conversations c ON c.id = p_logs[u.log]
             WHERE c.members <> u.version;
            IF stale IS NOT NULL THEN
                RETURN;
            END IF;
        END IF;
        SELECT d.last_value INTO deletions FROM postbox.deletions d;
        IF deletions <> p_deletions THEN
            p_heads := array_fill(-1::bigint, ARRAY[cardinality(p_logs)]);
            p_known := false;
        END IF;
        IF NOT p_known THEN
            SELECT array_agg(CASE WHEN u.head < 0 THEN greatest(l.floor, i.inbox_seq, m.seq) ELSE u.head END ORDER BY u.ord),
                   array_agg(greatest(p_now, p_stamps[u.ord], ceil(extract(epoch FROM m.sent_at) * 1000)::bigint) ORDER BY u.ord)
                       FILTER (WHERE u.ord <= p_conversations),
                   count(*) FILTER (WHERE u.head < 0), count(l.id)
              INTO heads, stamps, v_looked, v_there
              FROM unnest(p_logs, p_heads) WITH ORDINALITY AS u (id, head, ord)
              LEFT JOIN LATERAL (SELECT e.id, e.floor FROM postbox.logs e
                                  WHERE u.head < 0 AND e.id = u.id) l ON true
              LEFT JOIN LATERAL (SELECT e.inbox_seq + e.entries - 1 AS inbox_seq FROM postbox.inbox e
                                  WHERE u.head < 0 AND u.ord > p_conversations AND e.user_id = u.id ORDER BY e.inbox_seq DESC LIMIT 1) i ON true
              LEFT JOIN LATERAL (SELECT e.seq, e.sent_at FROM postbox.messages e
                                  WHERE u.head < 0 AND u.ord <= p_conversations AND e.conversation_id = u.id ORDER BY e.seq DESC LIMIT 1) m ON true;
            p_heads := heads;
            p_stamps := stamps;
        END IF;
        IF v_there < v_looked THEN
            heads := NULL;
            -- Somebody in a room was erased: the others get its messages.
            SELECT array_agg(DISTINCT r.ord) INTO stale
              FROM generate_series(1, entries) AS u (i)
              JOIN unnest(r_log) WITH ORDINALITY AS r (log, ord) ON r.log = p_messages[p_entries[u.i][3]][1]
             WHERE NOT EXISTS (SELECT FROM postbox.logs l WHERE l.id = p_logs[p_entries[u.i][1]]);
            IF stale IS NOT NULL THEN
                RETURN;
            END IF;
            RAISE EXCEPTION 'a log of the batch does not exist' USING ERRCODE = 'PB002';
        END IF;

        INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, peer_inbox_seq, sent_at, id, expires_at,
               qos, digest, idempotency_key, device, content_type, ref, body)
        SELECT p_logs[p_messages[u.i][1]], p_heads[p_messages[u.i][1]] + p_messages[u.i][2],
               p_logs[p_messages[u.i][3]], p_heads[p_messages[u.i][3]] + p_messages[u.i][4],
               p_heads[NULLIF(p_messages[u.i][5], 0)] + p_messages[u.i][6],
               timestamptz 'epoch' + p_stamps[p_messages[u.i][1]] * interval '1 millisecond', m_id[u.i],
               CASE WHEN m_expires[u.i] > 0 THEN timestamptz 'epoch' + p_stamps[p_messages[u.i][1]] * interval '1 millisecond' + m_expires[u.i] * interval '1 second' END,
               p_messages[u.i][7], substring(p_digests FROM u.i * 16 - 15 FOR 16),
               NULLIF(m_key[u.i], ''), NULLIF(m_device[u.i], ''), NULLIF(m_type[u.i], ''), NULLIF(m_ref[u.i], ''),
               substring(p_bodies FROM p_messages[u.i][8] + 1 FOR p_messages[u.i][9])
          FROM (SELECT generate_series(1, msgs)) AS u (i);

        INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq, entries, publisher, packets)
        SELECT p_logs[p_entries[u.i][1]], p_heads[p_entries[u.i][1]] + p_entries[u.i][2],
               p_logs[p_messages[p_entries[u.i][3]][1]],
               p_heads[p_messages[p_entries[u.i][3]][1]] + p_messages[p_entries[u.i][3]][2], p_entries[u.i][4],
               p_publishers[NULLIF(p_entries[u.i][5], 0)], substring(p_packets FROM p_offsets[NULLIF(p_entries[u.i][5], 0)] + 1 FOR p_entries[u.i][4])
          FROM (SELECT generate_series(1, entries)) AS u (i);

        INSERT INTO postbox.search_queue (queued_at, conversations, afters, counts)
        VALUES (clock_timestamp(), p_logs[1:p_conversations], p_heads[1:p_conversations], p_counts);

        PERFORM postbox.note_own_positions(p_logs[1:p_conversations], p_heads[1:p_conversations], p_counts);

        IF p_locks IS NOT NULL AND deletions <> (SELECT d.last_value FROM postbox.deletions d) THEN
            RAISE EXCEPTION 'something was deleted meanwhile' USING ERRCODE = 'PB003';
        END IF;

        IF w_message IS NOT NULL THEN
            DELETE FROM postbox.wills w USING unnest(w_message) AS u (message) WHERE w.id = m_id[u.message];
        END IF;
    END IF;

    IF c_device IS NOT NULL THEN
        DELETE FROM postbox.open_publishes o USING unnest(c_device, c_packet) AS u (device, packet)
         WHERE o.device_id = u.device AND o.packet_id = u.packet;
    END IF;
    IF o_device IS NOT NULL THEN
        INSERT INTO postbox.open_publishes AS o (device_id, packet_id, message_id, digest)
        SELECT u.device, u.packet, u.message, substring(o_digests FROM (u.ord::integer - 1) * 16 + 1 FOR 16)
          FROM unnest(o_device, o_packet, o_message) WITH ORDINALITY AS u (device, packet, message, ord)
          JOIN postbox.devices d ON d.id = u.device
        ON CONFLICT (device_id, packet_id) DO UPDATE SET message_id = EXCLUDED.message_id, digest = EXCLUDED.digest;
    END IF;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.append IS 'Stores one batch of a lane; called by the writer only.';
