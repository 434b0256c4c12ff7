// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picket-edr/picket/auth"
)

var update = flag.Bool("update", false, "rewrite golden files")

// described returns the interface with all routes.
func described() huma.API {
	api := newAPI(http.NewServeMux())
	(&server{}).routes(api)
	return api
}

// TestOpenAPI keeps openapi.json true to the handlers.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	got, err := described().OpenAPI().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("openapi.json is stale (%v): run make generate", err)
	}
}

// TestEveryRouteHasAPermission names the routes that anybody may call; all
// others need a permission that some role has.
func TestEveryRouteHasAPermission(t *testing.T) {
	t.Parallel()
	openRoutes := map[string]bool{"sign-in": true, "create-token": true, "download-sensor": true}
	n := 0
	for path, item := range described().OpenAPI().Paths {
		for _, o := range []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if o == nil {
				continue
			}
			n++
			perm, _ := o.Metadata[permissionKey].(auth.Permission)
			granted := perm == signedIn
			for _, g := range auth.Grants {
				granted = granted || g.Permission == perm
			}
			if (perm == open) != openRoutes[o.OperationID] || (perm != open && !granted) {
				t.Errorf("%s %s: permission %q", o.Method, path, perm)
			}
		}
	}
	if n < 25 {
		t.Errorf("only %d routes", n)
	}
}
