-- +goose Up

-- What a user sends moves their read position, too. It is not noted for each
-- message: whoever asks looks for the user's last one among the newest 1,000.
-- With each 500th message of a conversation it is noted who has sent what of
-- those, so that nothing older is ever missed.
-- +goose StatementBegin
CREATE FUNCTION postbox.note_own_positions() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO postbox.positions AS k (conversation_id, user_id, read_seq, told_seq)
    SELECT NEW.conversation_id, s.sender_id, s.last, s.last
      FROM (SELECT m.sender_id, max(m.seq) AS last FROM postbox.messages m
             WHERE m.conversation_id = NEW.conversation_id AND m.seq > NEW.seq - 500 AND m.seq <= NEW.seq
             GROUP BY m.sender_id) s
     WHERE EXISTS (SELECT FROM postbox.users u WHERE u.id = s.sender_id)
     ORDER BY s.sender_id
    ON CONFLICT (conversation_id, user_id) DO UPDATE
       SET read_seq = EXCLUDED.read_seq, told_seq = greatest(k.told_seq, EXCLUDED.told_seq)
     WHERE k.read_seq < EXCLUDED.read_seq;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.note_own_positions IS 'Trigger of messages: notes in positions how far those have read who have sent one of the last 500.';
CREATE TRIGGER note_own_positions AFTER INSERT ON postbox.messages
    FOR EACH ROW WHEN (NEW.seq % 500 = 0) EXECUTE FUNCTION postbox.note_own_positions();

INSERT INTO postbox.positions AS k (conversation_id, user_id, read_seq, told_seq)
SELECT s.conversation_id, s.sender_id, s.last, s.last
  FROM (SELECT m.conversation_id, m.sender_id, max(m.seq) AS last FROM postbox.messages m GROUP BY m.conversation_id, m.sender_id) s
 WHERE EXISTS (SELECT FROM postbox.users u WHERE u.id = s.sender_id)
   AND EXISTS (SELECT FROM postbox.conversations c WHERE c.id = s.conversation_id)
ON CONFLICT (conversation_id, user_id) DO UPDATE
   SET read_seq = EXCLUDED.read_seq, told_seq = greatest(k.told_seq, EXCLUDED.told_seq)
 WHERE k.read_seq < EXCLUDED.read_seq;
