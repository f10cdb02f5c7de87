package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// sessionsClock has the wall clock be another one from one life of the binary to the next,
// as clockStepped has for leases. While the machine has not booted again its uptime counts, so
// all sessions go on. After a boot there is the wall clock alone: sessions go on if it went
// back, and end if it says that their time has run out.
func (x *trial) sessionsClock() (string, error) {
	b, done, err := x.openShared()
	if err != nil {
		return "", err
	}
	defer done()
	if err := startShared(b); err != nil {
		return "", err
	}
	all, err := x.openFlows(b, 50)
	if err := errors.Join(err, b.Stop()); err != nil {
		return "", err
	}
	const day = 24 * 60 * 60
	steps := []int64{-3 * day, 3 * day, -40 * 365 * day, 13 * day, -400, 400, -day, day}
	for _, boot := range []bool{false, true} {
		for _, step := range steps {
			ended := boot && step > 3600
			was, err := os.ReadFile(sessionFile(b))
			if err := errors.Join(err, stepSessions(sessionFile(b), step, boot), startShared(b)); err != nil {
				return "", err
			}
			now, err := flowsOf(b)
			if ended {
				if len(now) > 0 {
					err = errors.Join(err, fmt.Errorf("faults: %d sessions after their time", len(now)))
				}
			} else {
				err = errors.Join(err, x.keepFlows(all, now))
			}
			if err := errors.Join(err, b.Check(), b.Stop()); err != nil {
				return "", fmt.Errorf("after %d s, boot %t: %w", step, boot, err)
			}
			if err := os.WriteFile(sessionFile(b), was, 0o600); err != nil {
				return "", err
			}
			x.inputs++
		}
	}
	return fmt.Sprintf("%d times by up to 40 years, between two lives, half of them with a boot; %d sessions kept or ended in time", 2*len(steps), len(all)), nil
}

// stepSessions makes the times in sessions.bin what a clock that was stepped by so many
// seconds sees in it, and the boot another one if that is wanted.
func stepSessions(name string, step int64, boot bool) error {
	const blockSize, wall, kind, identity = 4096, 8, 4, 24 + len("steppe-sessions2")
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for at := 0; at+blockSize <= len(b); at += blockSize {
		block := b[at:][:blockSize]
		binary.BigEndian.PutUint64(block[wall:], binary.BigEndian.Uint64(block[wall:])-uint64(step))
		if boot && block[kind] == 1 {
			block[identity] ^= 0xff
		}
		binary.BigEndian.PutUint32(block, crc32.Checksum(block[4:], crc32.MakeTable(crc32.Castagnoli)))
	}
	return os.WriteFile(name, b, 0o600)
}
