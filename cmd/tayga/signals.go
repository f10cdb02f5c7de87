package main

import (
	"os"
	"os/signal"
	"syscall"
)

// handledSignals are the signals that the daemon handles, also where its parent ignored
// them.
var handledSignals = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR2,
	syscall.SIGHUP, syscall.SIGUSR1,
}

// notifySignals returns signals as they come. Each has a place of its own to wait in, so
// that a storm of one cannot crowd out another: while one waits to be answered,
// nothing is lost but its like.
func notifySignals(list []os.Signal) <-chan os.Signal {
	all := make(chan os.Signal)
	for _, sig := range list {
		one := make(chan os.Signal, 1)
		signal.Notify(one, sig)
		go func() {
			for sig := range one {
				all <- sig
			}
		}()
	}
	return all
}

// signal answers a signal; the error is errStopped if that is the end.
func (d *daemon) signal(sig os.Signal) error {
	switch sig {
	case syscall.SIGHUP:
		d.reload()
	case syscall.SIGUSR1:
		d.printStats()
	default:
		number, _ := sig.(syscall.Signal)
		d.stopping()
		d.log.noticef("Exiting on signal %d", int(number))
		return errStopped
	}
	return nil
}

// ends reports whether a signal ends the daemon.
func ends(sig os.Signal) bool { return sig != syscall.SIGHUP && sig != syscall.SIGUSR1 }
