-- +goose Up

-- How often something was deleted of which a number must not be given again: a floor
-- was raised, or a log has gone. Unlike a row it is seen before who deleted has
-- committed. append relies on that, see there.
CREATE SEQUENCE postbox.deletions;
SELECT nextval('postbox.deletions'); -- the first call does not change last_value
COMMENT ON SEQUENCE postbox.deletions IS 'Counts changes of logs.floor, and logs that were deleted.';

-- +goose StatementBegin
CREATE FUNCTION postbox.count_deletion() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('postbox.deletions');
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.count_deletion IS 'Trigger of logs: raises postbox.deletions.';
-- For each row: who erases an inbox whose log has gone raises no floor, many times.
CREATE TRIGGER count_deletion AFTER UPDATE OF floor OR DELETE ON postbox.logs
    FOR EACH ROW EXECUTE FUNCTION postbox.count_deletion();

-- The new append looks for nothing in logs of which the caller knows enough, and
-- leaves the row for the indexer itself.
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
-- again. The inboxes of a room's members need no lock: the primary key of inbox does
-- not let two transactions give the same number, and the caller keeps its own batches
-- apart. A caller that was refused for that asks for all locks the next time. Others
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
-- the inboxes. p_heads are their last numbers as far as the caller knows them, -1
-- where it does not, and p_stamps when the last messages of the conversations were
-- sent, in milliseconds since 1970. A head that is behind breaks a primary key: all of
-- the batch is rolled back, and the caller calls again with -1.
--
-- What was deleted breaks no key. So the caller says at which value of
-- postbox.deletions it has learnt what it knows. If there is another by now, nothing
-- of that counts. It may also become another while a log that is not locked is written
-- to: a number that somebody else has given, and deleted again, is free for the insert
-- only after that. So a look after it is enough, and then all is rolled back as
-- above. heads are what was looked for; NULL if all was known.
--
-- The caller also knows each draft's rank among those of the batch in its
-- conversation and in each inbox; head + rank is its number. Bodies and digests come
-- as one value each and are cut here: as arrays of bytea they would cross the wire as
-- hexadecimal text.
-- +goose StatementBegin
CREATE FUNCTION postbox.append(
    p_lane integer, p_incarnation bigint, p_now timestamptz,
    p_logs bigint[], p_conversations integer,
    m_log integer[], m_rank integer[], m_slog integer[], m_srank integer[],
    m_plog integer[], m_prank integer[],
    m_id uuid[], m_expires bigint[], m_packet integer[], m_qos integer[],
    m_key text[], m_device text[], m_type text[], m_ref text[],
    m_offset integer[], m_length integer[], p_digests bytea, p_bodies bytea,
    p_keyed boolean,
    i_log integer[], i_rank integer[], i_message integer[],
    o_device bigint[], o_packet integer[], o_message uuid[], o_digests bytea,
    c_device bigint[], c_packet integer[], w_message integer[],
    r_log integer[], r_version bigint[],
    p_locks bigint[], p_heads bigint[], p_stamps bigint[], p_deletions bigint, p_counts integer[],
    OUT deletions bigint, OUT heads bigint[], OUT stamps bigint[], OUT taken integer[], OUT gone integer[], OUT stale integer[])
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_heads  bigint[] := p_heads;
    v_stamps timestamptz[];
    v_looked bigint;
    v_there  bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(5794237148022599681) FROM postbox.lanes l
      WHERE l.id = p_lane AND l.incarnation = p_incarnation FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lane % has been taken over by another server', p_lane USING ERRCODE = 'PB001';
    END IF;

    IF cardinality(m_id) > 0 THEN
        IF cardinality(w_message) > 0 THEN
            PERFORM 1 FROM unnest(w_message) AS u (message) JOIN postbox.wills w ON w.id = m_id[u.message]
              ORDER BY w.id FOR UPDATE OF w;
            SELECT array_agg(u.message) INTO gone FROM unnest(w_message) AS u (message)
             WHERE NOT EXISTS (SELECT FROM postbox.wills w WHERE w.id = m_id[u.message]);
            IF gone IS NOT NULL THEN
                RETURN;
            END IF;
        END IF;
        IF p_keyed THEN
            SELECT array_agg(u.ord) INTO taken
              FROM unnest(m_key, m_slog) WITH ORDINALITY AS u (key, slog, ord)
              JOIN postbox.messages m ON m.sender_id = p_logs[u.slog] AND m.idempotency_key = u.key
             WHERE u.key <> '';
            IF taken IS NOT NULL THEN
                RETURN;
            END IF;
        END IF;

        PERFORM 1 FROM unnest(p_locks) AS u (id) JOIN postbox.logs l ON l.id = u.id
          ORDER BY l.id FOR NO KEY UPDATE OF l;
        IF cardinality(r_log) > 0 THEN
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
            v_heads := array_fill(-1::bigint, ARRAY[cardinality(p_logs)]);
        END IF;
        IF -1 = ANY (v_heads) THEN
            SELECT array_agg(CASE WHEN u.head < 0 THEN greatest(l.floor, i.inbox_seq, m.seq) ELSE u.head END ORDER BY u.ord),
                   array_agg(greatest(p_now, m.sent_at, timestamptz 'epoch' + p_stamps[u.ord] * interval '1 millisecond') ORDER BY u.ord)
                       FILTER (WHERE u.ord <= p_conversations),
                   count(*) FILTER (WHERE u.head < 0), count(l.id)
              INTO heads, v_stamps, v_looked, v_there
              FROM unnest(p_logs, v_heads) WITH ORDINALITY AS u (id, head, ord)
              LEFT JOIN LATERAL (SELECT e.id, e.floor FROM postbox.logs e
                                  WHERE u.head < 0 AND e.id = u.id) l ON true
              LEFT JOIN LATERAL (SELECT e.inbox_seq FROM postbox.inbox e
                                  WHERE u.head < 0 AND u.ord > p_conversations AND e.user_id = u.id ORDER BY e.inbox_seq DESC LIMIT 1) i ON true
              LEFT JOIN LATERAL (SELECT e.seq, e.sent_at FROM postbox.messages e
                                  WHERE u.head < 0 AND u.ord <= p_conversations AND e.conversation_id = u.id ORDER BY e.seq DESC LIMIT 1) m ON true;
            v_heads := heads;
        ELSE
            SELECT array_agg(greatest(p_now, timestamptz 'epoch' + u.stamp * interval '1 millisecond') ORDER BY u.ord)
              INTO v_stamps FROM unnest(p_stamps) WITH ORDINALITY AS u (stamp, ord);
        END IF;
        IF v_there < v_looked THEN
            heads := NULL;
            -- Somebody in a room was erased: the others get its messages.
            SELECT array_agg(DISTINCT r.ord) INTO stale
              FROM unnest(i_log, i_message) AS u (log, message)
              JOIN unnest(r_log) WITH ORDINALITY AS r (log, ord) ON r.log = m_log[u.message]
             WHERE NOT EXISTS (SELECT FROM postbox.logs l WHERE l.id = p_logs[u.log]);
            IF stale IS NOT NULL THEN
                RETURN;
            END IF;
            RAISE EXCEPTION 'a log of the batch does not exist' USING ERRCODE = 'PB002';
        END IF;

        INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, peer_inbox_seq, sent_at, id, expires_at,
               packet_id, qos, digest, idempotency_key, device, content_type, ref, body)
        SELECT p_logs[u.log], v_heads[u.log] + u.rank, p_logs[u.slog], v_heads[u.slog] + u.srank,
               v_heads[NULLIF(u.plog, 0)] + u.prank, v_stamps[u.log], u.id,
               CASE WHEN u.expires > 0 THEN v_stamps[u.log] + u.expires * interval '1 second' END,
               NULLIF(u.packet, 0), u.qos, substring(p_digests FROM (u.ord::integer - 1) * 16 + 1 FOR 16),
               NULLIF(u.key, ''), NULLIF(u.device, ''), NULLIF(u.type, ''), NULLIF(u.ref, ''),
               substring(p_bodies FROM u.off + 1 FOR u.len)
          FROM unnest(m_log, m_rank, m_slog, m_srank, m_plog, m_prank, m_id, m_expires, m_packet, m_qos,
                      m_key, m_device, m_type, m_ref, m_offset, m_length) WITH ORDINALITY
               AS u (log, rank, slog, srank, plog, prank, id, expires, packet, qos, key, device, type, ref, off, len, ord);

        INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq)
        SELECT p_logs[u.log], v_heads[u.log] + u.rank,
               p_logs[m_log[u.message]], v_heads[m_log[u.message]] + m_rank[u.message]
          FROM unnest(i_log, i_rank, i_message) AS u (log, rank, message)
         ORDER BY u.log, u.rank;

        INSERT INTO postbox.search_queue (queued_at, conversations, afters, counts)
        VALUES (clock_timestamp(), p_logs[1:p_conversations], v_heads[1:p_conversations], p_counts);

        IF cardinality(p_locks) < cardinality(p_logs) AND deletions <> (SELECT d.last_value FROM postbox.deletions d) THEN
            RAISE EXCEPTION 'something was deleted meanwhile' USING ERRCODE = 'PB003';
        END IF;

        IF cardinality(w_message) > 0 THEN
            DELETE FROM postbox.wills w USING unnest(w_message) AS u (message) WHERE w.id = m_id[u.message];
        END IF;

        SELECT array_agg((extract(epoch FROM s) * 1000)::bigint) INTO stamps FROM unnest(v_stamps) AS s;
    END IF;

    IF cardinality(c_device) > 0 THEN
        DELETE FROM postbox.open_publishes o USING unnest(c_device, c_packet) AS u (device, packet)
         WHERE o.device_id = u.device AND o.packet_id = u.packet;
    END IF;
    IF cardinality(o_device) > 0 THEN
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
