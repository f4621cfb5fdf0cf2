package client_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"postbox/api"
	"postbox/client"
)

// samples are values for the fields of envelopes: no zero ones.
var samples = map[string]any{
	"inbox_seq": 42, "after": 7, "epoch": "k3f9", "id": anID, "from": "alice", "to": "bob", "room": "dev", "seq": 17, "next": 9,
	"sent_at": "2026-11-22T15:04:05.123Z", "edited_at": "2026-11-22T15:04:05.123Z", "content_type": "text/plain",
	"body": "hello", "body_base64": "/wA=", "too_large": 70000, "retracted": true, "expired": true, "ref": map[string]int{"n": 1},
	"idempotency_key": "k-7", "device": "phone", "code": "expired",
	"event": "updated", "user": "carol", "role": "member", "title": "Dev", "public": true, "history": "all",
}

// An envelope shows every field that the server's own documents name.
func TestAnEnvelopeHasEveryFieldOfTheDocuments(t *testing.T) {
	t.Parallel()
	schemas := api.Schemas()
	checked := 0
	for _, name := range []string{"Message", "MessageEntry", "EditEntry", "RetractEntry", "ReadEntry", "RoomEntry", "Gap"} {
		for field := range schemas[name]["properties"].(api.Schema) {
			if field == "type" {
				continue
			}
			sample, ok := samples[field]
			if !ok {
				t.Errorf("%s has the field %s, which this test does not know", name, field)
				continue
			}
			text, err := json.Marshal(map[string]any{"type": "message", field: sample})
			if err != nil {
				t.Fatal(err)
			}
			e, err := client.ParseEnvelope(text)
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			if cmp.Equal(e, client.Envelope{Type: "message"}) {
				t.Errorf("the field %s of %s is not to be seen in an Envelope", field, name)
			}
			checked++
		}
	}
	if checked < 50 {
		t.Errorf("only %d fields: this test shows nothing", checked)
	}
}

// What the methods return has every field that the documents name.
func TestRepliesHaveEveryFieldOfTheDocuments(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]any{
		"Profile": client.Profile{}, "Person": client.Person{}, "Device": client.Device{}, "Presence": client.Presence{},
		"Room": client.Room{}, "Member": client.Member{},
	} {
		var has []string
		for i := range reflect.TypeOf(v).NumField() {
			has = append(has, reflect.TypeOf(v).Field(i).Tag.Get("json"))
		}
		properties := api.Schemas()[name]["properties"].(api.Schema)
		if len(properties) == 0 {
			t.Errorf("%s has no fields", name)
		}
		for field := range properties {
			if !slices.Contains(has, field) {
				t.Errorf("%s has the field %s, which client.%s has not", name, field, name)
			}
		}
	}
}

// byMethod are the operations that have a method of their own; byCall those that
// are left to Client.Call and Login, with the reason.
var (
	byMethod = []string{
		"send", "history", "sync", "conversations", "read", "edit", "retract", "search", "signal", "presence",
		"block", "unblock", "blocks", "devices", "device.revoke", "me", "me.update", "profile",
		"room.create", "room.get", "room.list", "room.update", "room.delete", "room.join", "room.leave", "room.add", "room.remove", "room.role",
	}
	byCall = map[string]string{
		"login": "of Login", "refresh": "of Login", "register": "over HTTP only", "stream_token": "over HTTP only", "erase": "over HTTP only",
		"logins": "rare", "logout": "rare", "password": "rare",
		"users": "for administrators", "user.add": "for administrators", "user.password": "for administrators", "user.disable": "for administrators",
		"user.enable": "for administrators", "user.revoke": "for administrators", "user.admin": "for administrators",
		"invite.add": "for administrators", "invite.list": "for administrators", "invite.remove": "for administrators",
	}
)

// A new operation gets a method, or a reason why not.
func TestEveryOperationIsConsidered(t *testing.T) {
	t.Parallel()
	known := append([]string{}, byMethod...)
	for name := range byCall {
		known = append(known, name)
	}
	var there []string
	for _, o := range api.New(api.Options{Limits: api.Limits{Body: 1, Ref: 1, Request: 1}}).Operations() {
		there = append(there, o.Name)
	}
	slices.Sort(known)
	slices.Sort(there)
	if diff := cmp.Diff(there, known); diff != "" {
		t.Errorf("-operations of the server +operations of the client:\n%s", diff)
	}
	if !slices.Contains(there, "send") {
		t.Error("the server has no operations: this test shows nothing")
	}
}
