package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// silence is how long a database whose statements take as long as they like may
// take to answer.
const silence = 45 * time.Second

// lastWords is how long the database may take to answer once nobody waits for
// it any more.
const lastWords = time.Second

// patienceOf is how long to wait for an answer: longer than the timeout that
// the database enforces itself, so that whoever waits longer waits for a peer
// that is gone without a word.
func patienceOf(dsn string) time.Duration {
	if c, err := pq.NewConfig(dsn); err == nil {
		if ms, err := strconv.Atoi(c.Runtime["statement_timeout"]); err == nil && ms > 0 {
			return time.Duration(ms) * time.Millisecond * 3 / 2
		}
	}
	return silence
}

// probes find a dead machine sooner, when its network says nothing at all.
var probes = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 4}

// open makes a pool whose connections wait no longer than patience; zero: for
// ever. Every one of them leads to a database of the expected lineage.
func open(dsn string, l *lineage, patience time.Duration) (*sqlx.DB, error) {
	config, err := pq.NewConfig(dsn)
	if err != nil {
		return nil, err
	}
	return sqlx.NewDb(sql.OpenDB(checked{connector{config, patience}, l}), "postgres"), nil
}

// connector gives each connection a dialer of its own.
type connector struct {
	config   pq.Config
	patience time.Duration
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := pq.NewConnectorConfig(c.config.Clone())
	if err != nil {
		return nil, err
	}
	d := newDialer(c.patience)
	inner.Dialer(d)
	// The start of a connection listens to connect_timeout only.
	stop := context.AfterFunc(ctx, d.abandon)
	conn, err := inner.Connect(ctx)
	d.connected()
	if stop() {
		statements, queries := conn.(pqStatements)
		session, lasts := conn.(pqSession)
		if queries && lasts && err == nil {
			return &reader{pqStatements: statements, pqSession: session, dialer: d}, nil
		}
		return conn, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	_ = conn.Close()
	return nil, ctx.Err()
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return &pq.Driver{} }

// dialer makes connections that wait no longer than patience.
//
// lib/pq dials once more for a connection that is already there when the
// context of its statement has ended, to have the statement cancelled, and then
// waits for the statement's answer all the same. From a database that is gone
// without a word none comes: that second call is where the waiting is bounded.
type dialer struct {
	net.Dialer
	patience time.Duration

	mu        sync.Mutex // guards the fields below
	conn      *impatient // dialled last
	there     bool       // it is a connection to the database
	abandoned bool       // nobody waits for the connection any more
}

func newDialer(patience time.Duration) *dialer {
	return &dialer{Dialer: net.Dialer{KeepAliveConfig: probes}, patience: patience}
}

// connected notes that the connection is made: what is dialled from now on is
// to cancel a statement.
func (d *dialer) connected() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.there = true
}

// hurry lets the connection that was made live only a moment longer.
func (d *dialer) hurry() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn.hurry()
}

// abandon ends the connection that is being made.
func (d *dialer) abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.abandoned = true
	if d.conn != nil {
		_ = d.conn.Close()
	}
}

// Dial implements pq.Dialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialTimeout implements pq.Dialer.
func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext implements pq.DialerContext.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.mu.Lock()
	cancels := d.there
	if cancels {
		d.conn.hurry()
	}
	d.mu.Unlock()
	if cancels {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lastWords)
		defer cancel()
	}
	c, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	bounded := &impatient{Conn: c, patience: d.patience}
	if cancels {
		bounded.hurry()
		return bounded, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.abandoned {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	d.conn = bounded
	return bounded, nil
}

// impatient is a connection whose every read and write has a deadline.
type impatient struct {
	net.Conn
	patience time.Duration // zero: as long as it takes

	mu    sync.Mutex // guards the fields below
	until time.Time  // given from outside; zero: none
	last  bool       // until is final
}

// hurry lets the connection live only a moment longer.
func (c *impatient) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.until = true, time.Now().Add(lastWords)
	_ = c.Conn.SetDeadline(c.until)
}

// bound sets the deadline of what comes next.
func (c *impatient) bound(set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.until
	if c.patience > 0 {
		if next := time.Now().Add(c.patience); limit.IsZero() || next.Before(limit) {
			limit = next
		}
	}
	return set(limit)
}

// Read implements net.Conn.
func (c *impatient) Read(p []byte) (int, error) {
	if err := c.bound(c.SetReadDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn.
func (c *impatient) Write(p []byte) (int, error) {
	if err := c.bound(c.SetWriteDeadline); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// SetDeadline implements net.Conn: lib/pq bounds the start of a connection by
// it.
func (c *impatient) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.last {
		c.until = t
	}
	return c.Conn.SetDeadline(c.until)
}
