package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postbox/configs"
)

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	good := filepath.Join(t.TempDir(), "good.yaml")
	if err := os.WriteFile(good, []byte(configs.Reference()), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&configCheckCmd{}).Run(&globals{ConfigFile: good, Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if want := good + ": ok\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}

	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("listem: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := (&configCheckCmd{}).Run(&globals{ConfigFile: bad, Stdout: &out})
	if want := bad + `:1: unknown key "listem" (did you mean "listen"?)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestConfigPrint(t *testing.T) {
	t.Setenv("POSTBOX_DATABASE_URL", "postgres://u:topsecret@h/d")
	var out bytes.Buffer
	if err := (&configPrintCmd{}).Run(&globals{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "url: postgres://u:xxxxx@h/d\n") || strings.Contains(out.String(), "topsecret") {
		t.Errorf("got\n%s", out.String())
	}
	out.Reset()
	if err := (&configPrintCmd{Reference: true}).Run(&globals{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if out.String() != configs.Reference() {
		t.Error("--reference does not print postbox.yaml")
	}
}
