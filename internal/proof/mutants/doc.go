// Package mutants holds faults that the model test must find: each is an edit
// of Postbox's own source that breaks one promise of docs/spec.md §1.
//
// The edits are text, applied by go build -overlay: nothing in the tree is
// changed. A test fails when the text that an edit replaces is not found exactly
// once, so that a mutant cannot rot unseen; `make mutants` builds each one and
// runs the model test on it.
package mutants
