package broker

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postbox"
	"postbox/api"
	"postbox/inbox"
)

// signals are what is not kept, for both edges.
type signals struct {
	*inbox.Signals
	rates   *api.Rates
	sent    prometheus.Counter
	refused *prometheus.CounterVec
}

func newSignals(l inbox.Looker, rate int) *signals {
	s := &signals{
		Signals: inbox.NewSignals(l), rates: api.NewRates(rate),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postbox_signals_sent_total", Help: "Signals that were passed on to whoever was online.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postbox_signals_refused_total", Help: "Signals that were not passed on, by why; unavailable are those that the database was away for.",
		}, []string{"code"}),
	}
	for _, code := range []postbox.Code{postbox.CodeForbidden, postbox.CodeNotFound, postbox.CodeRateLimited, postbox.CodeUnavailable} {
		s.refused.WithLabelValues(string(code))
	}
	return s
}

// Metrics are what is told about signals.
func (s *signals) Metrics() []prometheus.Collector {
	return append(s.Signals.Metrics(), s.sent, s.refused)
}

// Signal sends one, within the user's rate.
func (s *signals) Signal(ctx context.Context, sig *postbox.Signal) error {
	err := error(postbox.Errorf(postbox.CodeRateLimited, "too many signals: send fewer each second"))
	if s.rates.Take(sig.Sender, time.Now()) == 0 {
		err = s.Send(ctx, sig)
	}
	if err != nil {
		s.refused.WithLabelValues(string(postbox.AsError(err).Code)).Inc()
		return err
	}
	s.sent.Inc()
	return nil
}

// looker finds where signals go.
type looker struct{ router *router }

// Look implements inbox.Looker.
func (l looker) Look(ctx context.Context, k postbox.RouteKey) (postbox.Route, error) {
	return l.router.look(ctx, k)
}
