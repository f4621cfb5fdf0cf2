-- +goose Up

-- To read a tsvector from text costs PostgreSQL much where words are long. The terms are a
-- plain text now, of which the index makes one; the table is smaller, too. It is filled
-- again.
DROP INDEX postbox.search_terms;
SELECT postbox.search_rebuild();
ALTER TABLE postbox.search ALTER terms TYPE text USING '';
CREATE INDEX search_terms ON postbox.search USING gin (array_to_tsvector(string_to_array(terms, ' ')))
    WITH (fastupdate = on, gin_pending_list_limit = 16384);
COMMENT ON COLUMN postbox.search.terms IS 'With a space between two: words in lower case; U: a user of a direct conversation, C: another conversation, A and B: windows of the index, D: 256 messages of a conversation; numbers are hexadecimal.';
