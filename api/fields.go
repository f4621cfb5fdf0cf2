package api

import (
	"strings"
	"unicode/utf8"

	"postbox"
)

// Limits of single requests (docs/spec.md §7).
const (
	defaultLimit   = 50
	maxLimit       = 500
	maxWait        = 60 // seconds
	maxUsers       = 100
	maxDisplayName = 128 // bytes
	maxExpiry      = 1<<32 - 1
)

// namePattern is the form of user and room names (docs/spec.md §2).
const namePattern = `^[a-z0-9][a-z0-9._@-]{0,63}$`

func userField(name, doc string) Field {
	return Field{Name: name, Doc: doc, Pattern: namePattern, Max: postbox.MaxNameLength, check: func(s string) error {
		_, err := postbox.ParseUser(s)
		return err
	}}
}

func roomField(name, doc string) Field {
	return Field{Name: name, Doc: doc, Pattern: namePattern, Max: postbox.MaxNameLength, check: func(s string) error {
		_, err := postbox.ParseRoom(s)
		return err
	}}
}

func idField(name, doc string) Field {
	return Field{Name: name, Doc: doc, Format: "uuid", Max: 36, check: func(s string) error {
		_, err := postbox.ParseMessageID(s)
		return err
	}}
}

func numberField(name, doc string, least, most int64) Field {
	return Field{Name: name, Kind: KindNumber, Doc: doc, Min: least, Max: most}
}

func limitField(of string) Field {
	return numberField("limit", "at most so many "+of+"; 50 if not given", 1, maxLimit)
}

func keyField() Field {
	return Field{
		Name: "idempotency_key", Pattern: `^[!-"$-*,-.0-~]{1,128}$`, Max: postbox.MaxKeyLength, check: postbox.CheckKey,
		Doc: "a name of this request, unique for its sender: asked again with the same key it is done once",
	}
}

func usersField(doc string) Field {
	return Field{Name: "users", Kind: KindNames, Doc: doc, Required: true, Max: maxUsers}
}

func required(f Field) Field {
	f.Required = true
	return f
}

// place are the two ways to name a conversation, of which a request gives one.
func place() []Field {
	return []Field{
		userField("with", "the other side of a direct conversation"),
		roomField("room", "or a room"),
	}
}

// common are the fields of every request.
func common() []Field {
	return []Field{
		{
			Name: "request_id", Max: maxRequestID, check: checkRequestID,
			Doc: "repeated in the reply, or in the error",
		},
		{
			Name: "reply", Max: maxRequestID, check: checkReply, Edge: EdgeMQTT,
			Doc: "the reply goes to reply/{me}/{reply}; an MQTT 5 response topic comes first",
		},
	}
}

func checkRequestID(s string) error {
	if s == "" || len(s) > maxRequestID || !utf8.ValidString(s) {
		return postbox.Errorf(postbox.CodeInvalid, "1 to %d bytes are allowed", maxRequestID)
	}
	return nil
}

// checkReply checks the end of a topic below reply/{me}/.
func checkReply(s string) error {
	if s == "" || len(s) > maxRequestID || strings.ContainsAny(s, "+#") || hasControl(s) ||
		strings.Count(s, "/") > postbox.MaxFilterLevels-3 {
		return postbox.Errorf(postbox.CodeInvalid, "give the end of a topic of at most %d bytes, without + and #", maxRequestID)
	}
	return nil
}

func checkDisplayName(s string) error {
	if hasControl(s) {
		return postbox.Errorf(postbox.CodeInvalid, "control characters are not allowed")
	}
	return nil
}

func checkEpoch(s string) error {
	_, err := postbox.ParsePosition(s + ":0")
	if err != nil {
		return postbox.Errorf(postbox.CodeInvalid, "%s is no epoch: give the one that came with the number", quote(s))
	}
	return nil
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 })
}
