// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// nonceMark stands in index.html where the nonce of an answer goes.
const nonceMark = "__CSP_NONCE__"

// assets serves the built portal. Every path that is no file is the portal's
// own business and gets index.html.
type assets struct {
	files fs.FS
	index []byte
	small map[string][]byte // gzip of the files under assets/ that it makes smaller
	serve http.Handler
}

func newAssets(files fs.FS) (*assets, error) {
	index, err := fs.ReadFile(files, "index.html")
	if errors.Is(err, fs.ErrNotExist) {
		index, err = fs.ReadFile(files, "placeholder.html")
	}
	if err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	small, err := compressed(files)
	if err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	return &assets{files, index, small, http.FileServerFS(files)}, nil
}

// compressed makes the gzip of every asset once, so that answers cost nothing.
func compressed(files fs.FS) (map[string][]byte, error) {
	small := map[string][]byte{}
	err := fs.WalkDir(files, "assets", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == "assets" {
			return fs.SkipAll // a portal that is not built
		}
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		if _, err := z.Write(data); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		if buf.Len() < len(data)*9/10 {
			small[name] = buf.Bytes()
		}
		return nil
	})
	return small, err
}

// takesGzip reports whether a client takes answers compressed by gzip.
func takesGzip(r *http.Request) bool {
	for _, v := range r.Header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(v, ",") {
			name, quality, _ := strings.Cut(coding, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				q, ok := strings.CutPrefix(strings.TrimSpace(quality), "q=")
				weight, err := strconv.ParseFloat(q, 64)
				return !ok || err == nil && weight > 0
			}
		}
	}
	return false
}

// ServeHTTP implements http.Handler.
func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if strings.HasPrefix(name, "api/") {
		http.NotFound(w, r)
		return
	}
	if info, err := fs.Stat(a.files, name); err == nil && !info.IsDir() && name != "index.html" {
		if strings.HasPrefix(name, "assets/") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // the name carries a hash of the content
		}
		if data, ok := a.small[name]; ok {
			w.Header().Set("Vary", "Accept-Encoding")
			if kind := mime.TypeByExtension(path.Ext(name)); kind != "" && takesGzip(r) && r.Header.Get("Range") == "" {
				h := w.Header()
				h.Set("Content-Type", kind)
				h.Set("Content-Encoding", "gzip")
				h.Set("Content-Length", strconv.Itoa(len(data)))
				_, _ = w.Write(data)
				return
			}
		}
		a.serve.ServeHTTP(w, r)
		return
	}
	nonce := rand.Text()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", fmt.Sprintf("default-src 'self'; script-src 'self' 'nonce-%[1]s'; style-src 'self' 'nonce-%[1]s'; img-src 'self' data:; connect-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'", nonce))
	_, _ = w.Write(bytes.ReplaceAll(a.index, []byte(nonceMark), []byte(nonce)))
}
