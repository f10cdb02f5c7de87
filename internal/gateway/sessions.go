package gateway

import (
	"runtime"
	"slices"
	"time"

	"github.com/steppe-nat64/steppe/internal/taygaconf"
	"github.com/steppe-nat64/steppe/session"
)

// Sessions returns the bindings and sessions of hosts that share addresses, nil if
// tayga.conf has no stateful-pool. Its times are those that workers get.
func (g *Gateway) Sessions() *session.Table { return g.sessions }

func (g *Gateway) sessionConfig(f taygaconf.MapFile) session.Config {
	c := g.conf.Sessions(f.Bindings, g.onSession)
	c.Path = &g.fast
	return c
}

// Expire ends the sessions whose time has run out; call it about once a second, with the
// time that workers get. It works in small steps, between which packets pass that wait for
// what a step has locked.
func (g *Gateway) Expire(now time.Duration) {
	if g.sessions == nil {
		return
	}
	for g.sessions.Expire(now) {
		runtime.Gosched()
	}
}

// updateSessions makes the static bindings of a new map-file those of the sessions.
func (g *Gateway) updateSessions(c Changes) error {
	if g.sessions == nil || c.MapFile == nil {
		return nil
	}
	was, is := g.sessionConfig(g.mapFile), g.sessionConfig(*c.MapFile)
	if slices.Equal(was.Static, is.Static) {
		return nil // which spares flows that begin a pause
	}
	return g.sessions.Update(c.Now, is)
}

// restoreSessions undoes updateSessions. Sessions that it has ended stay so.
func (g *Gateway) restoreSessions(c Changes) error {
	if g.sessions == nil || c.MapFile == nil {
		return nil
	}
	return g.sessions.Update(c.Now, g.sessionConfig(g.mapFile))
}
