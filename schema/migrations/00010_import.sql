-- +goose Up

-- Which account a user of another application has become. A later import from
-- there goes on with the same accounts, whatever they are called by then, and an
-- account that somebody else has under the same name is told from it.
CREATE TABLE postbox.imported_users (
    source  text NOT NULL,
    ref     text NOT NULL,
    user_id bigint NOT NULL REFERENCES postbox.users ON DELETE CASCADE,
    opened  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (source, ref),
    CONSTRAINT imported_users_account UNIQUE (user_id, source)
);
COMMENT ON TABLE postbox.imported_users IS 'Accounts that were imported; an erased one is not among them any more.';
COMMENT ON COLUMN postbox.imported_users.source IS 'What the import called the place where the user is from.';
COMMENT ON COLUMN postbox.imported_users.ref IS 'The user''s key there.';
COMMENT ON COLUMN postbox.imported_users.opened IS 'The account has its password: it gets it when its messages are here.';
COMMENT ON COLUMN postbox.messages.qos IS 'How it was published; -1: it was imported, and sent_at is not when it came.';
