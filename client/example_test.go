package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"testing"
	"time"

	"postbox"
	"postbox/client"
)

// demo runs a server with the users alice and bob for an example, and returns its
// URL. It is a real one, on a PostgreSQL of its own.
func demo() (url string, stop func()) {
	t := &exampleTB{}
	return newInside(t).url, t.end
}

// exampleTB lets an example use what was made for tests.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()                   {}
func (t *exampleTB) Name() string              { return "Example" }
func (t *exampleTB) Context() context.Context  { return context.Background() }
func (t *exampleTB) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Fatal(args ...any)         { log.Fatal(args...) }
func (t *exampleTB) Fatalf(f string, a ...any) { log.Fatalf(f, a...) }
func (t *exampleTB) Error(args ...any)         { log.Print(args...) }
func (t *exampleTB) Errorf(f string, a ...any) { log.Printf(f, a...) }
func (t *exampleTB) Logf(f string, a ...any)   { log.Printf(f, a...) }
func (t *exampleTB) Failed() bool              { return false }
func (t *exampleTB) end() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

func Example() {
	url, stop := demo()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	alice, err := client.Dial(ctx, client.Options{URL: url, User: "alice", Password: "correct horse", Device: "laptop"})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close(ctx)
	if _, err := alice.Send(ctx, "alice", []byte("a note to myself")); err != nil {
		log.Fatal(err)
	}
	d, err := alice.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d from %s: %s\n", d.InboxSeq, d.From, d.Body)
	d.Ack()
	// Output: 1 from alice: a note to myself
}

func ExampleClient_Send_refused() {
	url, stop := demo()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	alice, err := client.Dial(ctx, client.Options{
		URL: url, User: "alice", Password: "correct horse", Device: "reminder", SendOnly: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close(ctx)
	_, err = alice.Send(ctx, "nobody", []byte("hello"))
	fmt.Println(errors.Is(err, postbox.ErrNotFound))
	// Output: true
}

// A program that must not send twice, whatever happens to it, makes the key
// from what the message is about, and sends again until it knows.
func ExampleWithKey() {
	url, stop := demo()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	shop, err := client.Dial(ctx, client.Options{
		URL: url, User: "alice", Password: "correct horse", Device: "shop", SendOnly: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close(ctx)
	for range 2 {
		r, err := shop.Send(ctx, "bob", []byte("your order is on its way"), client.WithKey("order-1042-shipped"))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Key, r.Seq, r.Duplicate)
	}
	// Output:
	// order-1042-shipped 1 false
	// order-1042-shipped 1 true
}

// A conversation is read from its first message on, page by page.
func ExampleClient_Messages() {
	url, stop := demo()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	alice, err := client.Dial(ctx, client.Options{
		URL: url, User: "alice", Password: "correct horse", Device: "laptop", SendOnly: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close(ctx)
	for _, text := range []string{"milk", "bread"} {
		if _, err := alice.Send(ctx, "alice", []byte(text)); err != nil {
			log.Fatal(err)
		}
	}
	for m, err := range alice.Messages(ctx, client.With("alice"), postbox.Bound{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s\n", m.Seq, m.Body)
	}
	// Output:
	// 1 milk
	// 2 bread
}

// Two users meet in a room: what is said there arrives in the inbox of each.
func ExampleClient_CreateRoom() {
	url, stop := demo()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	o := client.Options{URL: url, User: "alice", Password: "correct horse", Device: "laptop"}
	alice, err := client.Dial(ctx, o)
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close(ctx)
	o.User = "bob"
	bob, err := client.Dial(ctx, o)
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close(ctx)
	if _, err := alice.CreateRoom(ctx, "tea", client.RoomSettings{}); err != nil {
		log.Fatal(err)
	}
	if _, err := alice.AddMember(ctx, "tea", "bob", postbox.RoleMember); err != nil {
		log.Fatal(err)
	}
	if _, err := alice.SendToRoom(ctx, "tea", []byte("at five?")); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		d, err := bob.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s %s: %s%s\n", d.Type, d.Room, d.Event, d.Body)
		d.Ack()
	}
	// Output:
	// room tea: added
	// message tea: at five?
}
