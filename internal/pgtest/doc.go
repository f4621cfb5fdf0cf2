// Package pgtest gives tests a real PostgreSQL: a fresh, migrated database for
// each test, or a server of its own for one that restarts or kills it.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// The first test that asks starts one private server for the test binary,
// migrates a template and clones it; [Main] ends the server after the last test.
// With POSTBOX_TEST_DATABASE_URL set to the URL of a superuser, or of a role
// that may create databases, that server is used instead.
//
// The shared server runs without fsync. What a test says about durability it
// must show on a server from [NewCluster].
package pgtest
