// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest

import (
	"regexp"
	"strings"
)

// Kernel is one line of kernels that the sensor is tested on: the newest
// package of the line is taken.
type Kernel struct {
	Name    string // of the line, as in the coverage page
	Archive string // folder of deb.debian.org
	Suite   string
	Package string    // regular expression for the package that holds /boot/vmlinuz-*
	Modules [2]string // turns its name into that of the package that holds /lib/modules; empty: the same
}

// Kernels are those of Debian's releases in support, oldest first, and the
// newest that it has.
var Kernels = []Kernel{
	{Name: "5.10", Archive: "debian-security", Suite: "bullseye-security", Package: `linux-image-5\.10\.0-[0-9]+-amd64`},
	{Name: "6.1", Archive: "debian-security", Suite: "bookworm-security", Package: `linux-image-6\.1\.0-[0-9]+-amd64`},
	{Name: "6.12", Archive: "debian-security", Suite: "trixie-security", Package: `linux-image-6\.12\.[0-9]+\+deb13[.0-9]*-amd64`},
	{Name: "newest", Archive: "debian", Suite: "sid", Package: `linux-binary-[0-9.]+\+deb[0-9.]+-amd64`,
		Modules: [2]string{"linux-binary-", "linux-modules-"}},
}

// newest returns the last of the packages whose name matches, by the numbers
// in it.
func newest(packages []string, pattern string) string {
	re := regexp.MustCompile("^(?:" + pattern + ")$")
	best := ""
	for _, p := range packages {
		if re.MatchString(p) && (best == "" || older(best, p)) {
			best = p
		}
	}
	return best
}

var number = regexp.MustCompile(`[0-9]+|[^0-9]+`)

// older compares names part by part: runs of digits as numbers.
func older(a, b string) bool {
	x, y := number.FindAllString(a, -1), number.FindAllString(b, -1)
	for i := range min(len(x), len(y)) {
		if x[i] == y[i] {
			continue
		}
		p, q := strings.TrimLeft(x[i], "0"), strings.TrimLeft(y[i], "0")
		if isDigit(x[i][0]) && isDigit(y[i][0]) && len(p) != len(q) {
			return len(p) < len(q)
		}
		return p < q
	}
	return len(x) < len(y)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
