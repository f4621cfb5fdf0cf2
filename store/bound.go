package store

import (
	"context"
	"database/sql"
	"time"

	"postbox"
)

// lowerBound is the seq after which a page begins.
func (s *Store) lowerBound(ctx context.Context, p postbox.Place, b postbox.Bound) (postbox.Seq, error) {
	if !byTime(b) {
		return s.seqOf(ctx, p, b)
	}
	younger, _, err := s.firstSince(ctx, p, b.Time, false)
	return younger - 1, err
}

// upperBound is the seq before which a page ends.
func (s *Store) upperBound(ctx context.Context, p postbox.Place, b postbox.Bound) (postbox.Seq, error) {
	if !byTime(b) {
		return s.seqOf(ctx, p, b)
	}
	first, _, err := s.firstSince(ctx, p, b.Time, true)
	return first, err
}

// middle is the seq around which a page is.
func (s *Store) middle(ctx context.Context, p postbox.Place, b postbox.Bound) (postbox.Seq, error) {
	if !byTime(b) {
		return s.seqOf(ctx, p, b)
	}
	first, last, err := s.firstSince(ctx, p, b.Time, true)
	return min(first, last), err
}

func byTime(b postbox.Bound) bool { return !b.Time.IsZero() }

// seqOf is the seq that a bound gives, or that of the message that it names.
func (s *Store) seqOf(ctx context.Context, p postbox.Place, b postbox.Bound) (postbox.Seq, error) {
	if b.ID == (postbox.MessageID{}) {
		return min(max(b.Seq, 0), lastSeq), nil
	}
	var seq postbox.Seq
	const look = `SELECT m.seq FROM postbox.messages m WHERE m.id = $1 AND m.conversation_id = $2`
	err := s.archive.query(ctx, look, func(rows *sql.Rows) error { return rows.Scan(&seq) }, b.ID.String(), p.Conversation)
	if err != nil {
		return 0, away("find a message", err)
	}
	if seq == 0 || !p.Shows(seq) {
		return 0, errNoMessage(b.ID)
	}
	return seq, nil
}

// searchTime halves a conversation again and again: in it the time never goes
// back. All messages up to low are older, all from high on are not. Where
// retention has left a hole, the next message after it speaks for it.
const searchTime = `
	WITH RECURSIVE halves (low, high, last) AS (
		SELECT 0::bigint, h.seq + 1, h.seq
		  FROM (SELECT seq FROM postbox.messages WHERE conversation_id = $1 ORDER BY seq DESC LIMIT 1) h
		UNION ALL
		SELECT CASE WHEN m.older THEN m.seq ELSE h.low END,
		       CASE WHEN m.older THEN h.high ELSE (h.low + h.high) / 2 END, h.last
		  FROM halves h
		  LEFT JOIN LATERAL (
		       SELECT seq, sent_at < $2::timestamptz OR NOT $3 AND sent_at = $2 AS older FROM postbox.messages
		        WHERE conversation_id = $1 AND seq >= (h.low + h.high) / 2 AND seq < h.high
		        ORDER BY seq LIMIT 1) m ON true
		 WHERE h.high - h.low > 1)
	SELECT high, last FROM halves WHERE high - low <= 1`

// firstSince finds the seq that divides the messages from before a time from the
// others, and the last seq of all. It is the first that is not older, or with
// atToo false the first that is younger; one more than the last if there is none.
func (s *Store) firstSince(ctx context.Context, p postbox.Place, t time.Time, atToo bool) (first, last postbox.Seq, err error) {
	first = 1
	err = s.archive.query(ctx, searchTime, func(rows *sql.Rows) error { return rows.Scan(&first, &last) }, p.Conversation, t.UTC(), atToo)
	return first, last, away("find a time in a conversation", err)
}
