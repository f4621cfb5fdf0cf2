package hooks_test

import (
	"testing"

	"postbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
