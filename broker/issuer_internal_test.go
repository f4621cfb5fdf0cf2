package broker

import (
	"crypto/x509"
	"testing"
	"time"
)

// A renewal that does not come is said well after it is due, and well before the
// certificate ends.
func TestOverdue(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	began := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		life, left time.Duration
		want       bool
	}{
		{90 * day, 30 * day, false}, {90 * day, 23 * day, false}, {90 * day, 21 * day, true}, {90 * day, -day, true},
		{6 * day, 2 * day, false}, {6 * day, day, true},
		{398 * day, 30 * day, false}, {398 * day, 21 * day, true},
	} {
		c := &x509.Certificate{NotBefore: began, NotAfter: began.Add(test.life)}
		if got := overdue(c, c.NotAfter.Add(-test.left)); got != test.want {
			t.Errorf("%v of %v left: %v, want %v", test.left, test.life, got, test.want)
		}
	}
}
