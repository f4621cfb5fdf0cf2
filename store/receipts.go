package store

import (
	"context"
	"database/sql"

	"github.com/lib/pq"

	"postbox"
)

// Tellable picks those receipts that their receivers may know of: of users whose
// receipts are on, and whom the receiver may see (docs/spec.md §7, presence). It
// gives them names.
func (s *Store) Tellable(ctx context.Context, all []postbox.Receipt) ([]postbox.Receipt, error) {
	from, to := make([]int64, len(all)), make([]int64, len(all))
	for i, r := range all {
		from[i], to[i] = int64(r.FromID), int64(r.ToID)
	}
	look := `
		SELECT p.ord - 1, f.name, t.name
		  FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p (from_id, to_id, ord)
		  JOIN postbox.users f ON f.id = p.from_id AND f.receipts
		  JOIN postbox.users t ON t.id = p.to_id
		  LEFT JOIN postbox.conversations c ON c.user_low = least(p.from_id, p.to_id) AND c.user_high = greatest(p.from_id, p.to_id)
		 WHERE ` + seesUser("p.to_id", "p.from_id", "c")
	var tellable []postbox.Receipt
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error {
		var i int
		var from, to postbox.User
		if err := rows.Scan(&i, &from, &to); err != nil {
			return err
		}
		r := all[i]
		r.From, r.To = from, to
		tellable = append(tellable, r)
		return nil
	}, pq.Array(from), pq.Array(to))
	return tellable, away("look up who may hear of receipts", err)
}
