package configs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text is a whole number with B, KiB, MiB or
// GiB ("64KiB"); a number alone counts bytes.
type Size int64

// Units of Size.
const (
	B   Size = 1
	KiB      = 1024 * B
	MiB      = 1024 * KiB
	GiB      = 1024 * MiB
)

var sizeUnits = []struct {
	name string
	size Size
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", B}}

// String writes the size in the largest unit that holds it exactly.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// ParseSize reads a size such as "64KiB", "1 MiB" or "512". Decimal units
// ("64kB") are refused, since people mean either 1,000 or 1,024 by them.
func ParseSize(text string) (Size, error) {
	number, unit := text, B
	for _, u := range sizeUnits {
		if before, found := strings.CutSuffix(text, u.name); found {
			number, unit = strings.TrimRight(before, " "), u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || n > math.MaxInt64/uint64(unit) {
		return 0, fmt.Errorf("%q is not a size: write a whole number with B, KiB, MiB or GiB, such as 64KiB", text)
	}
	return Size(n) * unit, nil
}
