package store

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"

	"postbox"
)

// These are arguments of array types in PostgreSQL's binary form, which both sides make and
// read with less than the text; some are read from what array_send returns. A nil one is
// NULL. The types of their elements are those of the parameter: PostgreSQL refuses others.
type (
	int4Array []int32
	int8Array []int64
	uuidArray []postbox.MessageID
	textArray []string
	// matrix is an integer[] of two dimensions: row behind row.
	matrix struct {
		width int
		all   []int32
	}
)

// Types of elements: rows of pg_type.
const (
	int8Type = 20
	int4Type = 23
	textType = 25
	uuidType = 2950
)

// arrayOf is the head of an array with room for its elements, which take so many bytes
// without their lengths.
func arrayOf(elementType uint32, bytes int, dimensions ...int) []byte {
	n := 1
	for _, d := range dimensions {
		n *= d
	}
	if n == 0 {
		dimensions = nil
	}
	b := make([]byte, 0, 12+8*len(dimensions)+4*n+bytes)
	b = binary.BigEndian.AppendUint32(b, uint32(len(dimensions)))
	b = binary.BigEndian.AppendUint32(b, 0) // no element is NULL
	b = binary.BigEndian.AppendUint32(b, elementType)
	for _, d := range dimensions {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
		b = binary.BigEndian.AppendUint32(b, 1) // indexes begin with 1
	}
	return b
}

func appendInt4s(b []byte, all []int32) []byte {
	for _, n := range all {
		b = binary.BigEndian.AppendUint32(b, 4)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return b
}

func (a int4Array) Value() (driver.Value, error) {
	if a == nil {
		return nil, nil
	}
	return appendInt4s(arrayOf(int4Type, 4*len(a), len(a)), a), nil
}

func (m matrix) Value() (driver.Value, error) {
	return appendInt4s(arrayOf(int4Type, 4*len(m.all), len(m.all)/m.width, m.width), m.all), nil
}

func (a int8Array) Value() (driver.Value, error) {
	if a == nil {
		return nil, nil
	}
	b := arrayOf(int8Type, 8*len(a), len(a))
	for _, n := range a {
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b, nil
}

func (a uuidArray) Value() (driver.Value, error) {
	if a == nil {
		return nil, nil
	}
	b := arrayOf(uuidType, 16*len(a), len(a))
	for i := range a {
		b = binary.BigEndian.AppendUint32(b, 16)
		b = append(b, a[i][:]...)
	}
	return b, nil
}

func (a textArray) Value() (driver.Value, error) {
	if a == nil {
		return nil, nil
	}
	bytes := 0
	for _, s := range a {
		bytes += len(s)
	}
	b := arrayOf(textType, bytes, len(a))
	for _, s := range a {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b, nil
}

// elementsOf are the elements, of so many bytes each, of an array of one dimension,
// each behind its length.
func elementsOf(src any, size int) ([]byte, error) {
	b, ok := src.([]byte)
	switch {
	case !ok || len(b) < 12:
		return nil, fmt.Errorf("%T is not an array in binary form", src)
	case binary.BigEndian.Uint32(b) == 0:
		return nil, nil
	case len(b) < 20 || binary.BigEndian.Uint32(b) != 1 || binary.BigEndian.Uint32(b[4:]) != 0 || (len(b)-20)%(4+size) != 0:
		return nil, fmt.Errorf("an array of %d bytes is not of one dimension, without NULL, and of elements of %d bytes", len(b), size)
	}
	return b[20:], nil
}

// Scan reads what array_send returns.
func (a *int8Array) Scan(src any) error {
	elements, err := elementsOf(src, 8)
	*a = make(int8Array, 0, len(elements)/12)
	for ; len(elements) > 0; elements = elements[12:] {
		*a = append(*a, int64(binary.BigEndian.Uint64(elements[4:])))
	}
	return err
}

// Scan reads what array_send returns.
func (a *int4Array) Scan(src any) error {
	elements, err := elementsOf(src, 4)
	*a = make(int4Array, 0, len(elements)/8)
	for ; len(elements) > 0; elements = elements[8:] {
		*a = append(*a, int32(binary.BigEndian.Uint32(elements[4:])))
	}
	return err
}
