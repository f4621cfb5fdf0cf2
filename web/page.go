package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// built is the chat page as `make page` has built it from page/src. It is committed,
// so that nobody needs Node to build a server; a check builds it again and compares.
//
//go:embed page/dist
var built embed.FS

// pagePolicy lets the page run its own files and talk to its own server, and nothing
// else: no inline scripts or styles, no frames, and (trusted types) no text that
// becomes HTML. 'self' means the WebSocket of the same host, too (CSP 3 §6.7.2.8).
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// registrationMark is where the page reads who may make an account.
const registrationMark = `<meta name="postbox-registration" content="closed" />`

// pageFile is a file of the page with its forms for those who take compressed ones.
type pageFile struct {
	kind      string
	tag       string
	immutable bool // its name changes with its content
	plain     []byte
	brotli    []byte // nil: there is none
	gzip      []byte
}

// page serves the files of the chat page.
type page struct{ files map[string]*pageFile }

// NewPage is the handler of the chat page, for the paths below "/" that are nobody
// else's. Registration is who may make an account, "closed", "invite" or "open": the
// page offers what the server allows. It may be used by any number of requests at
// once, and never changes.
func NewPage(registration string) http.Handler {
	p := &page{files: map[string]*pageFile{}}
	err := fs.WalkDir(built, "page/dist", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := built.ReadFile(name)
		if err != nil {
			return err
		}
		p.add(strings.TrimPrefix(name, "page/dist"), content, registration)
		return nil
	})
	if err != nil {
		panic("the page in the program cannot be read: " + err.Error())
	}
	return p
}

// add keeps a file, or the compressed form of one, under its path.
func (p *page) add(name string, content []byte, registration string) {
	extension := path.Ext(name)
	f := p.at(strings.TrimSuffix(strings.TrimSuffix(name, ".br"), ".gz"))
	switch extension {
	case ".br":
		f.brotli = content
		return
	case ".gz":
		f.gzip = content
		return
	case ".html":
		content = bytes.Replace(content, []byte(registrationMark),
			[]byte(strings.Replace(registrationMark, "closed", registration, 1)), 1)
		p.files["/"] = f
	}
	f.plain, f.kind = content, kindOf(extension)
	f.immutable = strings.HasPrefix(name, "/assets/")
	sum := sha256.Sum256(content)
	f.tag = base64.RawURLEncoding.EncodeToString(sum[:12])
}

func (p *page) at(name string) *pageFile {
	if p.files[name] == nil {
		p.files[name] = new(pageFile)
	}
	return p.files[name]
}

// kindOf does not ask the system, whose tables differ from one to the next.
func kindOf(extension string) string {
	switch extension {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".webmanifest":
		return "application/manifest+json"
	}
	return mime.TypeByExtension(extension)
}

// ServeHTTP implements http.Handler.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	f := p.files[r.URL.Path]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache") // ask each time, with the tag
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body, tag := f.plain, f.tag
	if f.brotli != nil {
		h.Set("Vary", "Accept-Encoding")
		switch {
		case takes(r, "br"):
			h.Set("Content-Encoding", "br")
			body, tag = f.brotli, tag+"-br"
		case takes(r, "gzip"):
			h.Set("Content-Encoding", "gzip")
			body, tag = f.gzip, tag+"-gz"
		}
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// takes reports whether the peer asks for a content coding (RFC 9110 §12.5.3).
func takes(r *http.Request, coding string) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for one := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(one, ";")
			if !strings.EqualFold(strings.TrimSpace(name), coding) {
				continue
			}
			_, q, weighed := strings.Cut(weight, "=")
			return !weighed || strings.Trim(q, " 0.") != ""
		}
	}
	return false
}
