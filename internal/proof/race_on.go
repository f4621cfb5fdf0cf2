//go:build race

package proof

// raceEnabled says that the tests run under the race detector; the server is
// then built with it too.
const raceEnabled = true
