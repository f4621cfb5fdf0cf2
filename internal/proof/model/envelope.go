package model

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/mochi-mqtt/server/v2/packets"
)

// envelope is a delivery as docs/spec.md §4 describes it, or its raw form.
type envelope struct {
	InboxSeq    int64           `json:"inbox_seq"`
	AfterField  *int64          `json:"after"`
	Epoch       string          `json:"epoch"`
	Type        string          `json:"type"`
	ID          string          `json:"id"`
	From        string          `json:"from"`
	To          string          `json:"to"`
	Seq         int64           `json:"seq"`
	ContentType string          `json:"content_type"`
	Body        *string         `json:"body"`
	Base64      *string         `json:"body_base64"`
	Ref         json.RawMessage `json:"ref"`
	Key         string          `json:"idempotency_key"`
	Device      string          `json:"device"`
	Expired     bool            `json:"expired"`
	Code        string          `json:"code"`
	Topic       string          `json:"topic"`
	Next        int64           `json:"next"`
}

// after is the number up to which nothing else is due to the device.
func (e *envelope) after() int64 {
	if e.AfterField != nil {
		return *e.AfterField
	}
	return e.InboxSeq - 1
}

// parse reads a delivery in either form. What MQTT 5 says twice must agree.
func parse(pk packets.Packet, raw bool) (envelope, error) {
	e := envelope{}
	kind := propertyOf(pk, "type")
	if raw && kind == "message" {
		return parseRaw(pk)
	}
	if err := json.Unmarshal(pk.Payload, &e); err != nil {
		return e, err
	}
	if e.Base64 != nil {
		b, err := base64.StdEncoding.DecodeString(*e.Base64)
		if err != nil {
			return e, err
		}
		text := string(b)
		e.Body = &text
	}
	if pk.ProtocolVersion < 5 || e.Type != "message" {
		return e, nil
	}
	p, err := parseRaw(pk)
	if err == nil && (p.InboxSeq != e.InboxSeq || p.after() != e.after() || p.ID != e.ID || p.From != e.From || p.To != e.To ||
		p.Seq != e.Seq || p.Type != e.Type || p.Epoch != e.Epoch || p.Key != e.Key || p.Device != e.Device || p.Expired != e.Expired) {
		err = fmt.Errorf("the properties %v differ from the envelope", pk.Properties.User)
	}
	return e, err
}

// parseRaw reads the fields from the properties of a delivery.
func parseRaw(pk packets.Packet) (envelope, error) {
	e := envelope{}
	body := string(pk.Payload)
	e.Body = &body
	var failed error
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			failed = err
		}
		return n
	}
	for _, u := range pk.Properties.User {
		switch u.Key {
		case "inbox-seq":
			e.InboxSeq = number(u.Val)
		case "after":
			n := number(u.Val)
			e.AfterField = &n
		case "seq":
			e.Seq = number(u.Val)
		case "epoch":
			e.Epoch = u.Val
		case "type":
			e.Type = u.Val
		case "id":
			e.ID = u.Val
		case "from":
			e.From = u.Val
		case "to":
			e.To = u.Val
		case "content-type":
			e.ContentType = u.Val
		case "ref":
			e.Ref = json.RawMessage(u.Val)
		case "idempotency-key":
			e.Key = u.Val
		case "device":
			e.Device = u.Val
		case "expired":
			e.Expired, e.Body = true, nil
		}
	}
	return e, failed
}
