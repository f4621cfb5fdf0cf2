//go:build !race

package auth

const hashMemory = 19456 // KiB
