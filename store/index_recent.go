package store

import (
	"cmp"
	"database/sql"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"postbox"
)

// Bounds of what is remembered for the indexer. What there is no room for is read
// from the database when its turn comes.
const (
	recentBytes = 128 << 20 // at most, and a recentShare of what Go may have (GOMEMLIMIT)
	recentShare = 8
	recentBody  = 4 << 10 // of one message; there are fewer of larger ones, and the memory is dearer
	// What a run, and a message in it, take besides the text, about.
	recentRunOverhead, recentOverhead = 256, 48
)

// recent is what was stored a moment ago, so that the indexer of the same process
// need not read it back. Its methods may be called from any goroutine.
type recent struct {
	limit int         // bytes
	asked atomic.Bool // there is an indexer, which is the one that works

	mu    sync.Mutex                             // guards the fields below
	runs  map[postbox.ConversationID][]recentRun // in their order
	bytes int
}

// recentLimit is how much a process remembers that may have so much memory, in bytes.
func recentLimit(memory int64) int { return int(min(recentBytes, memory/recentShare)) }

// recentRun is messages of a conversation that follow each other, and were stored at once.
type recentRun struct {
	first     postbox.Seq
	low, high int64 // users of a direct conversation, zero for a room
	messages  []recentMessage
	texts     []byte // also of other runs that were stored with it
}

// recentMessage has no pointers, since there may be some hundred thousand.
type recentMessage struct {
	sender         int64
	sent, expires  int64 // microseconds; expires is zero for never
	from, body, to int32 // its content type is from:body of the texts, its body body:to
}

// size is how much memory it takes, in bytes, about.
func (r recentRun) size() int {
	last := len(r.messages) - 1
	return recentRunOverhead + len(r.messages)*recentOverhead + int(r.messages[last].to-r.messages[0].from)
}

// next is the number after its last.
func (r recentRun) next() postbox.Seq { return r.first + postbox.Seq(len(r.messages)) }

// row is what the indexer would read of message i.
func (r recentRun) row(c postbox.ConversationID, i int) indexRow {
	m := r.messages[i]
	row := indexRow{
		key: indexKey{c, r.first + postbox.Seq(i)}, sender: m.sender, sent: time.UnixMicro(m.sent).UTC(), known: true,
		contentType: string(r.texts[m.from:m.body]), low: r.low, high: r.high, body: r.texts[m.body:m.to],
	}
	row.expires = sql.NullTime{Time: timeOf(m.expires), Valid: m.expires != 0}
	return row
}

// runsOf are the runs of what was stored at once, of which all that is not too long is
// in one piece of memory.
func runsOf(all []*postbox.Publish) map[postbox.ConversationID][]recentRun {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b *postbox.Publish) int {
		return cmp.Or(cmp.Compare(a.Message.Conversation, b.Message.Conversation), cmp.Compare(a.Message.Seq, b.Message.Seq))
	})
	size := 0
	for _, p := range all {
		size += len(p.Message.ContentType) + min(len(p.Message.Body), recentBody)
	}
	texts, messages := make([]byte, 0, size), make([]recentMessage, 0, len(all))
	runs := make(map[postbox.ConversationID][]recentRun)
	for i := 0; i < len(all); {
		begin, c := len(messages), all[i].Message.Conversation
		run := recentRun{first: all[i].Message.Seq}
		run.low, run.high = sidesOf(all[i])
		for ; i < len(all) && all[i].Message.Conversation == c && all[i].Message.Seq == run.first+postbox.Seq(len(messages)-begin) &&
			len(all[i].Message.Body) <= recentBody; i++ {
			m := all[i].Message
			one := recentMessage{sender: int64(m.Sender), sent: m.SentAt.UnixMicro(), from: int32(len(texts))}
			if !m.ExpiresAt.IsZero() {
				one.expires = m.ExpiresAt.UnixMicro()
			}
			texts = append(texts, m.ContentType...)
			one.body = int32(len(texts))
			texts = append(texts, m.Body...)
			one.to = int32(len(texts))
			messages = append(messages, one)
		}
		if len(messages) == begin { // it is too long
			i++
			continue
		}
		run.messages = messages[begin:]
		runs[c] = append(runs[c], run)
	}
	for _, of := range runs {
		for i := range of {
			of[i].texts = texts
		}
	}
	return runs
}

// sidesOf are the users of a direct conversation, the one with the lower id first; zero
// for a room.
func sidesOf(p *postbox.Publish) (low, high int64) {
	m := p.Message
	if m.Room != "" {
		return 0, 0
	}
	other := m.Sender // a note to oneself has no other recipient
	if len(p.Recipients) > 0 {
		other = p.Recipients[0]
	}
	return int64(min(m.Sender, other)), int64(max(m.Sender, other))
}

// put remembers what was stored at once. While there is no room it remembers nothing:
// the oldest is what is asked for first.
func (r *recent) put(all []*postbox.Publish) {
	if !r.asked.Load() {
		return
	}
	runs, size := runsOf(all), 0
	for _, of := range runs {
		for _, run := range of {
			size += run.size()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes+size > r.limit {
		return
	}
	if r.runs == nil {
		r.runs = make(map[postbox.ConversationID][]recentRun)
	}
	r.bytes += size
	for c, of := range runs {
		kept := r.runs[c]
		at, _ := slices.BinarySearchFunc(kept, of[0].first, func(k recentRun, first postbox.Seq) int { return cmp.Compare(k.first, first) })
		r.runs[c] = slices.Insert(kept, at, of...) // which nothing that was stored meanwhile comes between
	}
}

// take appends all messages of a stretch to rows; false, and nothing appended, if one is
// not there. It forgets them in any case, and what was stored along with them if it is
// not they that come first.
func (r *recent) take(s indexStretch, rows []indexRow) (all []indexRow, there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept, all := r.runs[s.conversation], rows
	next, end := s.after+1, s.after+1+postbox.Seq(s.count)
	begin, _ := slices.BinarySearchFunc(kept, next, func(k recentRun, seq postbox.Seq) int { return cmp.Compare(k.next()-1, seq) })
	at := begin
	for ; at < len(kept) && kept[at].first < end; at++ {
		run := &kept[at]
		r.bytes -= run.size()
		if run.first != next {
			continue
		}
		n := min(len(run.messages), int(end-next))
		for i := range n {
			all = append(all, run.row(s.conversation, i))
		}
		next += postbox.Seq(n)
		if n < len(run.messages) { // the round takes no more
			run.first, run.messages = next, run.messages[n:]
			r.bytes += run.size()
			break
		}
	}
	if kept = slices.Delete(kept, begin, at); len(kept) > 0 {
		r.runs[s.conversation] = kept
	} else {
		delete(r.runs, s.conversation)
	}
	if next < end {
		return rows, false
	}
	return all, true
}

// clear forgets all, since nobody will ask for it, and remembers from now on what is
// stored, or nothing.
func (r *recent) clear(asked bool) {
	r.asked.Store(asked)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs, r.bytes = nil, 0
}

// full is which part of the room is taken.
func (r *recent) full() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return float64(r.bytes) / float64(r.limit)
}
