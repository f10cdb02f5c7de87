package metrics

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/steppe-nat64/steppe/internal/status"
)

// What clients get at most. A connection serves one request, so none lives
// longer than both times together.
const (
	maxClients = 16
	maxHeader  = 8 << 10
	askTime    = 5 * time.Second
	answerTime = 15 * time.Second
)

// Serve answers GET /metrics and refuses everything else, until l is closed.
// tell makes the report that a scrape shows; it is called from several
// goroutines at once.
func Serve(l net.Listener, tell func() *status.Report) error {
	s := &http.Server{
		Handler:           handler(tell),
		ReadHeaderTimeout: askTime,
		ReadTimeout:       askTime,
		WriteTimeout:      answerTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that send nonsense are no news
	}
	s.SetKeepAlivesEnabled(false)
	err := s.Serve(&limited{Listener: l, free: make(chan struct{}, maxClients)})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// handler serves the daemon's figures beside those of the Go runtime and the
// process. The latter need /proc: a daemon in a jail has none to show.
func handler(tell func() *status.Report) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		&collector{tell},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	metrics := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/metrics":
			http.Error(w, "nothing but /metrics is here", http.StatusNotFound)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "only GET is understood", http.StatusMethodNotAllowed)
		default:
			metrics.ServeHTTP(w, r)
		}
	})
}

// limited accepts no connection while there are too many: others wait in the
// kernel's queue.
type limited struct {
	net.Listener
	free chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: conn, free: l.free}, nil
}

type limitedConn struct {
	net.Conn
	once sync.Once
	free chan struct{}
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.free })
	return err
}
