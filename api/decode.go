package api

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"postbox"
)

// maxRequestID is the most bytes of a request_id and of a reply.
const maxRequestID = 128

// request is a decoded request of one operation.
type request struct {
	op     *operation
	values []value // of op.Fields, in their order
}

// get returns the value of a field, which the operation must have.
func (r *request) get(name string) *value {
	for i := range r.op.Fields {
		if r.op.Fields[i].Name == name {
			return &r.values[i]
		}
	}
	panic("operation " + r.op.Name + " has no field " + name)
}

// decode reads a request strictly: one flat JSON object of known fields, each
// once and of its type. The error is ErrInvalid or ErrTooLarge and names the
// field.
func (o *operation) decode(data []byte, edge Edge) (*request, error) {
	r := &request{op: o, values: make([]value, len(o.Fields))}
	if err := members(data, func(name string, raw []byte) error {
		i := o.find(name, edge)
		if i < 0 {
			return postbox.Errorf(postbox.CodeInvalid, "unknown field %s: %s takes %s", quote(name), o.Name, o.names(edge))
		}
		v, err := o.Fields[i].parse(raw)
		r.values[i] = v
		return err
	}); err != nil {
		return nil, err
	}
	for i := range o.Fields {
		if f := &o.Fields[i]; f.Required && !r.values[i].set {
			return nil, postbox.Errorf(postbox.CodeInvalid, "the field %s is missing: %s", f.Name, f.Doc)
		}
	}
	return r, nil
}

func (o *operation) find(name string, edge Edge) int {
	for i := range o.Fields {
		if f := &o.Fields[i]; f.Name == name && (f.Edge == EdgeBoth || f.Edge == edge) {
			return i
		}
	}
	return -1
}

// names lists the fields of an edge.
func (o *operation) names(edge Edge) string {
	var names []string
	for i := range o.Fields {
		if f := &o.Fields[i]; f.Edge == EdgeBoth || f.Edge == edge {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// members calls each for the members of a JSON object, in their order. Names
// given twice, invalid UTF-8 and anything behind the object are errors.
func members(data []byte, each func(name string, raw []byte) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(data))
	if d.PeekKind() != '{' {
		if _, err := d.ReadToken(); err != nil {
			return syntaxError(err)
		}
		return postbox.Errorf(postbox.CodeInvalid, "the request must be a JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return syntaxError(err)
	}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return syntaxError(err)
		}
		name := token.String()
		raw, err := d.ReadValue()
		if err != nil {
			return syntaxError(err)
		}
		if err := each(name, raw); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return syntaxError(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return postbox.Errorf(postbox.CodeInvalid, "something follows the request's JSON object")
	}
	return nil
}

// eachOf calls each for the items of a JSON array whose grammar is known to be
// right.
func eachOf(array []byte, each func(raw []byte) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(array))
	if _, err := d.ReadToken(); err != nil {
		return syntaxError(err)
	}
	for d.PeekKind() != ']' {
		raw, err := d.ReadValue()
		if err != nil {
			return syntaxError(err)
		}
		if err := each(raw); err != nil {
			return err
		}
	}
	return nil
}

// syntaxError says what is wrong with the JSON and where.
func syntaxError(err error) error {
	var at *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &at):
		return postbox.Errorf(postbox.CodeInvalid, "the field %s is given twice", quote(at.JSONPointer.LastToken()))
	case errors.As(err, &at):
		return postbox.Errorf(postbox.CodeInvalid, "the request is not JSON: %v, at byte %d", at.Err, at.ByteOffset)
	case errors.Is(err, io.EOF):
		return postbox.Errorf(postbox.CodeInvalid, "the request is empty: send a JSON object, {} if there is nothing to say")
	}
	return postbox.Errorf(postbox.CodeInvalid, "the request is not JSON: it ends too early")
}

// Tags reads what an edge needs of a request that may be wrong otherwise: its
// request_id, and where an MQTT client wants the reply. What is not there, or
// not of the right form, is empty.
func Tags(request []byte) (requestID, reply string) {
	_ = members(request, func(name string, raw []byte) error {
		if raw[0] != '"' {
			return nil
		}
		switch name {
		case "request_id":
			if s := unquote(raw); checkRequestID(s) == nil {
				requestID = s
			}
		case "reply":
			if s := unquote(raw); checkReply(s) == nil {
				reply = s
			}
		}
		return nil
	})
	return requestID, reply
}
