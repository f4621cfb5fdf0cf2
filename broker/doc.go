// Package broker is one Postbox server, put together out of the parts: the
// database, the lanes, the hub, the Mochi server with its hook, the listeners
// and the HTTP edge. It has one lifecycle: New, Start, Shutdown.
package broker
