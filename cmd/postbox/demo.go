package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"postbox"
	"postbox/auth"
	"postbox/broker"
	"postbox/store"
)

// demoUsers are the accounts of --demo. Their passwords are no secret: the
// server listens on the loopback address unless told otherwise.
var demoUsers = []postbox.User{"alice", "bob", "carol"}

// demoRoom is the room that they are in.
const demoRoom postbox.Room = "lobby"

func demoPassword(u postbox.User) string { return string(u) + "-demo" }

// demo makes the accounts and the room that are not there yet and prints what to
// paste.
func demo(ctx context.Context, g *globals, url string, at broker.Addresses) error {
	st, err := store.Open(store.Options{URL: url, PoolSize: 1})
	if err != nil {
		return err
	}
	defer st.Close()
	for _, u := range demoUsers {
		hash, err := auth.HashPassword(demoPassword(u))
		if err != nil {
			return err
		}
		if _, err := st.AddUser(ctx, u, hash, false); err != nil && !errors.Is(err, postbox.ErrConflict) {
			return err
		}
	}
	if err := st.FillRoom(ctx, demoRoom, demoUsers); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(at.MQTT)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.Stdout, `
The chat page: http://%[3]s/
Users:     alice (password alice-demo), bob (bob-demo), carol (carol-demo); all are in the room lobby

Bob's phone, in a second terminal:
  mosquitto_sub -h %[1]s -p %[2]s -q 1 -c -i phone -u bob -P bob-demo -t inbox/bob

A message from Alice, in a third:
  mosquitto_pub -h %[1]s -p %[2]s -q 1 -i laptop -u alice -P alice-demo -t inbox/bob -m 'Hello, Bob'

And one to everybody in the room:
  mosquitto_pub -h %[1]s -p %[2]s -q 1 -i laptop -u alice -P alice-demo -t room/%[4]s -m 'Hello, all'

An account of your own (and a token for it), over HTTP:
  curl -H 'Content-Type: application/json' -d '{"user":"dave","password":"dave-demo"}' http://%[3]s/v1/register

MQTT over WebSocket: ws://%[3]s/mqtt
Stop with Ctrl-C.
`, host, port, at.HTTP, demoRoom)
	return err
}
