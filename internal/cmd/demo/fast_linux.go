package main

import (
	"errors"
	"fmt"
	"regexp"
	"syscall"
	"time"

	"github.com/steppe-nat64/steppe/fastpath"
	"github.com/steppe-nat64/steppe/internal/test/testbed"
)

// fastLine is what the program says of its fast path when it has started.
var fastLine = regexp.MustCompile(`(?i)fast path: (on|off\b.*)`)

// awaitFastPath waits until the program has said whether the fast path is on, and returns
// that.
func (g *gateway) awaitFastPath() (state string, err error) {
	err = g.await(0, "nothing about the fast path", func(text string) bool {
		if m := fastLine.FindStringSubmatch(text); m != nil {
			state = m[1]
		}
		return state != ""
	})
	return state, err
}

// await waits until the program has printed, after the first from bytes, what is wanted.
func (g *gateway) await(from int, otherwise string, wanted func(text string) bool) error {
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		if wanted(g.process.OutputFrom(from)) {
			return nil
		}
		select {
		case <-g.process.Done():
			return errors.Join(errors.New("tayga has ended"), g.process.Wait())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("tayga says %s", otherwise)
		}
	}
}

// fastPath asks the program which part of packets the kernel has translated.
func (g *gateway) fastPath() (f testbed.Fast, err error) {
	from := len(g.process.Output())
	if err := g.process.Signal(syscall.SIGUSR1); err != nil {
		return f, err
	}
	err = g.await(from, "nothing about the fast path on SIGUSR1", func(text string) (found bool) {
		f, found = testbed.ParseFast(text)
		return found
	})
	return f, err
}

// share runs transfers of size bytes at least, nearly all of which the kernel has to
// translate, if it is one that can.
func (g *gateway) share(size int64, transfers func() (string, error)) (string, error) {
	before, err := g.fastPath()
	if err != nil {
		return "", err
	}
	if err := fastpath.Supported(); err != nil && !before.On {
		return fmt.Sprintf("off, tayga translates everything: %v", err), nil
	}
	if _, err := transfers(); err != nil {
		return "", err
	}
	now, err := g.fastPath()
	if err != nil {
		return "", err
	}
	f := now.Since(before)
	if err := f.Awake(uint64(size)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%.1f %% of %d MiB of TCP translated by the kernel, the rest by tayga", 100*f.Share(), (f.Kernel+f.Daemon)>>20), nil
}
