//go:build !linux

package main

// help is not called.
func help() int { return 1 }
