// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"strings"
)

const maxPackages = 1 << 16

// dpkgLines lists the packages of /var/lib/dpkg/status as "name:arch version".
func dpkgLines(_ string, b []byte) []string {
	return stanzas(b, func(key, value string, p *pkg) {
		switch key {
		case "Package":
			p.name = value
		case "Architecture":
			p.arch = value
		case "Version":
			p.version = value
		case "Status":
			// Files are there in all states but these.
			p.off = strings.HasSuffix(value, " not-installed") || strings.HasSuffix(value, " config-files")
		}
	})
}

// apkLines does the same for /lib/apk/db/installed.
func apkLines(_ string, b []byte) []string {
	return stanzas(b, func(key, value string, p *pkg) {
		switch key {
		case "P":
			p.name = value
		case "A":
			p.arch = value
		case "V":
			p.version = value
		}
	})
}

type pkg struct {
	name, arch, version string
	off                 bool
}

// stanzas reads groups of "Key: value" lines with empty lines between them.
func stanzas(b []byte, field func(key, value string, p *pkg)) []string {
	var out []string
	var p pkg
	end := func() {
		if p.name != "" && p.version != "" && !p.off && len(out) < maxPackages {
			out = append(out, cut(oneLine(p.name), 256)+":"+cut(oneLine(p.arch), 64)+" "+cut(oneLine(p.version), 256))
		}
		p = pkg{}
	}
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			end()
			continue
		}
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && len(key) <= len("Architecture") {
			field(string(key), string(bytes.TrimSpace(value)), &p)
		}
	}
	end()
	return out
}

// packageEvents tells which packages came, went or changed their version.
func packageEvents(f *finding) []Event {
	if !f.known || f.now == nil {
		return f.asWhole()
	}
	was, now := versions(f.removed), versions(f.added)
	var out []Event
	add := func(action, operation, name, version, before string) {
		e := f.event(action, operation)
		e.Fields["PackageName"], _, _ = strings.Cut(name, ":")
		_, e.Fields["PackageArchitecture"], _ = strings.Cut(name, ":")
		e.Fields["PackageVersion"], e.Fields["PackageManager"] = version, manager(f.path)
		if before != "" {
			e.Fields["PreviousVersion"] = before
		}
		out = append(out, e)
	}
	for _, item := range f.added {
		name, version, _ := strings.Cut(item, " ")
		if before, ok := was[name]; ok {
			add("PackageUpgraded", "Changed", name, version, before)
		} else {
			add("PackageInstalled", "Created", name, version, "")
		}
	}
	for _, item := range f.removed {
		name, version, _ := strings.Cut(item, " ")
		if _, ok := now[name]; !ok {
			add("PackageRemoved", "Deleted", name, version, "")
		}
	}
	return f.bound(out)
}

func versions(items []string) map[string]string {
	out := map[string]string{}
	for _, item := range items {
		name, version, _ := strings.Cut(item, " ")
		out[name] = version
	}
	return out
}

func manager(name string) string {
	for part, m := range map[string]string{"/dpkg/": "dpkg", "/apk/": "apk", "/rpm/": "rpm", "/pacman/": "pacman", "/snapd/": "snap"} {
		if strings.Contains(name, part) {
			return m
		}
	}
	return ""
}

// pathPackage reads name and version from the path: pacman has a folder
// name-version-release for each package, snap a file name_revision.
func pathPackage(f *finding) map[string]any {
	out := map[string]any{"PackageManager": manager(f.path)}
	if name, ok := strings.CutSuffix(f.base, ".snap"); ok {
		out["PackageName"], out["PackageVersion"], _ = strings.Cut(name, "_")
		return out
	}
	parts := strings.Split(path.Base(path.Dir(f.path)), "-")
	if n := len(parts); n > 2 {
		out["PackageName"], out["PackageVersion"] = strings.Join(parts[:n-2], "-"), strings.Join(parts[n-2:], "-")
	}
	return out
}

// manifest is what a browser extension says of itself.
type manifest struct {
	Name        string            `json:"name"`
	Version     string            `json:"version"`
	Permissions []json.RawMessage `json:"permissions"`
	Hosts       []string          `json:"host_permissions"`
	UpdateURL   string            `json:"update_url"`
}

// extensionDetail tells which extension of which browser it is.
func extensionDetail(f *finding) map[string]any {
	out := map[string]any{"Browser": browser(f.path)}
	if f.base != "manifest.json" {
		out["ExtensionId"] = strings.TrimSuffix(f.base, ".xpi")
		return out
	}
	parts := strings.Split(f.path, "/")
	if i := slices.Index(parts, "Extensions"); i >= 0 && i+2 < len(parts) {
		out["ExtensionId"], out["ExtensionVersion"] = parts[i+1], parts[i+2]
	}
	var m manifest
	if json.Unmarshal(f.data, &m) != nil {
		return out
	}
	out["ExtensionName"] = cut(oneLine(m.Name), 256)
	if m.Version != "" {
		out["ExtensionVersion"] = cut(oneLine(m.Version), 64)
	}
	if m.UpdateURL != "" {
		out["UpdateUrl"] = cut(f.t.redact(oneLine(m.UpdateURL)), tellBytes)
	}
	var permissions []string
	for _, p := range m.Permissions {
		var s string
		if json.Unmarshal(p, &s) == nil {
			permissions = append(permissions, cut(oneLine(s), 128))
		}
	}
	for _, h := range m.Hosts {
		permissions = append(permissions, cut(oneLine(h), 128))
	}
	if len(permissions) > 0 {
		out["Permissions"] = permissions[:min(len(permissions), tellItems)]
	}
	return out
}

func browser(name string) string {
	for _, b := range []struct{ part, name string }{
		{"/google-chrome", "Chrome"}, {"/BraveSoftware/", "Brave"}, {"/microsoft-edge", "Edge"}, {"/vivaldi", "Vivaldi"},
		{"/opera", "Opera"}, {"/chromium", "Chromium"}, {"/.mozilla/", "Firefox"}, {"/firefox", "Firefox"}, {"/opt/chrome/", "Chrome"}, {"/opt/edge/", "Edge"},
	} {
		if strings.Contains(name, b.part) {
			return b.name
		}
	}
	return ""
}
