// Package client is a Postbox client for Go, over MQTT 3.1.1 and
// paho.mqtt.golang. It adds what plain MQTT leaves to the program:
//
//   - Send returns once the message is stored, with its id and numbers, or with
//     the server's refusal, for which errors.Is(err, postbox.ErrForbidden) and
//     the like hold. Every send has an idempotency key and is sent again under
//     it after each reconnect, so it is stored once.
//   - Receive hands out the inbox in order and, within the life of a Client,
//     each entry once; an entry that the program has not acknowledged comes
//     again, also after a crash.
//   - A lost connection is made anew, after pauses that grow and are spread by
//     chance. If the server has forgotten the session meanwhile, the client
//     says where it was, so nothing is missed.
//
// A delivery is acknowledged to the server when the program calls Ack, and in
// the order of the inbox. The server has only so many unacknowledged
// deliveries on their way (64, unless set otherwise), and the confirmation of
// a Send is the sender's own copy in that same inbox: a program has to go on
// receiving and acknowledging while its sends wait. One that sends only sets
// Options.SendOnly.
package client
