// SPDX-License-Identifier: Apache-2.0

package api

import (
	"compress/gzip"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func TestAssetsAreCompressedForThoseWhoTakeIt(t *testing.T) {
	t.Parallel()
	script := strings.Repeat("let x = 1;\n", 500)
	a, err := newAssets(fstest.MapFS{
		"index.html": {Data: []byte("<html>")}, "assets/a.js": {Data: []byte(script)}, "assets/tiny.js": {Data: []byte("1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, accept, span string
		packed             bool
	}{
		{"/assets/a.js", "gzip, br", "", true},
		{"/assets/a.js", "br;q=1, GZIP;q=0.5", "", true},
		{"/assets/a.js", "gzip;q=0", "", false},
		{"/assets/a.js", "br", "", false},
		{"/assets/a.js", "", "", false},
		{"/assets/a.js", "gzip", "bytes=0-9", false},
		{"/assets/tiny.js", "gzip", "", false},
	} {
		r := httptest.NewRequest(http.MethodGet, c.path, nil)
		r.Header.Set("Accept-Encoding", c.accept)
		if c.span != "" {
			r.Header.Set("Range", c.span)
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != c.packed {
			t.Errorf("%+v: packed %v", c, got)
		}
		if w.Header().Get("Content-Type") != mime.TypeByExtension(".js") || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%+v: headers %v", c, w.Header())
		}
		if c.path == "/assets/a.js" && w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%+v: caches must tell the two answers apart", c)
		}
		if !c.packed {
			continue
		}
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || string(got) != script {
			t.Errorf("%+v: %d bytes, %v", c, len(got), err)
		}
	}
}

func TestPortalThatIsNotBuilt(t *testing.T) {
	t.Parallel()
	a, err := newAssets(fstest.MapFS{"placeholder.html": {Data: []byte("build it")}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/devices", nil))
	if w.Body.String() != "build it" {
		t.Errorf("got %q", w.Body.String())
	}
	if _, err := newAssets(fstest.MapFS{}); err == nil {
		t.Error("no page at all must be an error")
	}
}
