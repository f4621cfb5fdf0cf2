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

        PERFORM 1 FROM unnest(p_logs, p_lock) AS u (id, lock) JOIN postbox.logs l ON l.id = u.id
          WHERE u.lock ORDER BY l.id FOR NO KEY UPDATE OF l;
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
               array_agg(greatest(p_now, m.sent_at, timestamptz 'epoch' + u.stamp * interval '1 millisecond') ORDER BY u.ord),
               count(l.id)
          INTO heads, v_stamps, v_there
          FROM unnest(p_logs, p_conversation, p_heads, p_stamps) WITH ORDINALITY AS u (id, conversation, head, stamp, ord)
          LEFT JOIN postbox.logs l ON l.id = u.id
          LEFT JOIN LATERAL (SELECT e.inbox_seq FROM postbox.inbox e
                              WHERE u.head < 0 AND NOT u.conversation AND e.user_id = u.id ORDER BY e.inbox_seq DESC LIMIT 1) i ON true
          LEFT JOIN LATERAL (SELECT e.seq, e.sent_at FROM postbox.messages e
                              WHERE u.head < 0 AND u.conversation AND e.conversation_id = u.id ORDER BY e.seq DESC LIMIT 1) m ON true;
        IF v_there < cardinality(p_logs) THEN
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

-- The new change differs in the order in which it inserts: that of append.
--
-- change stores one edit (kind 1), retraction (2) or read marker (3) under the
-- fence of a lane, with an entry in the inbox of everybody whom it concerns. Who
-- may do it is decided here, under the locks. r_outcome is
--   stored     the event is there, now or since an earlier try with the same id
--   duplicate  the key was used before for the same, or it was retracted before
--   conflict   the key was used before for something else
--   not_found  there is no such message that the actor can see
--   forbidden  it is not the actor's
--   gone       it was retracted or has expired, and cannot be edited any more
--   known      a read marker that everybody has been told of
-- The logs of inboxes and conversation are locked in the order of their ids, as
-- in append.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION postbox.change(
    p_lane integer, p_incarnation bigint, p_now timestamptz,
    p_kind smallint, p_actor bigint, p_id uuid, p_target uuid,
    p_conversation bigint, p_seq bigint, p_quiet boolean,
    p_key text, p_digest bytea, p_body bytea,
    OUT r_outcome text, OUT r_id uuid, OUT r_conversation bigint, OUT r_seq bigint, OUT r_at timestamptz,
    OUT r_expires timestamptz, OUT r_target uuid, OUT r_to text, OUT r_room text,
    OUT r_users bigint[], OUT r_numbers bigint[])
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_event   postbox.events%ROWTYPE;
    v_message record;
    v_place   postbox.conversations%ROWTYPE;
    v_other   bigint;
    v_role    text;
    v_members bigint;
    v_locked  bigint;
BEGIN
    PERFORM 1 FROM postbox.lanes l WHERE l.id = p_lane AND l.incarnation = p_incarnation FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lane % has been taken over by another server', p_lane USING ERRCODE = 'PB001';
    END IF;

    IF NOT EXISTS (SELECT FROM postbox.logs l WHERE l.id = p_actor) THEN
        RAISE EXCEPTION 'who asks was erased' USING ERRCODE = 'PB002';
    END IF;

    r_conversation := p_conversation;
    r_seq := p_seq;
    SELECT * INTO v_event FROM postbox.events e WHERE e.id = p_id;
    IF NOT FOUND AND p_key <> '' THEN
        SELECT * INTO v_event FROM postbox.events e WHERE e.actor_id = p_actor AND e.idempotency_key = p_key;
        IF FOUND AND v_event.digest IS DISTINCT FROM p_digest THEN
            r_outcome := 'conflict';
            RETURN;
        END IF;
    END IF;
    IF v_event.id IS NOT NULL THEN
        r_conversation := v_event.conversation_id;
        r_seq := v_event.seq;
    ELSIF p_kind IN (1, 2) THEN
        SELECT m.conversation_id, m.seq INTO r_conversation, r_seq FROM postbox.messages m WHERE m.id = p_target;
    END IF;

    SELECT * INTO v_place FROM postbox.conversations c WHERE c.id = r_conversation;
    IF NOT FOUND THEN
        r_outcome := 'not_found';
        RETURN;
    END IF;
    v_members := v_place.members;
    IF v_place.room IS NULL THEN
        IF p_actor NOT IN (v_place.user_low, v_place.user_high) THEN
            r_outcome := 'not_found';
            RETURN;
        END IF;
        v_other := CASE p_actor WHEN v_place.user_low THEN v_place.user_high ELSE v_place.user_low END;
        SELECT u.name INTO r_to FROM postbox.users u WHERE u.id = v_other;
        -- Who was erased has no log: nobody is told there.
        r_users := CASE WHEN v_other = p_actor OR p_kind = 3 AND p_quiet
                          OR NOT EXISTS (SELECT FROM postbox.logs l WHERE l.id = v_other) THEN ARRAY[p_actor] ELSE ARRAY[p_actor, v_other] END;
    ELSE
        SELECT m.role INTO v_role FROM postbox.memberships m
         WHERE m.conversation_id = r_conversation AND m.user_id = p_actor AND m.left_seq IS NULL;
        r_room := v_place.room;
        IF p_kind = 3 THEN
            r_users := ARRAY[p_actor];
        ELSE
            -- In a room whose history begins for everybody when they join, only
            -- those hear of it who may read the message.
            SELECT array_agg(m.user_id ORDER BY m.user_id) INTO r_users FROM postbox.memberships m
              JOIN postbox.logs l ON l.id = m.user_id
             WHERE m.conversation_id = r_conversation AND m.left_seq IS NULL
               AND (v_place.history = 'all' OR EXISTS (
                   SELECT FROM postbox.memberships s
                    WHERE s.conversation_id = m.conversation_id AND s.user_id = m.user_id
                      AND s.joined_seq < r_seq AND (s.left_seq IS NULL OR r_seq <= s.left_seq)));
            r_users := coalesce(r_users, '{}');
        END IF;
    END IF;

    IF v_event.id IS NULL AND p_kind IN (1, 2) THEN
        SELECT m.sender_id INTO v_message FROM postbox.messages m
         WHERE m.conversation_id = r_conversation AND m.seq = r_seq;
        IF r_room IS NOT NULL AND (v_place.deleted_at IS NOT NULL OR NOT EXISTS (
            SELECT FROM postbox.memberships m
             WHERE m.conversation_id = r_conversation AND m.user_id = p_actor
               AND (m.joined_seq < r_seq OR v_place.history = 'all' AND m.left_seq IS NULL)
               AND (m.left_seq IS NULL OR r_seq <= m.left_seq))) THEN
            r_outcome := 'not_found';
            RETURN;
        END IF;
        IF v_message.sender_id <> p_actor AND NOT (p_kind = 2 AND coalesce(v_role IN ('owner', 'admin'), false))
           OR r_room IS NOT NULL AND coalesce(v_role = 'reader', true)
           OR r_room IS NULL AND p_kind = 1 AND EXISTS (
               SELECT FROM postbox.blocks b WHERE b.user_id = v_other AND b.blocked_id = p_actor) THEN
            r_outcome := 'forbidden';
            RETURN;
        END IF;
    END IF;

    PERFORM 1 FROM postbox.logs l WHERE l.id = ANY (r_users || r_conversation) ORDER BY l.id FOR NO KEY UPDATE;
    GET DIAGNOSTICS v_locked = ROW_COUNT;
    IF v_locked <> cardinality(r_users) + 1 THEN
        RAISE EXCEPTION 'somebody was erased meanwhile' USING ERRCODE = '40001';
    END IF;
    IF r_room IS NOT NULL AND v_members <> (SELECT c.members FROM postbox.conversations c WHERE c.id = r_conversation) THEN
        RAISE EXCEPTION 'members have changed meanwhile' USING ERRCODE = '40001';
    END IF;

    IF v_event.id IS NULL AND p_kind IN (1, 2) THEN
        SELECT m.sent_at, m.expires_at, m.retracted_at INTO v_message FROM postbox.messages m
         WHERE m.conversation_id = r_conversation AND m.seq = r_seq FOR UPDATE;
        IF v_message.retracted_at IS NOT NULL AND p_kind = 2 THEN
            SELECT * INTO v_event FROM postbox.events e
             WHERE e.conversation_id = r_conversation AND e.seq = r_seq AND e.kind = 2 LIMIT 1;
        ELSIF v_message.retracted_at IS NOT NULL OR p_kind = 1 AND v_message.expires_at <= p_now THEN
            r_outcome := 'gone';
            RETURN;
        END IF;
    END IF;

    IF v_event.id IS NOT NULL THEN
        r_outcome := CASE WHEN v_event.id = p_id THEN 'stored' ELSE 'duplicate' END;
        r_id := v_event.id;
        r_at := v_event.happened_at;
        IF r_outcome = 'duplicate' THEN
            r_users := ARRAY[v_event.actor_id];
            r_numbers := ARRAY[v_event.actor_inbox_seq];
        ELSE -- what is looked for is at the end of each inbox
            SELECT array_agg(u.id ORDER BY u.ord), array_agg(i.inbox_seq ORDER BY u.ord) INTO r_users, r_numbers
              FROM unnest(r_users) WITH ORDINALITY AS u (id, ord)
             CROSS JOIN LATERAL (SELECT e.inbox_seq FROM postbox.inbox e
                                  WHERE e.user_id = u.id AND e.event_id = p_id
                                  ORDER BY e.inbox_seq DESC LIMIT 1) i;
        END IF;
    ELSE
        r_outcome := 'stored';
        r_id := p_id;
        r_at := p_now;
        IF p_kind = 1 THEN
            r_at := greatest(p_now, v_message.sent_at);
            UPDATE postbox.messages m SET body = p_body, edited_at = r_at
             WHERE m.conversation_id = r_conversation AND m.seq = r_seq;
        ELSIF p_kind = 2 THEN
            r_at := greatest(p_now, v_message.sent_at);
            UPDATE postbox.messages m SET body = '', ref = NULL, content_type = NULL, retracted_at = r_at
             WHERE m.conversation_id = r_conversation AND m.seq = r_seq;
        ELSE
            UPDATE postbox.positions p SET told_seq = p_seq
             WHERE p.conversation_id = r_conversation AND p.user_id = p_actor AND p.told_seq < p_seq;
            IF NOT FOUND THEN
                r_outcome := 'known';
                RETURN;
            END IF;
        END IF;
        SELECT array_agg(greatest(l.floor, i.inbox_seq) + 1 ORDER BY u.ord) INTO r_numbers
          FROM unnest(r_users) WITH ORDINALITY AS u (id, ord)
          JOIN postbox.logs l ON l.id = u.id
          LEFT JOIN LATERAL (SELECT e.inbox_seq FROM postbox.inbox e
                              WHERE e.user_id = u.id ORDER BY e.inbox_seq DESC LIMIT 1) i ON true;
        INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq, kind, event_id)
        SELECT u.id, u.n, r_conversation, r_seq, p_kind, p_id FROM unnest(r_users, r_numbers) AS u (id, n)
         ORDER BY u.id;
        INSERT INTO postbox.events (id, conversation_id, seq, kind, actor_id, happened_at, idempotency_key, digest, actor_inbox_seq)
        VALUES (p_id, r_conversation, r_seq, p_kind, p_actor, r_at, NULLIF(p_key, ''), p_digest,
                coalesce(r_numbers[array_position(r_users, p_actor)], 0));
    END IF;

    SELECT m.id, m.expires_at INTO r_target, r_expires FROM postbox.messages m
     WHERE m.conversation_id = r_conversation AND m.seq = r_seq;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.change IS 'Stores one edit, retraction or read marker of a lane; called by the writer only.';
