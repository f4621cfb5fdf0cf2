-- +goose Up

-- A search looks at what is not in the index yet in the inbox of who searches; so it must
-- know since when that is.
ALTER TABLE postbox.search_state ADD covered timestamptz NOT NULL DEFAULT clock_timestamp();
UPDATE postbox.search_state SET covered = coalesce((SELECT min(q.queued_at) FROM postbox.search_queue q), clock_timestamp());
COMMENT ON COLUMN postbox.search_state.covered IS 'All that was committed before is in the index, besides what fill_after says.';
