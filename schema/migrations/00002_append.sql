-- +goose Up

-- append stores one batch of one lane in one round trip. The order is: fence,
-- look for used idempotency keys, lock the logs, read their heads, insert. The
-- heads are read by a statement of their own, which sees what the one who held
-- the lock before has stored: READ COMMITTED is a must.
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
-- again.
--
-- Numbers: the caller knows each draft's rank among those of the batch in its
-- conversation and in each inbox; head + rank is its number. Bodies and
-- digests come as one value each and are cut here: as arrays of bytea they
-- would cross the wire as hexadecimal text.
-- +goose StatementBegin
CREATE FUNCTION postbox.append(
    p_lane integer, p_incarnation bigint, p_now timestamptz,
    p_logs bigint[], p_counts integer[],
    m_log integer[], m_rank integer[], m_slog integer[], m_srank integer[],
    m_id uuid[], m_expires bigint[], m_packet integer[], m_qos integer[],
    m_key text[], m_device text[], m_type text[], m_ref text[],
    m_offset integer[], m_length integer[], p_digests bytea, p_bodies bytea,
    p_keyed boolean,
    i_log integer[], i_rank integer[], i_message integer[],
    o_device bigint[], o_packet integer[], o_message uuid[], o_digests bytea,
    c_device bigint[], c_packet integer[], w_message integer[],
    OUT heads bigint[], OUT stamps bigint[], OUT taken integer[], OUT gone integer[])
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_stamps timestamptz[];
    v_locked bigint;
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

        PERFORM 1 FROM unnest(p_logs) AS u (id) JOIN postbox.logs l ON l.id = u.id
          ORDER BY l.id FOR NO KEY UPDATE OF l;
        GET DIAGNOSTICS v_locked = ROW_COUNT;
        IF v_locked <> cardinality(p_logs) THEN
            RAISE EXCEPTION 'a log of the batch does not exist' USING ERRCODE = 'PB002';
        END IF;
        -- A log is an inbox or a conversation, and nothing is found in the other.
        SELECT array_agg(greatest(l.floor, i.inbox_seq, m.seq) ORDER BY u.ord),
               array_agg(greatest(p_now, m.sent_at) ORDER BY u.ord)
          INTO heads, v_stamps
          FROM unnest(p_logs) WITH ORDINALITY AS u (id, ord)
          JOIN postbox.logs l ON l.id = u.id
          LEFT JOIN LATERAL (SELECT e.inbox_seq FROM postbox.inbox e
                              WHERE e.user_id = u.id ORDER BY e.inbox_seq DESC LIMIT 1) i ON true
          LEFT JOIN LATERAL (SELECT e.seq, e.sent_at FROM postbox.messages e
                              WHERE e.conversation_id = u.id ORDER BY e.seq DESC LIMIT 1) m ON true;

        INSERT INTO postbox.messages (conversation_id, seq, sender_id, sender_inbox_seq, sent_at, id, expires_at,
               packet_id, qos, digest, idempotency_key, device, content_type, ref, body)
        SELECT p_logs[u.log], heads[u.log] + u.rank, p_logs[u.slog], heads[u.slog] + u.srank,
               v_stamps[u.log], u.id,
               CASE WHEN u.expires > 0 THEN v_stamps[u.log] + u.expires * interval '1 second' END,
               NULLIF(u.packet, 0), u.qos, substring(p_digests FROM (u.ord::integer - 1) * 16 + 1 FOR 16),
               NULLIF(u.key, ''), NULLIF(u.device, ''), NULLIF(u.type, ''), NULLIF(u.ref, ''),
               substring(p_bodies FROM u.off + 1 FOR u.len)
          FROM unnest(m_log, m_rank, m_slog, m_srank, m_id, m_expires, m_packet, m_qos,
                      m_key, m_device, m_type, m_ref, m_offset, m_length) WITH ORDINALITY
               AS u (log, rank, slog, srank, id, expires, packet, qos, key, device, type, ref, off, len, ord);

        INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq)
        SELECT p_logs[u.log], heads[u.log] + u.rank,
               p_logs[m_log[u.message]], heads[m_log[u.message]] + m_rank[u.message]
          FROM unnest(i_log, i_rank, i_message) AS u (log, rank, message);

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
