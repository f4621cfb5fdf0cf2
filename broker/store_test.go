package broker_test

import (
	"postbox/api"
	"postbox/store"
)

// The store is what the operations read from, without knowing them.
var (
	_ api.Archive = (*store.Store)(nil)
	_ api.People  = (*store.Store)(nil)
	_ api.Devices = (*store.Store)(nil)
)
