package store

import "time"

// Rows of the queue may become visible after later ones: their numbers are given
// before the commit. How long after, nothing bounds.
const (
	floorStep = time.Second // what is usual, by far
	// The whole queue is looked at that often, for the others, and less often the
	// longer it takes: at most a part of the time in wholeShare.
	wholeOften, wholeSeldom = 5 * time.Second, time.Minute
	wholeShare              = 400
)

// queueFloor is from where on the indexer looks at its queue. Beside an old
// transaction PostgreSQL keeps every row that was taken out of the queue, and who
// looks from the beginning walks over all of them, each time.
//
// It is in memory only: a new indexer looks at the whole queue first.
type queueFloor struct {
	floor   int64     // rows up to here have been done for a step
	mark    int64     // those up to here were, at the last step
	stepped time.Time // when that was
	whole   time.Time // when the whole queue is to be looked at next
}

// from is after which row to look.
func (f *queueFloor) from(now time.Time) int64 {
	if !now.Before(f.whole) {
		return 0
	}
	return f.floor
}

// done says that a round of now, which took so long to look after a row, was
// committed, and that the rows up to id, as far as they were visible, are no longer
// in the queue; zero: none was.
func (f *queueFloor) done(from, id int64, took time.Duration, now time.Time) {
	if from == 0 {
		f.whole = now.Add(min(max(wholeShare*took, wholeOften), wholeSeldom))
	}
	if id > 0 && now.Sub(f.stepped) >= floorStep {
		f.floor, f.mark, f.stepped = f.mark, id, now
	}
}
