package client

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"postbox"
)

// wireID is a message id in JSON; none is the empty string.
type wireID postbox.MessageID

// UnmarshalText reads the usual form of 36 characters.
func (id *wireID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = wireID{}
		return nil
	}
	parsed, err := postbox.ParseMessageID(string(text))
	*id = wireID(parsed)
	return err
}

// MarshalText writes it; an id that is not set is left out by omitzero.
func (id wireID) MarshalText() ([]byte, error) {
	return postbox.MessageID(id).Append(nil), nil
}

// wireBody is a body in a request: as text, or as base64 where that is shorter
// or the only way.
type wireBody struct {
	Text   *string `json:"body,omitempty"`
	Base64 *string `json:"body_base64,omitempty"`
}

func bodyOf(body []byte) wireBody {
	text := string(body)
	if utf8.Valid(body) {
		if quoted, err := marshal(text); err == nil && len(quoted)-2 <= base64.StdEncoding.EncodedLen(len(body))+len("_base64") {
			return wireBody{Text: &text}
		}
	}
	coded := base64.StdEncoding.EncodeToString(body)
	return wireBody{Base64: &coded}
}

// marshal is json.Marshal without the escapes that are for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// readReply reads what every reply has: the id of its request, and whether it
// says no.
func readReply(payload []byte) (id string, r result, err error) {
	var head struct {
		RequestID string `json:"request_id"`
		Error     *struct {
			Code    postbox.Code `json:"code"`
			Message string       `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(payload, &head); err != nil {
		return "", result{}, err
	}
	if head.Error != nil {
		return head.RequestID, result{err: &postbox.Error{Code: head.Error.Code, Message: head.Error.Message}}, nil
	}
	return head.RequestID, result{reply: payload}, nil
}
