// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"path"
	"strings"
)

const maxAncestors = 8

// packageManagers are the programs that install software, by base name.
var packageManagers = map[string]string{
	"dpkg": "dpkg", "dpkg-deb": "dpkg", "apt": "apt", "apt-get": "apt", "aptitude": "apt", "unattended-upgrade": "apt", "unattended-upgrades": "apt",
	"rpm": "rpm", "rpm-ostree": "rpm", "dnf": "dnf", "dnf-3": "dnf", "dnf5": "dnf", "dnf5daemon-server": "dnf", "microdnf": "dnf", "yum": "yum", "zypper": "zypper",
	"apk": "apk", "pacman": "pacman", "snap": "snap", "snapd": "snap", "flatpak": "flatpak", "packagekitd": "packagekit", "nix": "nix", "nix-daemon": "nix",
	"pip": "pip", "pip3": "pip", "pipx": "pip", "uv": "pip", "npm": "npm", "npx": "npm", "yarn": "npm", "pnpm": "npm", "gem": "gem",
}

// interpreters run package managers that are scripts.
var interpreters = []string{"python", "platform-python", "node", "perl", "ruby", "sh", "bash", "dash"}

// packageManager names the package manager that a process is or works for.
// Only programs in the folders of the system count, so that a name alone does
// not make one.
func packageManager(p *process) string {
	for range maxAncestors {
		if p == nil {
			return ""
		}
		if m := ofPackageManager(p.path, p.cmdline); m != "" {
			return m
		}
		p = p.parent
	}
	return ""
}

func ofPackageManager(image, cmdline string) string {
	dir, base := path.Split(image)
	if m := packageManagers[base]; m != "" && ofSystem(dir) {
		return m
	}
	if !interpreted(base) {
		return ""
	}
	// python3 /usr/bin/dnf install x, python3 -m pip install x
	words := strings.Fields(cmdline[:min(len(cmdline), 256)])
	for i := 1; i < len(words); i++ {
		if words[i] == "-m" && i+1 < len(words) {
			return packageManagers[words[i+1]]
		}
		if words[i][0] == '-' {
			continue
		}
		dir, base = path.Split(words[i])
		if ofSystem(dir) || strings.HasSuffix(dir, "/bin/") && (packageManagers[base] == "pip" || packageManagers[base] == "npm") {
			return packageManagers[strings.TrimSuffix(strings.TrimSuffix(base, "-cli.js"), ".py")]
		}
		return ""
	}
	return ""
}

func interpreted(base string) bool {
	for _, i := range interpreters {
		if strings.HasPrefix(base, i) {
			return true
		}
	}
	return false
}

func ofSystem(dir string) bool {
	for _, d := range []string{"/usr/", "/bin/", "/sbin/", "/snap/", "/nix/"} {
		if strings.HasPrefix(dir, d) {
			return true
		}
	}
	return false
}
