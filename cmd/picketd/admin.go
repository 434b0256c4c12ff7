// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/picket-edr/picket"
)

// adminSocket is where a running server takes orders from this host's owner
// of the data directory. The directory's mode keeps others out.
func adminSocket(data string) string { return filepath.Join(data, "admin.sock") }

// admin serves the socket until ctx ends.
func admin(ctx context.Context, data string, backup func(context.Context, string) error, log *slog.Logger) error {
	path := adminSocket(data)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("admin socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /backup", func(w http.ResponseWriter, r *http.Request) {
		var order struct{ Dir string }
		if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&order); err != nil || !filepath.IsAbs(order.Dir) {
			http.Error(w, "an absolute directory is needed", http.StatusBadRequest)
			return
		}
		if err := backup(r.Context(), order.Dir); err != nil {
			log.Error("backup failed", "dir", order.Dir, "error", err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		log.Info("backup made", "dir", order.Dir)
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	return nil
}

// requestBackup asks the running server of a data directory for a backup.
func requestBackup(ctx context.Context, data, dir string) error {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", adminSocket(data))
		},
	}}
	defer client.CloseIdleConnections()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"Dir": dir})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://picketd/backup", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no server runs on %s: %w: %w", data, err, picket.Unavailable)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if err != nil {
			return err
		}
		return fmt.Errorf("backup: %s: %w", text, picket.Internal)
	}
	return nil
}

// restore copies a backup into an empty or absent data directory.
func restore(from, data string) error {
	if _, err := os.Stat(filepath.Join(from, backupMark)); err != nil {
		return fmt.Errorf("%s is not a complete backup: %w: %w", from, err, picket.Invalid)
	}
	entries, err := os.ReadDir(data)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: %w", data, picket.Conflict)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	if err := os.CopyFS(data, os.DirFS(from)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := os.Remove(filepath.Join(data, backupMark)); err != nil {
		return err
	}
	return secure(data)
}

// secure takes every right of others away from a restored directory.
func secure(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
}
