// Package tlstest makes authorities and certificates for tests, as files and
// ready for use. They are of this test alone: nothing else trusts them.
package tlstest
