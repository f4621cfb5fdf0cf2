package store

import "bytes"

// inboxRows are the rows of inbox of a batch, as arguments of postbox.append.
type inboxRows struct {
	columns *columns
	matrix
	publishers int8Array // of those rows that have one
	offsets    int4Array // of their bytes in packets
	packets    []byte    // one for each entry of these rows
}

const inboxRowWidth = 5

// inboxRows puts entries into rows, in the order of inboxes and of the entries in each: so
// their index is filled. Messages that follow each other in an inbox and in their
// conversation share a row, unless two of them were published by different devices, or
// under one packet id.
func (c *columns) inboxRows() *inboxRows {
	starts := make([]int32, len(c.logs))
	for place := c.conversations; place+1 < len(c.logs); place++ {
		starts[place+1] = starts[place] + c.counts[place]
	}
	sorted := make([]int32, len(c.entryLog))
	for i, log := range c.entryLog {
		sorted[starts[log-1]+c.entryRank[i]-1] = int32(i)
	}
	r := &inboxRows{columns: c, matrix: matrix{width: inboxRowWidth, all: make([]int32, 0, inboxRowWidth*len(sorted))}}
	for k, i := range sorted {
		var publisher int64
		var packet byte
		log, message := c.entryLog[i], c.entryMessage[i]
		if log == c.ownLog[message-1] {
			publisher, packet = c.publishers[message-1], c.packets[message-1]
		}
		if k == 0 || log != c.entryLog[sorted[k-1]] || !r.extend(c.entryMessage[sorted[k-1]], message, publisher, packet) {
			r.begin(log, c.entryRank[i], message, publisher, packet)
		}
	}
	return r
}

// begin begins a row with an entry.
func (r *inboxRows) begin(log, rank, message int32, publisher int64, packet byte) {
	published := int32(0)
	if publisher != 0 {
		r.publishers = append(r.publishers, publisher)
		r.offsets = append(r.offsets, int32(len(r.packets)))
		r.packets = append(r.packets, packet)
		published = int32(len(r.publishers))
	}
	r.all = append(r.all, log, rank, message, 1, published)
}

// extend puts an entry into the last row, which ends with the message before, if it may
// be in it.
func (r *inboxRows) extend(before, message int32, publisher int64, packet byte) bool {
	c := r.columns
	if c.log[message-1] != c.log[before-1] || c.rank[message-1] != c.rank[before-1]+1 {
		return false
	}
	row := r.all[len(r.all)-inboxRowWidth:]
	entries, published := &row[3], row[4]
	switch {
	case published == 0 && publisher != 0:
		return false
	case publisher != 0:
		there := r.packets[r.offsets[published-1]:]
		if publisher != r.publishers[published-1] || bytes.IndexByte(there, packet) >= 0 {
			return false
		}
		r.packets = append(r.packets, packet)
	case published != 0:
		r.packets = append(r.packets, 0)
	}
	*entries++
	return true
}
