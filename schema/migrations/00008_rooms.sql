-- +goose Up

-- Rooms. From the first migration on there are their tables, and the version of
-- each room, conversations.members: it grows with every change of a room, under
-- the lock of its log.

-- What a will is for may be a room.
ALTER TABLE postbox.wills ADD COLUMN room boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN postbox.wills.room IS 'recipient is a room.';

-- For those who look for a room to join.
CREATE INDEX conversations_public ON postbox.conversations (room) WHERE public AND deleted_at IS NULL;

COMMENT ON COLUMN postbox.conversations.members IS 'Version of a room: grows with each change of it, under the lock of its log.';
COMMENT ON COLUMN postbox.events.data IS 'Of a change of a room: what happened.';

-- The new append takes the place of the old one. It differs in r_log, r_version
-- and stale; and it is told which logs are conversations, in p_conversation, so
-- that nothing is looked for where it cannot be.
DROP FUNCTION postbox.append;

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
-- Whom a room's message goes to was looked up before. Under the lock of the
-- room's log it is certain whether that still holds: if the room has another
-- version by then, nothing is written and `stale` names the rooms (as places in
-- r_log, 1-based); the caller looks again.
--
-- Numbers: the caller knows each draft's rank among those of the batch in its
-- conversation and in each inbox; head + rank is its number. Bodies and
-- digests come as one value each and are cut here: as arrays of bytea they
-- would cross the wire as hexadecimal text.
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
    OUT heads bigint[], OUT stamps bigint[], OUT taken integer[], OUT gone integer[], OUT stale integer[])
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_stamps timestamptz[];
    v_floors bigint[];
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

        SELECT array_agg(l.floor ORDER BY l.ord) INTO v_floors
          FROM (SELECT u.ord, l.floor FROM unnest(p_logs) WITH ORDINALITY AS u (id, ord) JOIN postbox.logs l ON l.id = u.id
                 ORDER BY l.id FOR NO KEY UPDATE OF l) l;
        IF coalesce(cardinality(v_floors), 0) <> cardinality(p_logs) THEN
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
        SELECT array_agg(greatest(u.floor, i.inbox_seq, m.seq) ORDER BY u.ord),
               array_agg(greatest(p_now, m.sent_at) ORDER BY u.ord)
          INTO heads, v_stamps
          FROM unnest(p_logs, v_floors, p_conversation) WITH ORDINALITY AS u (id, floor, conversation, ord)
          LEFT JOIN LATERAL (SELECT e.inbox_seq FROM postbox.inbox e
                              WHERE NOT u.conversation AND e.user_id = u.id ORDER BY e.inbox_seq DESC LIMIT 1) i ON true
          LEFT JOIN LATERAL (SELECT e.seq, e.sent_at FROM postbox.messages e
                              WHERE u.conversation AND e.conversation_id = u.id ORDER BY e.seq DESC LIMIT 1) m ON true;

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

-- The new change takes the place of the old one: an edit or a retraction in a
-- room reaches those members only who may read the message.
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
        SELECT u.id, u.n, r_conversation, r_seq, p_kind, p_id FROM unnest(r_users, r_numbers) AS u (id, n);
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

-- room stores one change of a room under the fence of a lane, with an entry in
-- the inbox of every member, also of one who becomes or ceases to be one by it.
-- Whether it may be done was decided by who calls, on the room as it was in its
-- version p_version; r_outcome is
--   stored  it is there, now or since an earlier try with the same id
--   stale   the room has another version by now, or its name is taken: decide again
-- p_event is created, added, joined, left, removed, role, updated or deleted.
-- The logs of inboxes and conversation are locked in the order of their ids, as
-- in append.
-- +goose StatementBegin
CREATE FUNCTION postbox.room(
    p_lane integer, p_incarnation bigint, p_now timestamptz,
    p_id uuid, p_actor bigint, p_event text, p_conversation bigint, p_version bigint, p_room text,
    p_user bigint, p_role text, p_title text, p_public boolean, p_history text, p_data jsonb,
    OUT r_outcome text, OUT r_conversation bigint, OUT r_at timestamptz, OUT r_users bigint[], OUT r_numbers bigint[])
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_locked bigint;
    v_head   bigint;
BEGIN
    PERFORM 1 FROM postbox.lanes l WHERE l.id = p_lane AND l.incarnation = p_incarnation FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lane % has been taken over by another server', p_lane USING ERRCODE = 'PB001';
    END IF;

    IF EXISTS (SELECT FROM unnest(ARRAY[p_actor, NULLIF(p_user, 0)]) AS u (id)
                WHERE u.id IS NOT NULL AND NOT EXISTS (SELECT FROM postbox.logs l WHERE l.id = u.id)) THEN
        RAISE EXCEPTION 'who asks, or whom it is about, was erased' USING ERRCODE = 'PB002';
    END IF;

    SELECT e.conversation_id, e.happened_at INTO r_conversation, r_at FROM postbox.events e WHERE e.id = p_id;
    IF FOUND THEN -- what is looked for is at the end of each inbox
        r_outcome := 'stored';
        SELECT array_agg(i.user_id), array_agg(i.inbox_seq) INTO r_users, r_numbers
          FROM (SELECT DISTINCT m.user_id FROM postbox.memberships m WHERE m.conversation_id = r_conversation) m
          JOIN postbox.heads h ON h.id = m.user_id
         CROSS JOIN LATERAL (SELECT e.user_id, e.inbox_seq FROM postbox.inbox e
                              WHERE e.user_id = m.user_id AND e.inbox_seq > h.head - 1000 AND e.event_id = p_id) i;
        RETURN;
    END IF;

    r_conversation := p_conversation;
    IF p_event = 'created' THEN
        INSERT INTO postbox.conversations (room, title, public, history) VALUES (p_room, p_title, p_public, p_history)
        ON CONFLICT (room) DO NOTHING RETURNING id INTO r_conversation;
        IF NOT FOUND THEN
            r_outcome := 'stale';
            RETURN;
        END IF;
        INSERT INTO postbox.logs (id) VALUES (r_conversation);
    END IF;

    SELECT array_agg(u.id ORDER BY u.id) INTO r_users
      FROM (SELECT m.user_id AS id FROM postbox.memberships m JOIN postbox.logs l ON l.id = m.user_id
             WHERE m.conversation_id = r_conversation AND m.left_seq IS NULL
            UNION SELECT p_user WHERE p_user <> 0) u;
    PERFORM 1 FROM postbox.logs l WHERE l.id = ANY (r_users || r_conversation) ORDER BY l.id FOR NO KEY UPDATE;
    GET DIAGNOSTICS v_locked = ROW_COUNT;
    IF v_locked <> cardinality(r_users) + 1 THEN
        RAISE EXCEPTION 'somebody was erased meanwhile' USING ERRCODE = '40001';
    END IF;
    UPDATE postbox.conversations c
       SET members = c.members + 1, title = coalesce(p_title, c.title), public = coalesce(p_public, c.public),
           history = coalesce(p_history, c.history), deleted_at = CASE WHEN p_event = 'deleted' THEN p_now END
     WHERE c.id = r_conversation AND c.members = p_version AND c.deleted_at IS NULL;
    IF NOT FOUND THEN
        r_outcome := 'stale';
        RETURN;
    END IF;

    SELECT h.head INTO v_head FROM postbox.heads h WHERE h.id = r_conversation;
    SELECT greatest(p_now, m.sent_at) INTO r_at FROM postbox.messages m WHERE m.conversation_id = r_conversation AND m.seq = v_head;
    r_at := coalesce(r_at, p_now);
    IF p_event IN ('created', 'added', 'joined') THEN
        -- Who left and returns while nothing is said has never been away.
        INSERT INTO postbox.memberships (conversation_id, user_id, role, joined_seq) VALUES (r_conversation, p_user, p_role, v_head)
        ON CONFLICT (conversation_id, user_id, joined_seq) DO UPDATE SET role = EXCLUDED.role, left_seq = NULL;
    ELSIF p_event IN ('left', 'removed') THEN
        UPDATE postbox.memberships m SET left_seq = v_head
         WHERE m.conversation_id = r_conversation AND m.user_id = p_user AND m.left_seq IS NULL;
    ELSIF p_event = 'role' THEN
        UPDATE postbox.memberships m SET role = p_role
         WHERE m.conversation_id = r_conversation AND m.user_id = p_user AND m.left_seq IS NULL;
    ELSIF p_event = 'deleted' THEN
        UPDATE postbox.memberships m SET left_seq = v_head WHERE m.conversation_id = r_conversation AND m.left_seq IS NULL;
    END IF;

    r_outcome := 'stored';
    SELECT array_agg(greatest(l.floor, i.inbox_seq) + 1 ORDER BY u.ord) INTO r_numbers
      FROM unnest(r_users) WITH ORDINALITY AS u (id, ord)
      JOIN postbox.logs l ON l.id = u.id
      LEFT JOIN LATERAL (SELECT e.inbox_seq FROM postbox.inbox e
                          WHERE e.user_id = u.id ORDER BY e.inbox_seq DESC LIMIT 1) i ON true;
    INSERT INTO postbox.inbox (user_id, inbox_seq, conversation_id, seq, kind, event_id)
    SELECT u.id, u.n, r_conversation, v_head, 4, p_id FROM unnest(r_users, r_numbers) AS u (id, n);
    INSERT INTO postbox.events (id, conversation_id, seq, kind, actor_id, happened_at, data, actor_inbox_seq)
    VALUES (p_id, r_conversation, v_head, 4, p_actor, r_at, p_data, coalesce(r_numbers[array_position(r_users, p_actor)], 0));
    -- Who may see whom has changed, and who hears signals.
    INSERT INTO postbox.control (kind, user_id, subject)
    VALUES (CASE WHEN p_event IN ('left', 'removed', 'deleted') THEN 'parted' ELSE 'room' END,
            CASE WHEN p_event IN ('added', 'joined', 'left', 'removed') THEN p_user ELSE 0 END, p_room);
    PERFORM pg_notify('postbox_control', '');
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.room IS 'Stores one change of a room of a lane; called by the writer only.';
