package repair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// What a command may take, how long is waited for programs that it has left with its
// output, and how much of that is kept.
const (
	runTime  = 2 * time.Minute
	leftTime = 2 * time.Second
	maxSaid  = 4 << 10
)

// Run runs a command by sh, and returns what it said if it fails.
func Run(command string) error {
	ctx, cancel := context.WithTimeout(context.Background(), runTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	var said limited
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Env = append(os.Environ(), "PATH="+path(os.Getenv("PATH")))
	cmd.WaitDelay = leftTime
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("it did not end within %v", runTime)
	case said.Len() > 0:
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return err
}

// path adds where programs for root are.
func path(p string) string {
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if !strings.Contains(":"+p+":", ":"+dir+":") {
			p += ":" + dir
		}
	}
	return strings.TrimPrefix(p, ":")
}

// limited is a buffer that keeps the beginning.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	l.Buffer.Write(b[:min(len(b), max(0, maxSaid-l.Len()))])
	return len(b), nil
}
