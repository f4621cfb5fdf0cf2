package api

import (
	"context"
	"slices"

	"postbox"
)

// Operation describes one operation of docs/spec.md §7, for the documents and
// for the edges.
type Operation struct {
	Name    string
	Summary string // one line
	Doc     string // more, if there is more to say
	// Reads is true for an operation that changes nothing: over HTTP it is to be
	// had with GET, too.
	Reads bool
	// Creates is true for an operation that makes something new: over HTTP its
	// reply is 201 when it did.
	Creates bool
	// Again is true for one of those that has nothing to do when it is there
	// already, as asked for: its reply is 200 then.
	Again bool
	// Anonymous is true for an operation that needs no authentication over HTTP:
	// what is asked for says who may.
	Anonymous bool
	// Admins is true for an operation that is forbidden to all but administrators.
	Admins bool
	// Edge says at which edge alone the operation exists.
	Edge Edge
	// Waits is true for an operation that may be held until there is news.
	Waits  bool
	Fields []Field
	// OneOf are fields of which a request gives exactly one; AtMostOne such of
	// which it gives one or none.
	OneOf, AtMostOne [][]string
	// Reply is the schema of the reply, Codes are the errors of its own.
	Reply Schema
	Codes []postbox.Code
}

// operation is an Operation that can be run. run appends the members of the
// reply to the object that it is given.
type operation struct {
	Operation
	run func(a *API, ctx context.Context, c *call) error
}

// call is one request on its way.
type call struct {
	caller  Caller
	in      *request
	out     object
	created bool
}

// CommonCodes are the errors that every operation may answer with.
var CommonCodes = []postbox.Code{
	postbox.CodeInvalid, postbox.CodeUnauthenticated, postbox.CodeTooLarge,
	postbox.CodeRateLimited, postbox.CodeUnavailable, postbox.CodeInternal,
}

// Operations describes all operations, in the order of docs/spec.md §7. The
// caller must not change what it gets.
func (a *API) Operations() []Operation {
	all := make([]Operation, len(a.operations))
	for i, o := range a.operations {
		all[i] = o.Operation
	}
	return all
}

// find returns an operation by its name.
func (a *API) find(name string) *operation {
	i := slices.IndexFunc(a.operations, func(o *operation) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	return a.operations[i]
}

// checkChoice checks that of fields that exclude each other a request gives the
// right number.
func (r *request) checkChoice() error {
	for _, names := range r.op.OneOf {
		if r.given(names) != 1 {
			return postbox.Errorf(postbox.CodeInvalid, "give one of %s", listOf(names))
		}
	}
	for _, names := range r.op.AtMostOne {
		if r.given(names) > 1 {
			return postbox.Errorf(postbox.CodeInvalid, "give only one of %s", listOf(names))
		}
	}
	return nil
}

func (r *request) given(names []string) int {
	n := 0
	for _, name := range names {
		if r.get(name).set {
			n++
		}
	}
	return n
}

func listOf(names []string) string {
	s := names[0]
	for i, name := range names[1:] {
		if i == len(names)-2 {
			s += " and " + name
		} else {
			s += ", " + name
		}
	}
	return s
}
