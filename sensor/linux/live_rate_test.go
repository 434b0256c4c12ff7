// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picket-edr/picket/event"
)

// hurrySource starts itself, or makes and removes files, at a given rate. It
// prints how much it did; every bit of it is what the sensor must account for.
const hurrySource = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static void pace(struct timespec *t, long ns) {
	t->tv_nsec += ns;
	while (t->tv_nsec >= 1000000000) { t->tv_nsec -= 1000000000; t->tv_sec++; }
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, t, 0);
}
int main(int argc, char **argv) {
	struct timespec t, began, ended;
	if (argc < 5) return 0;
	long n = atol(argv[2]), rate = atol(argv[3]), group = rate > 2000 ? rate / 1000 : 1;
	clock_gettime(CLOCK_MONOTONIC, &t);
	began = t;
	for (long i = 0; i < n; i++) {
		if (i % group == 0) pace(&t, 1000000000L / rate * group);
		if (!strcmp(argv[1], "exec")) {
			char *child[] = {argv[4], "child", 0}, *none[] = {0};
			pid_t pid = vfork();
			if (pid == 0) { execve("/proc/self/exe", child, none); _exit(127); }
			if (pid < 0 || waitpid(pid, 0, 0) != pid) return 1;
		} else {
			char name[4096];
			snprintf(name, sizeof name, "%s/f%ld", argv[4], i / 2);
			if (i % 2 == 0) {
				int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0600);
				if (fd < 0 || write(fd, "x", 1) != 1 || close(fd)) return 1;
			} else if (unlink(name)) return 1;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("%.3f", (ended.tv_sec - began.tv_sec) + (ended.tv_nsec - began.tv_nsec) / 1e9);
	return 0;
}
`

func buildHurry(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source, program := filepath.Join(dir, "hurry.c"), filepath.Join(dir, "hurry")
	if err := os.WriteFile(source, []byte(hurrySource), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-O2", "-static", "-o", program, source).CombinedOutput(); err != nil {
		t.Skipf("no compiler to build the load: %v: %s", err, out)
	}
	return program
}

// lossesOf sums what the classes lost and what limits left out.
func lossesOf(l *live, classes ...string) (lost, limited uint64) {
	for _, class := range classes {
		lost += l.lost.copy()[class]
		limited += l.Limited()[class]
	}
	return lost, limited
}

// At every rate, as far as the host gets to it: what was told, what was lost
// and what a limit left out are together what was done. Nothing is told twice.
func TestLiveRates(t *testing.T) {
	program := buildHurry(t)
	for _, c := range []struct {
		kind    string
		n, rate int
	}{
		{"exec", 100, 100}, {"exec", 400, 400}, {"exec", 1600, 1600}, {"exec", 6400, 6400},
		{"file", 10_000, 10_000}, {"file", 50_000, 50_000}, {"file", 200_000, 200_000},
	} {
		t.Run(fmt.Sprint(c.kind, c.rate), func(t *testing.T) {
			l := startLive(t, nil)
			target := fmt.Sprintf("picket-rate-%d", c.rate)
			if c.kind == "file" {
				target = t.TempDir()
			}
			out, err := exec.Command(program, c.kind, fmt.Sprint(c.n), fmt.Sprint(c.rate), target).Output()
			if err != nil {
				t.Fatal(err)
			}
			l.stop()
			told := map[string]int{}
			if c.kind == "exec" {
				for _, r := range all(l, func(r *event.DeviceProcessEvents) bool { return strings.HasPrefix(r.ProcessCommandLine, target) }) {
					told[r.ActionType+r.ProcessUniqueId]++
				}
				lost, _ := lossesOf(l, "ring.exec", "ring.exit", "queue.full")
				account(t, c.n*2, told, lost, 0)
			} else {
				for _, r := range all(l, func(r *event.DeviceFileEvents) bool { return strings.HasPrefix(r.FolderPath, target+"/") }) {
					told[r.ActionType+r.FolderPath]++
				}
				lost, limited := lossesOf(l, "ring.file", "ring.delete", "file.orphan", "queue.full")
				account(t, c.n, told, lost, limited)
			}
			t.Logf("asked for %d/s, took %s s for %d", c.rate, out, c.n)
		})
	}
}

func account(t *testing.T, truth int, told map[string]int, lost, limited uint64) {
	t.Helper()
	for what, n := range told {
		if n > 1 {
			t.Fatalf("%s was told %d times", what, n)
		}
	}
	// Other programs of the host may lose events of the same class: what is
	// counted may be more than what is missing, never less.
	if missing := truth - len(told); missing < 0 || uint64(missing) > lost+limited {
		t.Errorf("%d of %d told, %d lost, %d limited: %d are not accounted for", len(told), truth, lost, limited, missing-int(lost+limited))
	}
	t.Logf("%d of %d told, %d lost, %d limited", len(told), truth, lost, limited)
}
