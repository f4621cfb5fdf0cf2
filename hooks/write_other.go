//go:build !unix

package hooks

import "errors"

const writesOnce = false

func writeOnce(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
