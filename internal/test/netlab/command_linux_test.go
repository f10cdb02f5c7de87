package netlab

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCommand(t *testing.T) {
	x := newChain(t)
	out, err := x.r.Command("cat", "/proc/net/dev").Output()
	require.NoError(t, err)
	for _, want := range []string{"lo:", "eth0:", "eth1:"} {
		assert.Contains(t, string(out), want)
	}
	_, err = x.r.Command("sh", "-c", "echo out; echo err >&2; exit 3").Output()
	assert.EqualError(t, err, "exit status 3: err")
	out, err = x.r.Command("sh", "-c", "echo out; echo err >&2; exit 3").CombinedOutput()
	assert.EqualError(t, err, "exit status 3")
	assert.Equal(t, "out\nerr\n", string(out))
	assert.ErrorContains(t, x.r.Command("/no/such/program").Run(), "netlab: r: start /no/such/program: ")
}

func TestProcess(t *testing.T) {
	h := New(t).Host("a")

	t.Run("stop", func(t *testing.T) {
		p, err := h.Launch("sh", "-c", "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.01; done")
		require.NoError(t, err)
		waitOutput(t, p, "hello\n")
		select {
		case <-p.Done():
			t.Fatal("ended by itself")
		default:
		}
		assert.NoError(t, p.Stop(10*time.Second))
		assert.Contains(t, p.Output(), "bye\n")
		assert.ErrorIs(t, p.Signal(syscall.SIGTERM), os.ErrProcessDone)
		assert.NoError(t, p.Stop(time.Second), "stopping again")
	})
	t.Run("stubborn", func(t *testing.T) {
		p, err := h.Launch("sh", "-c", "trap '' TERM; echo hello; while :; do sleep 0.01; done")
		require.NoError(t, err)
		waitOutput(t, p, "hello\n")
		err = p.Stop(50 * time.Millisecond)
		assert.ErrorContains(t, err, "still ran 50ms after SIGTERM")
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
	})
	t.Run("fails", func(t *testing.T) {
		p, err := h.Launch("sh", "-c", "echo oh no; exit 4")
		require.NoError(t, err)
		assert.ErrorContains(t, p.Wait(), "exit status 4: oh no")
	})
	t.Run("children-too", func(t *testing.T) {
		p, err := h.Launch("sh", "-c", "sleep 1000 & echo $!; wait")
		require.NoError(t, err)
		waitOutput(t, p, "\n")
		child := strings.TrimSpace(p.Output())
		assert.Error(t, p.Kill())
		assert.Eventually(t, func() bool { return !alive(child) }, 30*time.Second, time.Millisecond)
	})
}

// TestEnd: processes were killed when the laboratory was closed, and left behind what
// they remove at their end, such as sockets in /run. They are asked to end first.
func TestEnd(t *testing.T) {
	lab := New(t)
	host, dir := lab.Host("a"), t.TempDir()
	script := func(trap, file string) {
		p, err := host.Launch("sh", "-c", "trap '"+trap+"' TERM; touch "+dir+"/"+file+"; echo hello; while :; do sleep 0.01; done")
		require.NoError(t, err)
		waitOutput(t, p, "hello")
	}
	script("rm "+dir+"/polite; exit 0", "polite")
	script("", "deaf")
	lab.Close()
	require.NoFileExists(t, dir+"/polite")
	require.FileExists(t, dir+"/deaf", "killed all the same")
}

func waitOutput(t *testing.T, p *Process, want string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(p.Output(), want) },
		10*time.Second, time.Millisecond)
}

// alive reports whether a process exists and is no zombie.
func alive(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(state, "Z")
}

// crashEnv makes TestCrash be the program that crashes.
const crashEnv = "NETLAB_TEST_CRASH"

// TestCrash kills a program that has a laboratory, and wants the processes in
// there to die with it.
func TestCrash(t *testing.T) {
	if os.Getenv(crashEnv) != "" {
		p, err := New(t).Host("a").Launch("sleep", "1000")
		require.NoError(t, err)
		os.Stdout.WriteString("pid " + strconv.Itoa(p.Pid()) + "\n")
		select {}
	}
	New(t)
	c := exec.Command(os.Args[0], "-test.run=^TestCrash$")
	c.Env = append(os.Environ(), crashEnv+"=1")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, ok := strings.CutPrefix(strings.TrimSpace(line), "pid ")
	require.True(t, ok, line)
	assert.True(t, alive(pid))
	require.NoError(t, c.Process.Kill())
	c.Wait()
	assert.Eventually(t, func() bool { return !alive(pid) }, 30*time.Second, time.Millisecond)
}

func TestNft(t *testing.T) {
	x := newChain(t)
	_, err := x.a.Ping(b4, Echo{})
	require.NoError(t, err)
	x.r.Nft(`table ip filter {
		chain forward {
			type filter hook forward priority 0
			ip daddr 192.0.2.130 reject with icmp type admin-prohibited
		}
	}`)
	_, err = x.a.Ping(b4, Echo{})
	var e *ICMPError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, [2]int{3, 13}, [2]int{e.Type, e.Code})
	assert.Equal(t, r4, e.From)
	_, err = x.a.Ping(b6, Echo{})
	assert.NoError(t, err, "the rule is for IPv4")
}
