// Package api is the operations of docs/spec.md §7, once for both edges: MQTT
// (package hooks) and HTTP (package web) hand it the same JSON and pass on the
// same replies and errors. It knows neither; it knows no SQL either: what it
// needs of the database and of the writer are the interfaces of this package,
// which broker joins with what is behind them.
package api
