package store

import (
	"errors"

	"postbox"
)

// archiveSettings are those of the connections that history is read on. Its
// statements are written for one plan, which walks an index in its order and
// stops when it has enough, wherever in a conversation that is. The planner is
// told so: by what it knows of the tables, which may be nothing, it would
// sometimes rather read and sort all that lies behind.
var archiveSettings = map[string]string{
	"enable_seqscan":    "off",
	"enable_bitmapscan": "off",
	"enable_hashjoin":   "off",
	"enable_mergejoin":  "off",
	"plan_cache_mode":   "force_generic_plan",
}

// archive is a pool of its own, so that people who page through years of
// messages do not take the connections of those who wait for new ones.
type archive struct {
	statements
	rowReader
	names   remembered[postbox.UserID, postbox.User]
	places  remembered[placeKey, postbox.Place]
	parties remembered[postbox.ConversationID, parties]
}

func openArchive(s *Store) (*archive, error) {
	db, err := s.openWith(archiveSettings)
	if err != nil {
		return nil, err
	}
	control, err := s.openWith(nil)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	// It has no connection as long as there is nothing to end.
	control.SetMaxOpenConns(2)
	return &archive{statements: statements{db: db}, rowReader: rowReader{db, control, s.options.PoolSize}}, nil
}

func (a *archive) close() error { return errors.Join(a.statements.close(), a.control.Close()) }
