package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postbox/web"
)

// browse asks the page as a browser does that takes these codings.
func browse(t *testing.T, h http.Handler, path, codings string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if codings != "" {
		r.Header.Set("Accept-Encoding", codings)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// asset is the path of the first file that the page names with this ending.
func asset(t *testing.T, h http.Handler, ending string) string {
	t.Helper()
	index, err := io.ReadAll(browse(t, h, "/", "").Body)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\./(assets/[^"]+\.` + ending + `)"`).FindSubmatch(index)
	if found == nil {
		t.Fatalf("the page names no %s file:\n%s", ending, index)
	}
	return "/" + string(found[1])
}

// Nothing but the page's own files runs, and nothing becomes HTML, whatever a
// message says; also where the answer is an error.
func TestPageHeaders(t *testing.T) {
	t.Parallel()
	h := web.NewPublic(web.PublicOptions{Page: web.NewPage("open")})
	for path, status := range map[string]int{"/": 200, asset(t, h, "js"): 200, "/postbox.svg": 200, "/nothing": 404, "/assets/": 404} {
		r := browse(t, h, path, "")
		if r.StatusCode != status {
			t.Errorf("%s: status %d, want %d", path, r.StatusCode, status)
		}
		policy := r.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self';", "connect-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy %q lacks %q", path, policy, part)
			}
		}
		for _, loose := range []string{"unsafe", "data:", "blob:", "*", "http"} {
			if strings.Contains(policy, loose) {
				t.Errorf("%s: the policy %q has %q", path, policy, loose)
			}
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", path, r.Header)
		}
	}
}

// What has its content in its name is fetched once; the rest is asked for each time,
// and not sent again if it is the same.
func TestPageCaching(t *testing.T) {
	t.Parallel()
	h := web.NewPage("open")
	if got := browse(t, h, asset(t, h, "css"), "br").Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
		t.Errorf("an asset has Cache-Control %q", got)
	}
	r := browse(t, h, "/", "")
	if got := r.Header.Get("Cache-Control"); got != "no-cache" {
		t.Errorf("the page has Cache-Control %q", got)
	}
	again := httptest.NewRequest(http.MethodGet, "/", nil)
	again.Header.Set("If-None-Match", r.Header.Get("ETag"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, again)
	if w.Code != http.StatusNotModified {
		t.Errorf("asked again with its tag: status %d", w.Code)
	}
	if other := browse(t, web.NewPage("closed"), "/", "").Header.Get("ETag"); other == r.Header.Get("ETag") {
		t.Error("another page has the same tag")
	}
}

// A browser gets the form that it can read: the same file each time.
func TestPageCodings(t *testing.T) {
	t.Parallel()
	h := web.NewPage("open")
	js := asset(t, h, "js")
	plain, err := io.ReadAll(browse(t, h, js, "").Body)
	if err != nil {
		t.Fatal(err)
	}
	for codings, want := range map[string]string{
		"": "", "identity": "", "gzip, deflate": "gzip", "gzip, deflate, br, zstd": "br", "br;q=0, gzip": "gzip", "br;q=0.5": "br", "gzip;q=0.0": "",
	} {
		r := browse(t, h, js, codings)
		if got := r.Header.Get("Content-Encoding"); got != want || r.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("for %q: coding %q, want %q; Vary %q", codings, got, want, r.Header.Get("Vary"))
		}
	}
	body, err := gzip.NewReader(browse(t, h, js, "gzip").Body)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(unpacked, plain) {
		t.Errorf("unpacked it is %d bytes, %v; plain %d", len(unpacked), err, len(plain))
	}
}

// The page offers what the server allows.
func TestPageTellsOfRegistration(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"closed", "invite", "open"} {
		body, err := io.ReadAll(browse(t, web.NewPage(kind), "/", "").Body)
		if err != nil {
			t.Fatal(err)
		}
		if want := `name="postbox-registration" content="` + kind + `"`; !bytes.Contains(body, []byte(want)) {
			t.Errorf("the page of a server whose registration is %s lacks %s", kind, want)
		}
	}
}

// Everything up to the first message is under 200 KB, for those who take gzip alone.
func TestPageIsSmall(t *testing.T) {
	t.Parallel()
	const most = 200_000
	total := 0
	err := fs.WalkDir(os.DirFS("page/dist"), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, ".txt") || strings.HasSuffix(name, ".br") || strings.HasSuffix(name, ".gz") {
			return err
		}
		n, err := io.Copy(io.Discard, browse(t, web.NewPage("open"), "/"+name, "gzip").Body)
		total += int(n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes in all", total)
	if total == 0 || total > most {
		t.Errorf("the page is %d bytes, want at most %d", total, most)
	}
}

// Messages become text and elements, never HTML.
func TestPageMakesNoHTML(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|sessionStorage`)
	files := 0
	err := filepath.WalkDir("page/src", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(name)
		if found := forbidden.Find(text); found != nil {
			t.Errorf("%s has %s", name, found)
		}
		return err
	})
	if err != nil || files < 20 {
		t.Errorf("%d files, %v", files, err)
	}
}

// Who switches the page off has the line of text that was there before.
func TestPageOff(t *testing.T) {
	t.Parallel()
	h := web.NewPublic(web.PublicOptions{})
	r := browse(t, h, "/", "")
	if got := r.Header.Get("Content-Type"); r.StatusCode != 200 || !strings.HasPrefix(got, "text/plain") {
		t.Errorf("status %d, %s", r.StatusCode, got)
	}
	if got := browse(t, h, "/postbox.svg", "").StatusCode; got != http.StatusNotFound {
		t.Errorf("a file of the page: status %d", got)
	}
}
