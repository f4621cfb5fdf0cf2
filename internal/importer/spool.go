package importer

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// spoolBytes is about how much of the messages is in memory at once.
const spoolBytes = 6 << 20

// record is a message on its way: people are places in the list of them.
type record struct {
	at               int64 // milliseconds since 1970
	sender, receiver int32
	read             bool
	key              string
	body             []byte
}

// size is about what a record takes in memory.
func (r *record) size() int { return 96 + len(r.key) + len(r.body) }

// spool holds records and gives them sorted by time; those of one time in the order
// in which they came. What does not fit into memory is in a file that has no name:
// it is gone with the process, however that ends.
type spool struct {
	file   *os.File
	runs   []int64 // where each sorted run in the file ends
	fresh  []record
	bytes  int
	limit  int // of bytes
	total  int
	sorted bool
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "postbox-import-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	return &spool{file: f, limit: spoolBytes}, nil
}

func (s *spool) close() error { return s.file.Close() }

// add takes a record; its body is the spool's from now on.
func (s *spool) add(r record) error {
	s.fresh = append(s.fresh, r)
	s.bytes += r.size()
	s.total++
	if s.bytes < s.limit {
		return nil
	}
	return s.spill()
}

// spill writes what is in memory as a sorted run.
func (s *spool) spill() error {
	s.sort()
	from := int64(0)
	if n := len(s.runs); n > 0 {
		from = s.runs[n-1]
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(s.file, from), 1<<18)
	var line []byte
	for i := range s.fresh {
		line = s.fresh[i].append(line[:0])
		from += int64(len(line))
		if _, err := out.Write(line); err != nil {
			return spoolError(err)
		}
	}
	if err := out.Flush(); err != nil {
		return spoolError(err)
	}
	s.runs = append(s.runs, from)
	clear(s.fresh)
	s.fresh, s.bytes = s.fresh[:0], 0
	return nil
}

func spoolError(err error) error {
	return fmt.Errorf("keep messages in a temporary file: %w: TMPDIR says where it is", err)
}

func (s *spool) sort() {
	slices.SortStableFunc(s.fresh, func(a, b record) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
}

// append appends the record as it is in the file.
func (r *record) append(b []byte) []byte {
	b = binary.AppendVarint(b, r.at)
	b = binary.AppendUvarint(b, uint64(r.sender))
	b = binary.AppendUvarint(b, uint64(r.receiver))
	flags := byte(0)
	if r.read {
		flags = 1
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(len(r.key)))
	b = append(b, r.key...)
	b = binary.AppendUvarint(b, uint64(len(r.body)))
	return append(b, r.body...)
}

// decode reads a record; io.EOF at the end.
func (r *record) decode(in *bufio.Reader) (err error) {
	if r.at, err = binary.ReadVarint(in); err != nil {
		return err
	}
	number := func() uint64 {
		n, e := binary.ReadUvarint(in)
		err = errors.Join(err, e)
		return n
	}
	bytes := func() []byte {
		n := number()
		if err != nil {
			return nil
		}
		b := make([]byte, n)
		_, e := io.ReadFull(in, b)
		err = errors.Join(err, e)
		return b
	}
	r.sender, r.receiver = int32(number()), int32(number())
	flags, e := in.ReadByte()
	err = errors.Join(err, e)
	r.read = flags == 1
	r.key, r.body = string(bytes()), bytes()
	if err != nil {
		return fmt.Errorf("read the temporary file again: %v", err) // an early end is none
	}
	return nil
}

// run is a sorted part of a spool, at its next record.
type run struct {
	order int // of the runs, which is that of coming
	next  record
	read  func(*record) error // io.EOF at the end
}

// each calls f for every record in order. It may be called again.
func (s *spool) each(f func(record) error) error {
	if !s.sorted {
		s.sort()
		s.sorted = true
	}
	var merge runs
	start := int64(0)
	buffer := min(max(spoolBytes/(len(s.runs)+1), 1<<12), 1<<16)
	for i, end := range s.runs {
		in := bufio.NewReaderSize(io.NewSectionReader(s.file, start, end-start), buffer)
		merge = append(merge, &run{order: i, read: func(r *record) error { return r.decode(in) }})
		start = end
	}
	at := 0
	merge = append(merge, &run{order: len(s.runs), read: func(r *record) error {
		if at == len(s.fresh) {
			return io.EOF
		}
		*r = s.fresh[at]
		at++
		return nil
	}})
	live := merge[:0]
	for _, r := range merge {
		switch err := r.read(&r.next); {
		case err == nil:
			live = append(live, r)
		case !errors.Is(err, io.EOF):
			return err
		}
	}
	merge = live
	heap.Init(&merge)
	n := 0
	for ; len(merge) > 0; n++ {
		first := merge[0]
		if err := f(first.next); err != nil {
			return err
		}
		switch err := first.read(&first.next); {
		case err == nil:
			heap.Fix(&merge, 0)
		case errors.Is(err, io.EOF):
			heap.Pop(&merge)
		default:
			return err
		}
	}
	if n != s.total {
		return fmt.Errorf("read the temporary file again: %d of %d messages are there", n, s.total)
	}
	return nil
}

// runs is a heap of runs by their next records.
type runs []*run

func (r runs) Len() int { return len(r) }

func (r runs) Less(i, j int) bool {
	if a, b := r[i].next.at, r[j].next.at; a != b {
		return a < b
	}
	return r[i].order < r[j].order
}

func (r runs) Swap(i, j int) { r[i], r[j] = r[j], r[i] }

// Push implements heap.Interface.
func (r *runs) Push(x any) { *r = append(*r, x.(*run)) }

// Pop implements heap.Interface.
func (r *runs) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}
