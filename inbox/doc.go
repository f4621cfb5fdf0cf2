// Package inbox is the path of a message between the edges and the database:
// the lanes that commit publishes in groups and settle them in order, and the
// mailboxes that hand committed entries to devices at each device's own pace.
//
// It knows no MQTT, no SQL and no HTTP. Edges give it drafts and outlets; the
// store gives it what the interfaces Appender, Router and Reader ask for.
//
// It guarantees: drafts of one origin are settled in the order in which they
// were submitted, and only after their transaction has committed; a
// subscription is handed every entry after its start once, in order, however
// far behind it is; a cursor never passes an entry that is not acknowledged.
package inbox
