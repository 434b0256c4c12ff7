// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// nonceMark stands in index.html where the nonce of an answer goes.
const nonceMark = "__CSP_NONCE__"

// assets serves the built portal. Every path that is no file is the portal's
// own business and gets index.html.
type assets struct {
	files fs.FS
	index []byte
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
	return &assets{files, index, http.FileServerFS(files)}, nil
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
		a.serve.ServeHTTP(w, r)
		return
	}
	nonce := rand.Text()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", fmt.Sprintf("default-src 'self'; script-src 'self' 'nonce-%[1]s'; style-src 'self' 'nonce-%[1]s'; img-src 'self' data:; connect-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'", nonce))
	_, _ = w.Write(bytes.ReplaceAll(a.index, []byte(nonceMark), []byte(nonce)))
}
