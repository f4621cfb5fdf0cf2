package model

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"postbox/internal/proof"
)

func TestMain(m *testing.M) {
	code := proof.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Random steps, with kills: no promise is broken. POSTBOX_MODEL_SEED chooses a
// seed, POSTBOX_MODEL_TIME how long it runs.
func TestModel(t *testing.T) {
	o := Options{Seed: rand.Uint64() >> 32, For: time.Minute}
	if os.Getenv("POSTBOX_TEST_SOAK") == "1" {
		o.For = 20 * time.Minute
	}
	if s := os.Getenv("POSTBOX_MODEL_SEED"); s != "" {
		var err error
		if o.Seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("POSTBOX_MODEL_SEED: %v", err)
		}
	}
	if s := os.Getenv("POSTBOX_MODEL_TIME"); s != "" {
		var err error
		if o.For, err = time.ParseDuration(s); err != nil {
			t.Fatalf("POSTBOX_MODEL_TIME: %v", err)
		}
	}
	Run(t, o)
}
