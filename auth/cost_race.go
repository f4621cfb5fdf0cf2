//go:build race

package auth

// hashMemory is small where the race detector looks at each of its bytes: 19 MiB take
// 211 ms then, six times as long. Nobody's password is kept by such a program.
const hashMemory = 1024 // KiB
