package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// SIGTERM got lost when eight other signals were waiting to be answered: a
// daemon whose leases took a while to save did not end in a storm of SIGHUP.
func TestEndAmidstOtherSignals(t *testing.T) {
	signals := notifySignals(handledSignals)
	defer signal.Reset(handledSignals...)
	next := func() os.Signal {
		t.Helper()
		select {
		case sig := <-signals:
			return sig
		case <-time.After(patience):
			t.Fatal("no signal")
			return nil
		}
	}
	kill := func(sig syscall.Signal) { require.NoError(t, syscall.Kill(os.Getpid(), sig)) }

	kill(syscall.SIGUSR1)
	for next() != syscall.SIGUSR1 { // one of an earlier run may be on its way
	}
	for range 100 { // no answer
		kill(syscall.SIGHUP)
		kill(syscall.SIGUSR1)
		time.Sleep(100 * time.Microsecond)
	}
	kill(syscall.SIGTERM)
	for answered := 0; ; answered++ {
		sig := next()
		if sig == syscall.SIGTERM {
			break
		}
		require.Less(t, answered, 10000, "SIGTERM does not come")
		kill(syscall.SIGHUP) // more while it answers
		kill(syscall.SIGUSR1)
	}
}
