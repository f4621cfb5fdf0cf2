-- +goose Up

-- The names of those who were erased. They stay reserved, and nobody can read
-- them here: whoever has this table can only ask whether a name is in it.
CREATE TABLE postbox.reserved_names (
    digest bytea PRIMARY KEY
);
COMMENT ON TABLE postbox.reserved_names IS 'Names that are not given again: SHA-256 over the salt in reserved_names_salt and the name.';

CREATE TABLE postbox.reserved_names_salt (
    one  boolean PRIMARY KEY DEFAULT true,
    salt bytea NOT NULL,
    CONSTRAINT reserved_names_salt_one CHECK (one)
);
INSERT INTO postbox.reserved_names_salt (salt) VALUES (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

CREATE FUNCTION postbox.reserved_name(name text) RETURNS bytea
LANGUAGE sql STABLE
RETURN sha256((SELECT s.salt FROM postbox.reserved_names_salt s) || convert_to(name, 'UTF8'));
COMMENT ON FUNCTION postbox.reserved_name IS 'What reserved_names has of a name.';

-- A reserved name is skipped, as ON CONFLICT (name) DO NOTHING skips one that is
-- in use; so are those that erased accounts get.
-- +goose StatementBegin
CREATE FUNCTION postbox.keep_reserved() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name LIKE 'erased.%' OR EXISTS (SELECT FROM postbox.reserved_names r WHERE r.digest = postbox.reserved_name(NEW.name)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION postbox.keep_reserved IS 'Trigger of users: a reserved name is not inserted.';
CREATE TRIGGER keep_reserved BEFORE INSERT ON postbox.users
    FOR EACH ROW EXECUTE FUNCTION postbox.keep_reserved();

-- An account that is erased is closed at once. What it has written goes in many
-- short transactions, which another server goes on with if one is killed.
CREATE TABLE postbox.erasures (
    user_id   bigint PRIMARY KEY REFERENCES postbox.users,
    worked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE postbox.erasures IS 'Accounts of which something is left to erase.';
COMMENT ON COLUMN postbox.erasures.worked_at IS 'When something of it was last erased.';

COMMENT ON COLUMN postbox.users.erased_at IS 'The person is gone; the row is who wrote the tombstones. It has a name of its own then, and no log: nothing can be appended to its inbox, nor by it.';
CREATE INDEX events_actor ON postbox.events (actor_id);
CREATE INDEX events_room ON postbox.events (conversation_id) WHERE kind = 4;
