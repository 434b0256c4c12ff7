// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picket-edr/picket"
)

func TestBackup(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	b := open(t, Options{Dir: filepath.Join(dir, "old")})
	var writers []*writer
	for d := range 300 { // more than one answer holds
		w := newWriter(t, b, "a", fmt.Sprint("d", d))
		w.put(1, "one")
		w.put(2, fmt.Sprint("two", d))
		writers = append(writers, w)
	}
	if err := b.Trim(ctx, "a", 400); err != nil { // two thirds are remembered only
		t.Fatal(err)
	}
	other := newWriter(t, b, "b-c", "d1")
	other.put(7, "seven")
	copied := filepath.Join(dir, "copy")
	if err := b.Backup(ctx, copied); err != nil {
		t.Fatal(err)
	}
	if err := b.Backup(ctx, copied); err == nil {
		t.Error("a backup was overwritten")
	}
	before, err := b.State(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	writers[0].put(3, "after the backup")

	restored := open(t, Options{Dir: copied})
	after, err := restored.State(ctx, "a")
	if err != nil || after.Epoch == before.Epoch || after.Last != 0 {
		t.Errorf("restored stream %+v, %v", after, err)
	}
	for _, w := range append(writers[1:], other) {
		got, err := restored.Last(ctx, w.tenant, w.device)
		if err != nil || got.Position != w.last.Position {
			t.Fatalf("%s/%s: %+v, %v; want %+v", w.tenant, w.device, got, err, w.last)
		}
	}
	w := newWriter(t, restored, "a", "d0")
	if w.last.Seq != 2 {
		t.Errorf("a device that went on after the backup is at %d", w.last.Seq)
	}
	w.put(4, "goes on")
	restored.Close()
	if _, err := os.Stat(filepath.Join(copied, positionsFile)); err == nil {
		t.Error("the positions would be taken in again")
	}
}

func TestBackupIsTakenInOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	w := newWriter(t, b, "a", "d")
	w.put(1, "one")
	if err := b.Backup(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	w.put(2, "two")
	b.Close()
	b = open(t, Options{Dir: dir})
	if got := newWriter(t, b, "a", "d").last; got.Seq != 2 {
		t.Errorf("the older position won: %+v", got)
	}
}

func TestBadBackupIsRefused(t *testing.T) {
	t.Parallel()
	good := "a d boot:1:" + strings.Repeat("0", 64)
	for name, text := range map[string]string{
		"rubbish":     "rubbish",
		"tenant":      strings.Replace(good, "a d", "A d", 1),
		"device":      strings.Replace(good, "a d", "a >", 1),
		"position":    good[:len(good)-1],
		"second line": good + "\nrubbish",
		"endless":     strings.Repeat("x", 1<<20),
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, positionsFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), Options{Dir: dir}); !errors.Is(err, picket.Invalid) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
