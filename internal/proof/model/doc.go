// Package model runs random steps against the real Postbox, with kills of the
// server and of PostgreSQL in between, and compares all that can be seen of it
// with a model of docs/spec.md §1: what devices are sent, how they are
// answered, and the rows of the database.
//
// The pieces, in the order in which they are met:
//
//	step      a decision of the generator; a seed makes the same ones again
//	device    one client id of a user: its goroutine carries out its steps
//	conn      one connection of a device, and the goroutine that reads it
//	publish   one message on its way, with all its attempts
//	session   what the server must know of a device
//	instance  one subscription on a connection: where it began, what came
//	mirror    the rows of the database, read again and again
//	claim     what a delivery implies and the rows must confirm
//	finding   a promise that was broken: it ends the run
//
// Nothing here waits for a time to pass and then says that something is wrong:
// a promise is broken by what is there, or by what is not there although
// something else is that comes later. Only standing still is measured by the
// clock, and generously.
//
// All state of a run is guarded by one lock, [world].mu.
package model
