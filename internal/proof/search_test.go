package proof

import "time"

// indexed waits until the indexer has come to the end, and checks that every
// message is in the search index, whatever was killed in the middle of indexing.
func (k *kills) indexed() {
	k.Helper()
	const look = `
		SELECT (SELECT count(*) FROM postbox.search_queue),
		       (SELECT count(*) FROM postbox.messages),
		       (SELECT count(*) FROM postbox.search),
		       (SELECT count(*) FROM postbox.messages m JOIN postbox.search s USING (conversation_id, seq) WHERE s.sender_id = m.sender_id AND s.sent_at = m.sent_at)`
	var waiting, messages, rows, right int
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if err := k.db.QueryRow(look).Scan(&waiting, &messages, &rows, &right); err != nil {
			k.Fatal(err)
		}
		if waiting == 0 || time.Now().After(end) {
			break
		}
	}
	k.Logf("%d messages, %d of them in the search index", messages, right)
	if waiting != 0 || rows != messages || right != messages {
		k.Errorf("%d messages: %d rows in the search index, %d of them right, and %d batches that wait", messages, rows, right, waiting)
	}
}
