// Package broker puts the parts of Postbox together. An Engine is Postbox in a
// Mochi server: the database, the lanes, the hub and the hook; anybody's Mochi
// server takes one by Attach. A Server is one with a Mochi server, listeners and
// the HTTP edge of its own. Both have one lifecycle: made, Start, Shutdown.
package broker
