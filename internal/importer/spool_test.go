package importer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What comes out of a spool is what went in, by time and else in its order, also
// when most of it was on disk; and so it is the second time.
func TestSpoolSorts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 1000} {
		dir := t.TempDir()
		s, err := newSpool(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.limit = 5000 // some 40 records
		random := rand.New(rand.NewPCG(uint64(n), 1))
		var want []record
		for i := range n {
			r := record{
				at: random.Int64N(50) - 5, sender: int32(random.IntN(1000)), receiver: int32(i), read: random.IntN(2) == 0,
				key: fmt.Sprint("k", i), body: make([]byte, random.IntN(50)),
			}
			want = append(want, r)
			if err := s.add(r); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortStableFunc(want, func(a, b record) int { return int(a.at - b.at) })
		for range 2 {
			var got []record
			if err := s.each(func(r record) error { got = append(got, r); return nil }); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(record{})); diff != "" {
				t.Errorf("%d: -want +got:\n%.1000s", n, diff)
			}
		}
		if n == 1000 && len(s.runs) < 10 {
			t.Errorf("%d runs were on disk", len(s.runs))
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v, %v: a file that a kill would leave behind", left, err)
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}

// A file that is cut short anywhere is an error, and not the end of the messages.
func TestSpoolCutShort(t *testing.T) {
	t.Parallel()
	for cut := int64(1); ; cut++ {
		s, err := newSpool(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		s.limit = 1
		for i := range 3 {
			if err := s.add(record{at: int64(i), key: "key", body: []byte("body")}); err != nil {
				t.Fatal(err)
			}
		}
		if cut > s.runs[2]-s.runs[1] {
			return
		}
		if err := s.file.Truncate(s.runs[2] - cut); err != nil {
			t.Fatal(err)
		}
		if err := s.each(func(record) error { return nil }); err == nil {
			t.Errorf("%d bytes are missing: no error", cut)
		}
	}
}
