-- +goose Up

-- A login is a sign-in and all refresh tokens that follow from it. Of these one
-- counts at a time. That one, and the one before it, are kept as SHA-256: what is
-- here lets nobody in.
CREATE TABLE postbox.logins (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES postbox.users ON DELETE CASCADE,
    family     bytea NOT NULL,
    device     text NOT NULL DEFAULT '',
    token_hash bytea NOT NULL,
    spent_hash bytea,
    salt       bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    used_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT logins_family_key UNIQUE (family)
) WITH (fillfactor = 70);
COMMENT ON TABLE postbox.logins IS 'Sign-ins: families of refresh tokens. Access tokens name theirs, and end with it.';
COMMENT ON COLUMN postbox.logins.family IS 'First part of each of its refresh tokens.';
COMMENT ON COLUMN postbox.logins.device IS 'What the sign-in called itself: a device of this name that is revoked takes it along.';
COMMENT ON COLUMN postbox.logins.token_hash IS 'SHA-256 of the refresh token that counts.';
COMMENT ON COLUMN postbox.logins.spent_hash IS 'SHA-256 of the one before, spent at used_at.';
COMMENT ON COLUMN postbox.logins.salt IS 'From the spent token and this follows the one that counts.';
COMMENT ON COLUMN postbox.logins.used_at IS 'When its newest refresh token was made.';
CREATE INDEX logins_user ON postbox.logins (user_id, used_at);
CREATE INDEX logins_expires ON postbox.logins (expires_at);

CREATE TABLE postbox.invites (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code_hash  bytea NOT NULL,
    note       text NOT NULL DEFAULT '',
    uses       integer NOT NULL,
    used       integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT invites_code_key UNIQUE (code_hash),
    CONSTRAINT invites_uses CHECK (used BETWEEN 0 AND uses)
);
COMMENT ON TABLE postbox.invites IS 'Invitations to make an account. The code is kept as SHA-256.';
CREATE INDEX invites_expires ON postbox.invites (expires_at);
