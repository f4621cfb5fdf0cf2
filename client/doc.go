// Package client is a Postbox client for Go, over MQTT 3.1.1 and
// paho.mqtt.golang. It adds what plain MQTT leaves to the program:
//
//   - Send returns once the message is stored, with its id and numbers, or with
//     the server's refusal, for which errors.Is(err, postbox.ErrForbidden) and
//     the like hold. Every send has an idempotency key and is sent again under
//     it after each reconnect, so it is stored once.
//   - Receive hands out the inbox in order and, within the life of a Client,
//     each entry once; an entry that the program has not acknowledged comes
//     again, also after a crash. What cannot be had is a delivery of its own, a
//     gap.
//   - With Options.Cursor the program keeps its place itself, in a file that
//     survives a crash or in a store of its own, and goes on there under any
//     device name. Else the server keeps it, as long as the device's session.
//   - A lost connection is made anew, after pauses that grow and are spread by
//     chance, each with what Options.Credentials gives. If the server has
//     forgotten the session meanwhile, the client says where it was, so nothing
//     is missed.
//   - The operations of docs/spec.md §7 are methods: History, Search, CreateRoom
//     and the like; those for administrators are done by Call. They are repeated
//     over lost connections, and when there were too many for the server's rate.
//
// Everything that waits ends with its context, and everything that the client
// runs with Close.
//
// A delivery is acknowledged to the server when the program calls Ack, and in
// the order of the inbox. The server has only so many unacknowledged
// deliveries on their way (64, unless set otherwise): a program that does not
// acknowledge gets no more, but may send and ask meanwhile. One that sends only
// sets Options.SendOnly.
package client
