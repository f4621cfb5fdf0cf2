package auth

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are those whose word counts about where a request comes from. The
// zero value trusts nobody.
type Proxies struct {
	Trusted []netip.Prefix
	// Header is the one that they set: X-Forwarded-For or Forwarded. Empty: none.
	Header string
}

// Trusts reports whether an address is that of a trusted proxy.
func (p Proxies) Trusts(a net.Addr) bool {
	ip, ok := hostIP(a.String())
	return ok && p.trusts(ip)
}

func (p Proxies) trusts(ip netip.Addr) bool {
	return slices.ContainsFunc(p.Trusted, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// From is the IP address that a request comes from, as trusted proxies tell it.
func (p Proxies) From(r *http.Request) string {
	if told, ok := p.Client(r); ok {
		return told.String()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Client is the address that a request comes from: its peer's, or what trusted
// proxies say. Each adds the address of its own peer at the end of the list, so
// the list is read from there, up to the first that is no proxy of ours: what
// stands before that one anybody may have written.
func (p Proxies) Client(r *http.Request) (netip.Addr, bool) {
	at, ok := hostIP(r.RemoteAddr)
	if !ok || p.Header == "" || !p.trusts(at) {
		return at, false
	}
	hops := r.Header.Values(p.Header)
	parse := strings.TrimSpace
	if p.Header == "Forwarded" {
		parse = forwardedFor
	}
	// At every comma, also at one between quotes: a proxy's own element has none,
	// and a quote that its client has left open must not swallow it.
	list := strings.Split(strings.Join(hops, ","), ",")
	for _, hop := range slices.Backward(list) {
		next, ok := hostIP(parse(hop))
		if !ok { // "unknown", a made-up name, or nonsense
			break
		}
		at = next
		if !p.trusts(at) {
			break
		}
	}
	return at, true
}

// hostIP reads an address with or without port, and with or without brackets.
func hostIP(s string) (netip.Addr, bool) {
	if port, err := netip.ParseAddrPort(s); err == nil {
		return port.Addr().Unmap().WithZone(""), true
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	ip, err := netip.ParseAddr(s)
	return ip.Unmap().WithZone(""), err == nil
}

// forwardedFor is the value of "for" in one element of a Forwarded header
// (RFC 7239 §4); empty if there is none.
func forwardedFor(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}
