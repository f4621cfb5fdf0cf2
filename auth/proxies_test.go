package auth

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// What proxies say counts from the end of the list up to the first that is not
// trusted; what others say does not count at all.
func TestClient(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, test := range map[string]struct {
		header string // the setting; X-Forwarded-For if empty
		peer   string
		lines  []string
		other  string // a line of the other header
		want   string
	}{
		"no header":               {"", "10.0.0.1:99", nil, "", "10.0.0.1"},
		"one proxy":               {"", "10.0.0.1:99", []string{"203.0.113.1"}, "", "203.0.113.1"},
		"two proxies":             {"", "10.0.0.1:99", []string{"203.0.113.1, 10.0.0.2"}, "", "203.0.113.1"},
		"two lines":               {"", "10.0.0.1:99", []string{"203.0.113.1", "10.0.0.2"}, "", "203.0.113.1"},
		"a forged beginning":      {"", "10.0.0.1:99", []string{"198.51.100.9, 10.9.9.9, 203.0.113.1, 10.0.0.2"}, "", "203.0.113.1"},
		"an open quote":           {"", "10.0.0.1:99", []string{`"198.51.100.9, 203.0.113.1`}, "", "203.0.113.1"},
		"only proxies":            {"", "10.0.0.1:99", []string{"10.0.0.3, 10.0.0.2"}, "", "10.0.0.3"},
		"with a port":             {"", "10.0.0.1:99", []string{"203.0.113.1:4711"}, "", "203.0.113.1"},
		"six":                     {"", "[fd00::1]:99", []string{"2001:db8::1"}, "", "2001:db8::1"},
		"six with a port":         {"", "[fd00::1]:99", []string{"[2001:db8::1]:4711"}, "", "2001:db8::1"},
		"four in six":             {"", "[::ffff:10.0.0.1]:99", []string{"::ffff:203.0.113.1"}, "", "203.0.113.1"},
		"nonsense":                {"", "10.0.0.1:99", []string{"203.0.113.1, nonsense"}, "", "10.0.0.1"},
		"nonsense behind a proxy": {"", "10.0.0.1:99", []string{"nonsense, 10.0.0.2"}, "", "10.0.0.2"},
		"a stranger":              {"", "203.0.113.5:99", []string{"203.0.113.1"}, "", "203.0.113.5"},
		"the other header":        {"", "10.0.0.1:99", []string{"203.0.113.1"}, "for=198.51.100.9", "203.0.113.1"},
		"only the other header":   {"", "10.0.0.1:99", nil, "for=198.51.100.9", "10.0.0.1"},

		"forwarded":                {"Forwarded", "10.0.0.1:99", []string{"for=203.0.113.1"}, "198.51.100.9", "203.0.113.1"},
		"forwarded, six":           {"Forwarded", "10.0.0.1:99", []string{`For="[2001:db8::1]:4711";proto=https`}, "", "2001:db8::1"},
		"forwarded twice":          {"Forwarded", "10.0.0.1:99", []string{`by=x; for=203.0.113.1, for=10.0.0.2;by="y"`}, "", "203.0.113.1"},
		"forwarded, forged":        {"Forwarded", "10.0.0.1:99", []string{`for="198.51.100.9, for=203.0.113.1`}, "", "203.0.113.1"},
		"forwarded, hidden":        {"Forwarded", "10.0.0.1:99", []string{"for=_hidden"}, "", "10.0.0.1"},
		"forwarded without a for":  {"Forwarded", "10.0.0.1:99", []string{"by=10.0.0.1"}, "", "10.0.0.1"},
		"none, though it is there": {"-", "10.0.0.1:99", []string{"203.0.113.1"}, "", "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, r := Proxies{Trusted: trusted, Header: test.header}, &http.Request{RemoteAddr: test.peer, Header: http.Header{}}
			own, other := "X-Forwarded-For", "Forwarded"
			switch test.header {
			case "":
				p.Header = own
			case "-":
				p.Header = ""
			case other:
				own, other = other, own
			}
			for _, line := range test.lines {
				r.Header.Add(own, line)
			}
			if test.other != "" {
				r.Header.Add(other, test.other)
			}
			if got, _ := p.Client(r); got.String() != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Whatever the header says: the address is that of the peer, or one that stands
// in the header with only trusted ones behind it.
func FuzzClient(f *testing.F) {
	for _, line := range []string{"203.0.113.1, 10.0.0.2", `for="[2001:db8::1]:4711";by=x, for=10.0.0.2`, `"`, ",,;=", "for==\"", "::ffff:10.0.0.1%eth0"} {
		f.Add(line, true)
		f.Add(line, false)
	}
	trusted := netip.MustParsePrefix("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, line string, forwarded bool) {
		p := Proxies{Trusted: []netip.Prefix{trusted}, Header: "X-Forwarded-For"}
		parse := strings.TrimSpace
		if forwarded {
			p.Header, parse = "Forwarded", forwardedFor
		}
		got, _ := p.Client(&http.Request{RemoteAddr: "10.0.0.1:99", Header: http.Header{p.Header: {line}}})
		if got == netip.MustParseAddr("10.0.0.1") {
			return
		}
		hops := strings.Split(line, ",")
		for i := len(hops) - 1; i >= 0; i-- {
			at, ok := hostIP(parse(hops[i]))
			if ok && at == got {
				return
			}
			if !ok || !trusted.Contains(at) {
				t.Fatalf("%q: got %s from beyond %q", line, got, hops[i])
			}
		}
		t.Fatalf("%q: got %s, which is not there", line, got)
	})
}
