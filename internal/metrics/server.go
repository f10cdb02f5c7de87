package metrics

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/steppe-nat64/steppe/internal/connlimit"
	"github.com/steppe-nat64/steppe/internal/status"
)

// What clients get at most. A connection serves one request, so none lives
// longer than both times together; and when there are too many, the one that has
// been slowest to ask goes.
const (
	maxClients = 64
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
		IdleTimeout:       askTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that send nonsense are no news
	}
	s.SetKeepAlivesEnabled(false)
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	err := s.Serve(connlimit.New(l, maxClients, nil))
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// connKey is where a request's context has its connection.
type connKey struct{}

// asked tells the limit that this request has come in whole, except for a body, which
// is not read.
func asked(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*connlimit.Conn); ok {
		c.Asked()
	}
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
		asked(r)
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
