package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"postbox/internal/importer"
)

// The source may be in the environment, with its password; what is wrong on the
// command line is told before anything is opened.
func TestImportUsage(t *testing.T) {
	t.Setenv("POSTBOX_IMPORT_FROM", "mysql://app:secret@127.0.0.1:1/app")
	for want, args := range map[string][]string{
		"--timezone Mars/Crater: there is no such time zone": {"--timezone", "Mars/Crater"},
		"--content-type: ": {"--content-type", "a\nb"},
		"must be one of":   {"--refs", "email"},
	} {
		var out, errs bytes.Buffer
		code := run(append([]string{"import"}, args...), strings.NewReader(""), &out, &errs)
		if code != exitUsage || !strings.Contains(errs.String(), want) || strings.Contains(errs.String(), "secret") {
			t.Errorf("import %v: exit %d, %s, want %s", args, code, errs.String(), want)
		}
	}
}

// What is found is told in lines that can be acted on.
func TestSayPlan(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	sayPlan(&out, &importer.Report{
		Source: "app.messages", Accounts: importer.AccountReport{Read: 9, New: 6, There: 1},
		Messages: importer.MessageReport{Read: 20, New: 5, There: 8, Changed: 2, Late: 3, Bad: 7},
		Names:    []importer.NameProblem{{Ref: "4", Name: `J"ürgen, jr`, Problem: "is not allowed", Suggest: "jurgen"}, {Ref: "\x1b[2J", Name: "a\x9b", Problem: "is empty", Suggest: "a"}},
		Rows:     []importer.RowProblem{{Problem: "there is no text", Count: 7, First: []string{"id 1", "id 2"}}},
		Devices:  []importer.DeviceReport{{User: "bob", Messages: 5000}}, WithoutPassword: []string{"carol", "dave"},
	})
	for _, want := range []string{
		"from app.messages: 9 users, of whom 6 are new and 1 have an account\n", "20 messages: 5 are new, 8 are there, 7 cannot be taken\n",
		"2 of those that are there say something else", "3 of the new are older", "for --map: \"J\"\"ürgen, jr\",jurgen\n", `user "\x1b[2J", "a\x9b": is empty` + "\n",
		"7 messages: there is no text (id 1, id 2, …)\n", "bob has devices, which would get 5000 messages\n", "2 accounts without a password", ": carol dave\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// Without a terminal nothing is told of progress.
func TestProgressNeedsATerminal(t *testing.T) {
	t.Parallel()
	progress(failing{t})(1, 2, "read")
}

type failing struct{ *testing.T }

func (f failing) Write([]byte) (int, error) {
	f.Error("something was written")
	return 0, errors.New("closed")
}
