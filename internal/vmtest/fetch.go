// SPDX-License-Identifier: Apache-2.0

//go:build linux

package vmtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Image is a kernel that can be booted.
type Image struct {
	Kernel  Kernel
	Package string // which one was taken
	Path    string // of the compressed kernel
}

const (
	lookForNewer = 24 * time.Hour
	archiveKeys  = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

// Fetch returns the newest kernel of a line. It asks the archive once a day;
// when the archive cannot be reached a kernel fetched earlier will do.
func Fetch(ctx context.Context, k Kernel) (Image, error) {
	s, err := openShelf(k)
	if err != nil {
		return Image{}, err
	}
	defer s.unlock()
	have, haveErr := s.current()
	if haveErr == nil && s.fresh() {
		return have, nil
	}
	got, err := s.renew(ctx)
	if err != nil && haveErr == nil {
		return have, nil
	}
	return got, err
}

// shelf is where the kernel of one line is kept, with an apt configuration of
// its own: the host's is for the host.
type shelf struct {
	k    Kernel
	dir  string
	lock *os.File
}

func openShelf(k Kernel) (*shelf, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	s := &shelf{k: k, dir: filepath.Join(cache, "picket", "kernels", k.Name)}
	for _, sub := range []string{"apt/state/lists/partial", "apt/cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	if s.lock, err = os.Create(filepath.Join(s.dir, "lock")); err != nil {
		return nil, err
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX); err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("lock %s: %w", s.dir, err)
	}
	return s, nil
}

func (s *shelf) unlock() { s.lock.Close() }

// current is the kernel fetched last.
func (s *shelf) current() (Image, error) {
	found, err := filepath.Glob(filepath.Join(s.dir, "*", "vmlinuz"))
	if err != nil {
		return Image{}, err
	}
	var packages []string
	for _, f := range found {
		packages = append(packages, filepath.Base(filepath.Dir(f)))
	}
	best := newest(packages, s.k.Package)
	if best == "" {
		return Image{}, os.ErrNotExist
	}
	return Image{Kernel: s.k, Package: best, Path: filepath.Join(s.dir, best, "vmlinuz")}, nil
}

func (s *shelf) stamp() string { return filepath.Join(s.dir, "asked") }

func (s *shelf) fresh() bool {
	st, err := os.Stat(s.stamp())
	return err == nil && time.Since(st.ModTime()) < lookForNewer
}

// renew asks the archive and fetches what is newer.
func (s *shelf) renew(ctx context.Context) (Image, error) {
	packages, err := s.list(ctx)
	if err != nil {
		return Image{}, err
	}
	name := newest(packages, s.k.Package)
	if name == "" {
		return Image{}, fmt.Errorf("%s has no package %s", s.k.Suite, s.k.Package)
	}
	have, err := s.current()
	if err != nil || have.Package != name {
		if err := s.take(ctx, name); err != nil {
			return Image{}, err
		}
		if have.Package != "" {
			os.RemoveAll(filepath.Dir(have.Path))
		}
	}
	if err := os.WriteFile(s.stamp(), nil, 0o644); err != nil {
		return Image{}, err
	}
	return s.current()
}

// refresh asks the archive which packages it has.
func (s *shelf) refresh(ctx context.Context) error {
	source := fmt.Sprintf("deb [arch=amd64 target=Packages signed-by=%s] http://deb.debian.org/%s %s main\n", archiveKeys, s.k.Archive, s.k.Suite)
	if err := os.WriteFile(filepath.Join(s.dir, "apt", "sources.list"), []byte(source), 0o644); err != nil {
		return err
	}
	_, err := s.apt(ctx, ".", "apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update")
	return err
}

// list returns the names of the kernel packages that the archive has.
func (s *shelf) list(ctx context.Context) ([]string, error) {
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	out, err := s.apt(ctx, ".", "apt-cache", "pkgnames", "linux-")
	return strings.Fields(string(out)), err
}

// apt runs one of apt's programs on the shelf's own configuration.
func (s *shelf) apt(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	at := filepath.Join(s.dir, "apt")
	var full []string
	for _, o := range []string{"Dir::Etc::SourceList=" + at + "/sources.list", "Dir::Etc::SourceParts=/dev/null", "Dir::State=" + at + "/state",
		"Dir::State::Status=/dev/null", "Dir::Cache=" + at + "/cache", "APT::Architecture=amd64", "APT::Sandbox::User=root"} {
		full = append(full, "-o", o)
	}
	cmd := exec.CommandContext(ctx, program, append(full, args...)...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s of %s: %w %.500s", program, args[len(args)-1], s.k.Suite, err, said.Bytes())
	}
	return out, nil
}

// take downloads a package and keeps it next to the kernel in it.
func (s *shelf) take(ctx context.Context, name string) error {
	dir := filepath.Join(s.dir, name)
	deb, err := s.download(ctx, dir, name)
	if err != nil {
		return err
	}
	kernel, _, err := member(ctx, deb, func(name string) bool {
		return strings.HasPrefix(name, "boot/vmlinuz-") || path.Base(name) == "vmlinuz" // newer packages keep it with the modules
	})
	if err != nil {
		return err
	}
	whole := filepath.Join(dir, "vmlinuz")
	if err := os.WriteFile(whole+".part", kernel, 0o644); err != nil {
		return err
	}
	return os.Rename(whole+".part", whole)
}

// download fetches a package into dir and returns its file.
func (s *shelf) download(ctx context.Context, dir, name string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if _, err := s.apt(ctx, dir, "apt-get", "-qq", "download", name); err != nil {
		return "", err
	}
	return debOf(dir, name)
}

// debOf is the file of a package that was downloaded.
func debOf(dir, name string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("package %s: %w", name, os.ErrNotExist)
	}
	return found[len(found)-1], nil
}

// maxMember bounds what is read out of a package at once.
const maxMember = 64 << 20

// member reads the first file of a package that matches.
func member(ctx context.Context, deb string, match func(string) bool) ([]byte, string, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the unpacking when the file was found
	defer cancel()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	defer func() { cancel(); _ = cmd.Wait() }() // it is killed halfway: only what was read counts
	for r := tar.NewReader(out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, "", fmt.Errorf("not in %s: %w", filepath.Base(deb), os.ErrNotExist)
		}
		if err != nil {
			return nil, "", fmt.Errorf("read %s: %w", filepath.Base(deb), err)
		}
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag != tar.TypeReg || !match(name) {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(r, maxMember))
		return b, name, err
	}
}

// Module returns a module of the kernel, ready to be loaded. Its name is that
// of the file without ".ko".
func (i Image) Module(ctx context.Context, name string) ([]byte, error) {
	s, err := openShelf(i.Kernel)
	if err != nil {
		return nil, err
	}
	defer s.unlock()
	dir := filepath.Dir(i.Path)
	kept := filepath.Join(dir, name+".ko")
	if b, err := os.ReadFile(kept); err == nil {
		return b, nil
	}
	pack := strings.Replace(i.Package, i.Kernel.Modules[0], i.Kernel.Modules[1], 1)
	deb, err := debOf(dir, pack)
	if err != nil {
		if deb, err = s.download(ctx, dir, pack); err != nil {
			return nil, err
		}
	}
	b, found, err := member(ctx, deb, func(file string) bool {
		base, _, ok := strings.Cut(path.Base(file), ".ko")
		return ok && base == name
	})
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", name, err)
	}
	if strings.HasSuffix(found, ".xz") {
		cmd := exec.CommandContext(ctx, "xz", "-dc")
		cmd.Stdin = bytes.NewReader(b)
		if b, err = cmd.Output(); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", found, err)
		}
	}
	return b, os.WriteFile(kept, b, 0o644)
}
