// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/content"
	"github.com/picket-edr/picket/state"
)

// passwordFile holds the first administrator's password until it is changed.
const passwordFile = "admin-password"

// announce makes the first administrator and prints how to get in.
func (s *picketServer) announce(ctx context.Context) error {
	password := ""
	made, err := s.auth.EnsureAdmin(ctx, picket.DefaultTenant, func(_, p string) error {
		password = p
		return os.WriteFile(filepath.Join(s.cfg.Data, passwordFile), []byte(p+"\n"), 0o600)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "portal: %s\nuser: admin\n", s.cfg.portalURL())
	if made {
		fmt.Fprintf(s.stdout, "password: %s\n", password)
	}
	_, err = fmt.Fprintf(s.stdout, "detection test: %s\n", content.DetectionTestCommand)
	return err
}

// localToken makes a one-use token for the sensor of this host.
func (s *picketServer) localToken(ctx context.Context) (string, error) {
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return "", err
	}
	now := time.Now()
	t := state.NewEnrolmentToken{Uses: 1, Expires: now.Add(10 * time.Minute), CreatedBy: "picketd", SecretHash: state.HashSecret(secret[:])}
	if _, err := s.db.CreateEnrolmentToken(ctx, picket.DefaultTenant, t, now); err != nil {
		return "", err
	}
	return s.tokenText(picket.DefaultTenant, secret), nil
}

// lockData keeps a second server off a data directory.
func lockData(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another server runs on %s: %w", dir, picket.Conflict)
		}
		return nil, err
	}
	return func() { f.Close() }, nil
}
