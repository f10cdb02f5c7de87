package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A thread is a goroutine with a thread of its own.
type thread chan func()

func newThreads(n int) (threads []thread) {
	for range n {
		t := make(thread)
		go func() {
			runtime.LockOSThread()
			for f := range t {
				f()
			}
		}()
		t.do(func() {})
		threads = append(threads, t)
	}
	return threads
}

// do calls f on the thread and waits for it.
func (t thread) do(f func()) {
	done := make(chan struct{})
	t <- func() { f(); close(done) }
	<-done
}

// work does what makes the Go runtime call the kernel: threads that begin, block
// and end, collections of much and of large garbage, memory given back, timers,
// preemption, the network poller, a profile. It panics if the runtime does not
// cope.
func work() {
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
				panic(err)
			}
			go func() {
				time.Sleep(10 * time.Millisecond)
				unix.Write(p[1], []byte{1})
			}()
			unix.Read(p[0], make([]byte, 1)) // blocks a thread
			unix.Close(p[0])
			unix.Close(p[1])
		})
	}
	for range runtime.NumCPU() {
		all.Go(func() {
			for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
				runtime.KeepAlive(make([]byte, 1<<20)) // too large for a stack
			}
		})
	}
	r, w, err := os.Pipe() // goes by the network poller
	if err != nil {
		panic(err)
	}
	all.Go(func() { fmt.Fscanln(r, new(string)) })
	w.WriteString("x\n")
	all.Wait()
	r.Close()
	w.Close()
	debug.FreeOSMemory()
	pprof.StopCPUProfile()
	if profile.Len() == 0 {
		panic("no profile")
	}
}
