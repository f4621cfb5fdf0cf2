-- +goose Up

-- The new append takes the place of the old one. It differs in p_lock, p_heads and
-- p_stamps, and does without most of the locks of a room.
DROP FUNCTION postbox.append;

-- append stores one batch of one lane in one round trip. The order is: fence,
-- look for used idempotency keys, lock the logs of p_lock, read those heads that the
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
-- apart. A caller that was refused for that asks for all locks the next time.
--
-- An inbox that is not locked may be one whose user was just erased. As long as the
-- room does not know that, it gets the room's messages, and what it gets is erased
-- after the user has left the room.
--
-- Whom a room's message goes to was looked up before. Under the lock of the
-- room's log it is certain whether that still holds: if the room has another
-- version by then, nothing is written and `stale` names the rooms (as places in
-- r_log, 1-based); the caller looks again.
--
-- Numbers: p_heads are the last numbers of the logs as far as the caller knows
-- them, -1 where it does not, and p_stamps when the last messages of the
-- conversations were sent, in milliseconds since 1970. A head that is behind breaks
-- a primary key: all of the batch is rolled back, and the caller calls again with
-- -1. The caller also knows each draft's rank among those of the batch in its
-- conversation and in each inbox; head + rank is its number. Bodies and digests come
-- as one value each and are cut here: as arrays of bytea they would cross the wire as
-- hexadecimal text.
-- +goose StatementBegin
CREATE FUNCTION postbox.append(
    p_lane integer, p_incarnation bigint, p_now timestamptz,
    p_logs bigint[], p_conversation boolean[],
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
    p_lock boolean[], p_heads bigint[], p_stamps bigint[],
    OUT heads bigint[], OUT stamps bigint[], OUT taken integer[], OUT gone integer[], OUT stale integer[])
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_stamps timestamptz[];
    v_locked bigint;
    v_there  bigint;
BEGIN
    PERFORM 1 FROM postbox.lanes l WHERE l.id = p_lane AND l.incarnation = p_incarnation FOR SHARE;
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

        PERFORM 1 FROM unnest(p_logs, p_lock) AS u (id, lock) JOIN postbox.logs l ON l.id = u.id
          WHERE u.lock ORDER BY l.id FOR NO KEY UPDATE OF l;
        GET DIAGNOSTICS v_locked = ROW_COUNT;
        SELECT count(*) INTO v_there FROM unnest(p_logs, p_lock, p_heads) AS u (id, lock, head)
          JOIN postbox.logs l ON l.id = u.id WHERE NOT u.lock AND u.head < 0;
        IF v_locked + v_there < (SELECT count(*) FROM unnest(p_lock, p_heads) AS u (lock, head) WHERE u.lock OR u.head < 0) THEN
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
        IF cardinality(r_log) > 0 THEN
            SELECT array_agg(u.ord) INTO stale
              FROM unnest(r_log, r_version) WITH ORDINALITY AS u (log, version, ord)
              JOIN postbox.conversations c ON c.id = p_logs[u.log]
             WHERE c.members <> u.version;
            IF stale IS NOT NULL THEN
                RETURN;
            END IF;
        END IF;
        SELECT array_agg(greatest(u.head, l.floor, i.inbox_seq, m.seq) ORDER BY u.ord),
               array_agg(greatest(p_now, m.sent_at, timestamptz 'epoch' + u.stamp * interval '1 millisecond') ORDER BY u.ord)
          INTO heads, v_stamps
          FROM unnest(p_logs, p_conversation, p_heads, p_stamps) WITH ORDINALITY AS u (id, conversation, head, stamp, ord)
          LEFT JOIN LATERAL (SELECT e.floor FROM postbox.logs e WHERE u.head < 0 AND e.id = u.id) l ON true
          LEFT JOIN LATERAL (SELECT e.inbox_seq FROM postbox.inbox e
                              WHERE u.head < 0 AND NOT u.conversation AND e.user_id = u.id ORDER BY e.inbox_seq DESC LIMIT 1) i ON true
          LEFT JOIN LATERAL (SELECT e.seq, e.sent_at FROM postbox.messages e
                              WHERE u.head < 0 AND u.conversation AND e.conversation_id = u.id ORDER BY e.seq DESC LIMIT 1) m ON true;

        INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, peer_inbox_seq, sent_at, id, expires_at,
               packet_id, qos, digest, idempotency_key, device, content_type, ref, body)
        SELECT p_logs[u.log], heads[u.log] + u.rank, p_logs[u.slog], heads[u.slog] + u.srank,
               heads[NULLIF(u.plog, 0)] + u.prank, v_stamps[u.log], u.id,
               CASE WHEN u.expires > 0 THEN v_stamps[u.log] + u.expires * interval '1 second' END,
               NULLIF(u.packet, 0), u.qos, substring(p_digests FROM (u.ord::integer - 1) * 16 + 1 FOR 16),
               NULLIF(u.key, ''), NULLIF(u.device, ''), NULLIF(u.type, ''), NULLIF(u.ref, ''),
               substring(p_bodies FROM u.off + 1 FOR u.len)
          FROM unnest(m_log, m_rank, m_slog, m_srank, m_plog, m_prank, m_id, m_expires, m_packet, m_qos,
                      m_key, m_device, m_type, m_ref, m_offset, m_length) WITH ORDINALITY
               AS u (log, rank, slog, srank, plog, prank, id, expires, packet, qos, key, device, type, ref, off, len, ord);

        INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq)
        SELECT p_logs[u.log], heads[u.log] + u.rank,
               p_logs[m_log[u.message]], heads[m_log[u.message]] + m_rank[u.message]
          FROM unnest(i_log, i_rank, i_message) AS u (log, rank, message)
         ORDER BY u.log, u.rank;

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
