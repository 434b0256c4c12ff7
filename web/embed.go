// SPDX-License-Identifier: Apache-2.0

package web

import (
	"embed"
	"io/fs"
)

// NoncePlaceholder stands in Page wherever the nonce of the content security
// policy belongs. The server replaces it by a fresh value in every answer.
const NoncePlaceholder = "__CSP_NONCE__"

//go:embed all:dist
var dist embed.FS

// FS returns the portal's files, rooted where URL paths start: index.html,
// favicon.svg, assets/. Names under assets/ carry a hash of their content and
// may be cached for ever.
func FS() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		return dist // cannot happen: "dist" is a valid path
	}
	return sub
}

// Built reports whether the portal was built before this binary.
func Built() bool {
	_, err := fs.Stat(FS(), "index.html")
	return err == nil
}

// Page returns the one HTML page that every portal address answers with, or
// the page that tells how to build the portal when it is not built.
func Page() ([]byte, error) {
	if Built() {
		return fs.ReadFile(FS(), "index.html")
	}
	return fs.ReadFile(FS(), "placeholder.html")
}
