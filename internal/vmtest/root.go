// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Userland names the packages of Debian that make the programs of a guest.
type Userland struct {
	Suite    string
	Packages []string // what they depend on is added
	Leave    []string // patterns of packages that are not unpacked although something depends on them
	Without  []string // patterns of files that are not unpacked, from "./"
}

// merged are the folders that every Debian has below /usr, and the links to
// them, which no package brings.
var merged = []string{"bin", "sbin", "lib", "lib64"}

// Unpack returns a folder with the files of all packages. No script of a
// package is run: what those set up is left to the guest. What was unpacked
// once for the same names is used as long as it is kept.
func (u Userland) Unpack(ctx context.Context) (string, error) {
	s, err := openShelf(Kernel{Name: "userland", Archive: "debian", Suite: u.Suite})
	if err != nil {
		return "", err
	}
	defer s.unlock()
	root := filepath.Join(s.dir, u.name())
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	archives := filepath.Join(s.dir, "apt", "cache", "archives")
	if err := errors.Join(os.RemoveAll(archives), os.MkdirAll(filepath.Join(archives, "partial"), 0o755), s.refresh(ctx)); err != nil {
		return "", err
	}
	if _, err := s.apt(ctx, ".", "apt-get", append([]string{"-qq", "-y", "--no-install-recommends", "--download-only", "install"}, u.Packages...)...); err != nil {
		return "", err
	}
	part := root + ".part"
	if err := errors.Join(os.RemoveAll(part), u.unpack(ctx, archives, part)); err != nil {
		return "", err
	}
	return root, errors.Join(os.Rename(part, root), os.RemoveAll(archives))
}

// name is different for other packages and other choices among their files.
func (u Userland) name() string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Concat([]string{u.Suite}, u.Packages, []string{"\n"}, u.Leave, []string{"\n"}, u.Without), " ")))
	return "root-" + hex.EncodeToString(sum[:8])
}

// unpack makes a root of all packages in a folder.
func (u Userland) unpack(ctx context.Context, archives, root string) error {
	for _, dir := range merged {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, "usr", dir), 0o755), os.Symlink("usr/"+dir, filepath.Join(root, dir))); err != nil {
			return err
		}
	}
	debs, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if u.leaves(deb) {
			continue
		}
		if err := u.extract(ctx, deb, root); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
	}
	return nil
}

func (u Userland) leaves(deb string) bool {
	name, _, _ := strings.Cut(filepath.Base(deb), "_")
	return slices.ContainsFunc(u.Leave, func(pattern string) bool {
		ok, err := filepath.Match(pattern, name)
		return ok && err == nil
	})
}

// extract adds the files of a package. Those that it puts below /bin go where
// the link there leads.
func (u Userland) extract(ctx context.Context, deb, root string) error {
	args := []string{"-x", "-C", root, "--keep-directory-symlink", "--no-same-owner"}
	for _, pattern := range u.Without {
		args = append(args, "--exclude="+pattern)
	}
	files, tar := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb), exec.CommandContext(ctx, "tar", args...)
	var said strings.Builder
	tar.Stderr = &said
	var err error
	if tar.Stdin, err = files.StdoutPipe(); err != nil {
		return err
	}
	if err := files.Start(); err != nil {
		return err
	}
	if err = tar.Run(); err != nil {
		err = fmt.Errorf("%w: %.300s", err, said.String())
	}
	return errors.Join(err, files.Wait())
}
