//go:build !linux

package main

// fileSystem does not know file systems here; bench runs on Linux only.
func fileSystem(string) string { return "unknown" }
