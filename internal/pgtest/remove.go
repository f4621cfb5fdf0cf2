package pgtest

// RemoveEntries removes what is up to a number in a user's inbox, as retention does. $1 is
// the user's name, $2 the number. Of the row that it cuts in two nothing is deleted, so it
// notes itself that the numbers are not given again.
const RemoveEntries = `
	WITH owner AS (SELECT id FROM postbox.users WHERE name = $1),
	removed AS (
		DELETE FROM postbox.inbox i USING owner o WHERE i.user_id = o.id AND i.inbox_seq + i.entries - 1 <= $2),
	noted AS (
		UPDATE postbox.logs l SET floor = $2 FROM owner o WHERE l.id = o.id AND l.floor < $2)
	UPDATE postbox.inbox i
	   SET inbox_seq = $2 + 1, seq = i.seq + $2 + 1 - i.inbox_seq, entries = i.entries - ($2 + 1 - i.inbox_seq)
	  FROM owner o
	 WHERE i.user_id = o.id AND i.inbox_seq <= $2 AND i.inbox_seq + i.entries - 1 > $2`
