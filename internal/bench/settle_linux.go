package bench

import (
	"context"
	"fmt"
	"time"
)

// settle looks at the database after a run, and waits for what is done behind it.
func (o *Options) settle(ctx context.Context, report *Report) (err error) {
	began := time.Now()
	work, err := newEffort(o.ServerPID, o.DatabasePID)
	if err != nil {
		return err
	}
	if report.Database, err = o.Database.End(ctx, report.TotalAcknowledged); err != nil {
		return fmt.Errorf("look at the database: %w", err)
	}
	if err := o.Database.Settle(ctx); err != nil {
		return fmt.Errorf("wait for what is done behind the messages: %w", err)
	}
	server, database, err := work.per(float64(report.TotalAcknowledged) / 10_000)
	report.Settling = &Settling{Seconds: time.Since(began).Seconds()}
	if o.ServerPID != 0 {
		report.Settling.ServerPer10k = &server
	}
	if o.DatabasePID != 0 {
		report.Settling.DatabasePer10k = &database
	}
	return err
}
