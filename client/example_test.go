package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"postbox"
	"postbox/client"
)

// demo runs a server with the user alice for an example, which may send to bob
// and to herself, and returns its URL.
func demo() (url string, stop func()) {
	t := &exampleTB{}
	f := newFake(t)
	refuseStrangers(f)
	return f.url, t.end
}

// exampleTB lets an example use what was made for tests.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()                   {}
func (t *exampleTB) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Fatal(args ...any)         { log.Fatal(args...) }
func (t *exampleTB) Errorf(f string, a ...any) { log.Printf(f, a...) }
func (t *exampleTB) end() {
	for _, f := range t.cleanups {
		f()
	}
}

func Example() {
	url, stop := demo()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	alice, err := client.Dial(ctx, client.Options{
		URL: url, User: "alice", Password: "correct horse", Device: "reminder", SendOnly: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close(ctx)
	_, err = alice.Send(ctx, "carol", []byte("hello"))
	fmt.Println(errors.Is(err, postbox.ErrForbidden), err)
	// Output: true send to carol: carol does not accept messages from you
}

// A program that must not send twice, whatever happens to it, makes the key
// from what the message is about, and sends again until it knows.
func ExampleWithKey() {
	url, stop := demo()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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
		fmt.Println(r.Key, r.Seq)
	}
	// Output:
	// order-1042-shipped 1
	// order-1042-shipped 1
}
