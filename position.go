package postbox

import (
	"strconv"
	"strings"
)

// Position is a place in an inbox that a client remembers: an inbox_seq and
// the epoch it belongs to. An empty epoch means any.
type Position struct {
	Epoch Epoch
	Seq   InboxSeq
}

// ParsePosition parses {epoch}:{inbox_seq}, or a bare inbox_seq, which means
// any epoch. The error is ErrInvalid.
func ParsePosition(s string) (Position, error) {
	epoch, number, ok := strings.Cut(s, ":")
	if !ok {
		epoch, number = "", s
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || number[0] == '+' || n < 0 || ok && !isEpoch(epoch) {
		return Position{}, Errorf(CodeInvalid, "%s is not a position: write {epoch}:{inbox_seq}, for example k3f9:42", quote(s))
	}
	return Position{Epoch: Epoch(epoch), Seq: InboxSeq(n)}, nil
}

// isEpoch reports whether a server can have named an epoch so.
func isEpoch(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// String is the form that ParsePosition reads.
func (p Position) String() string {
	n := strconv.FormatInt(int64(p.Seq), 10)
	if p.Epoch == "" {
		return n
	}
	return string(p.Epoch) + ":" + n
}
