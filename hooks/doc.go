// Package hooks is the MQTT edge of Postbox: one Mochi hook that makes a Mochi
// server a message store with an inbox for each user.
//
// Mochi keeps what it is good at: framing, protocol versions, keep-alive,
// subscriptions to what is not kept. Publishes to inboxes are taken from it
// before it acknowledges or fans them out; they go to a lane, and their
// acknowledgements and deliveries are written by this package, in frames of
// its own. Every use of Mochi's insides is here and in package broker.
//
// The server may be anybody's (broker.Attach). Topics that are not Postbox's stay
// with Mochi and its owner (others.go), connections that Mochi's own listeners
// accept are served as well as can be without seeing them read (foreign.go), and a
// server whose options or hooks would break a promise is refused (server.go).
//
// The walk of a publish: read.go (taken from Mochi), publish.go (validated,
// made a draft), resend.go (known already?), then package inbox, then settle.go
// (acknowledged) and deliver.go (written to each device).
package hooks
