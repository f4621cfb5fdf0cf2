// Package archtest keeps the shape of this repository: which package may
// import which, what each may take from outside, and the habits that every file
// keeps. Its tests read the source alone, so they see every platform and build
// tag, and run in a second.
//
// The diagram in diagram.go is the truth that ARCHITECTURE.md describes. A new
// package needs a floor there first.
package archtest
