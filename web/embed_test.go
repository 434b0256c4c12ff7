// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/picket-edr/picket/web"
)

func TestPlaceholderIsTheOneThatABuildWrites(t *testing.T) {
	t.Parallel()
	got, err := fs.ReadFile(web.FS(), "placeholder.html")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("public/placeholder.html")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("dist/placeholder.html differs from public/placeholder.html: a build of the portal would leave the work tree dirty")
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	page, err := web.Page()
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	if !web.Built() {
		if !strings.Contains(text, "npm run build") {
			t.Errorf("placeholder does not tell how to build the portal:\n%s", text)
		}
		return
	}
	for _, tag := range regexp.MustCompile(`<(?:script|link rel="(?:stylesheet|modulepreload)")[^>]*>`).FindAllString(text, -1) {
		if !strings.Contains(tag, `nonce="`+web.NoncePlaceholder+`"`) {
			t.Errorf("tag without nonce placeholder: %s", tag)
		}
	}
	if m := regexp.MustCompile(`(?i)(src|href)="(https?:)?//`).FindString(text); m != "" {
		t.Errorf("page loads from outside: %s", m)
	}
}

func TestAssetsNameNoOutsideAddressToLoad(t *testing.T) {
	t.Parallel()
	if !web.Built() {
		t.Skip("portal not built")
	}
	outside := regexp.MustCompile(`(?:@import|url\()\s*["']?(?:https?:)?//`)
	err := fs.WalkDir(web.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".css") {
			return err
		}
		b, err := fs.ReadFile(web.FS(), path)
		if err != nil {
			return err
		}
		if m := outside.Find(b); m != nil {
			t.Errorf("%s loads from outside: %s", path, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
