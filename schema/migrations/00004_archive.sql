-- +goose Up

-- Whether somebody has ever written to somebody decides who may write to them
-- and who sees when they are there. Found among their messages it would cost a
-- walk through all that the other side has written.
ALTER TABLE postbox.conversations
    ADD COLUMN low_wrote  boolean NOT NULL DEFAULT false,
    ADD COLUMN high_wrote boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN postbox.conversations.low_wrote IS 'user_low has written in it, or was about to: set when a server first learns where their messages go.';
COMMENT ON COLUMN postbox.conversations.high_wrote IS 'The same of user_high.';
UPDATE postbox.conversations c
   SET low_wrote  = EXISTS (SELECT FROM postbox.messages m WHERE m.conversation_id = c.id AND m.sender_id = c.user_low),
       high_wrote = EXISTS (SELECT FROM postbox.messages m WHERE m.conversation_id = c.id AND m.sender_id = c.user_high)
 WHERE c.room IS NULL;

ALTER TABLE postbox.control ADD COLUMN subject text NOT NULL DEFAULT '';
COMMENT ON COLUMN postbox.control.subject IS 'What of the user it is about: the client id of a revoked device, the name of who was blocked.';
