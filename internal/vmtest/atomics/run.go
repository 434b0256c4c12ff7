// SPDX-License-Identifier: Apache-2.0

//go:build linux

package atomics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/picket-edr/picket/event"
	"github.com/picket-edr/picket/internal/vmtest/guest"
)

const (
	// Work is the name of this package's work in the guest, and Tests the
	// file of the guest with the tests.
	Work  = "atomics"
	Tests = "/usr/lib/picket/atomics.json" // not below a link

	testWait = 20 * time.Second // for a test to end
	patience = 10 * time.Second // for its rows; nothing waits that long unless one is missing
	maxKept  = 6                // rows of a test that the report shows
)

// Report is what came of one test, or of all when it has no GUID.
type Report struct {
	GUID    string            `json:",omitempty"`
	Error   string            `json:",omitempty"` // why it could not be run
	Exit    int               // of the test's shell; -1: it was killed
	Lacks   int               // things that the test wants and that cannot be had in the guest
	Rows    map[string]int    `json:",omitempty"` // by table and ActionType
	Said    bool              // the start of the shell was told with its commands
	Missing []string          `json:",omitempty"` // wanted rows that were not told
	Key     []string          `json:",omitempty"` // some rows
	Output  string            `json:",omitempty"` // the end of what the test wrote
	Hooks   []string          `json:",omitempty"`
	Lost    map[string]uint64 `json:",omitempty"`
}

// Run runs the tests of the file and writes a line about each, and one about
// the sensor at the end.
func Run(ctx context.Context, results io.Writer) error {
	b, err := os.ReadFile(Tests)
	if err != nil {
		return err
	}
	var tests []Test
	if err := json.Unmarshal(b, &tests); err != nil {
		return err
	}
	if err := setUp(); err != nil {
		return err
	}
	c, err := guest.Collect(ctx, nil)
	if err != nil {
		return err
	}
	out := json.NewEncoder(results)
	for _, t := range tests {
		fmt.Println("test", t.Technique, t.GUID)
		if err := out.Encode(t.run(ctx, c)); err != nil {
			return err
		}
	}
	var last Report
	for _, h := range c.Hooks() {
		last.Hooks = append(last.Hooks, fmt.Sprintf("%s: %s %v %s", h.Kind, h.Rung, h.Attached, h.Error))
	}
	if last.Lost, err = c.End(); err != nil {
		last.Error = err.Error()
	}
	return out.Encode(last)
}

// run runs one test and waits for what it is expected to show before it cleans
// up: cleaning up is not part of it.
func (t Test) run(ctx context.Context, c *guest.Collection) Report {
	r := Report{GUID: t.GUID}
	if err := t.prepare(); err != nil {
		r.Error = err.Error()
	}
	r.Lacks = t.provide(ctx)
	before := len(c.Since(0))
	shell, exit, output, err := t.shell(ctx, t.Command)
	r.Exit, r.Output = exit, output
	if err != nil {
		r.Error = err.Error()
	}
	c.Wait(patience, func() bool {
		r.look(t, lineage(c.Since(before), shell), shell)
		return r.Said && len(r.Missing) == 0
	})
	if t.Cleanup != "" {
		_, _, _, _ = t.shell(ctx, t.Cleanup) // what it cannot clean was not there
	}
	if shell > 1 {
		_ = syscall.Kill(-shell, syscall.SIGKILL) // what it left behind
	}
	return r
}

// histories are the files that many tests are about.
var histories = []string{".bash_history", ".sh_history", ".history"}

// prepare makes the histories anew where a test changed them, and removes what
// earlier tests left.
func (t Test) prepare() error {
	const history = "ls\nssh -p 2222 host\n"
	a := t.account()
	err := os.RemoveAll(a.home + "/loot.txt")
	for _, name := range histories {
		file, fresh := a.home+"/"+name, a.home+"/.fresh"
		b, readErr := os.ReadFile(file)
		if st, statErr := os.Lstat(file); readErr == nil && statErr == nil && st.Mode().IsRegular() && string(b) == history {
			continue
		}
		// It takes the old one's place at once: nobody else is to be seen removing it.
		err = errors.Join(err, write(fresh, history, 0o600), os.Chown(fresh, a.id, a.id), os.Rename(fresh, file))
	}
	err = errors.Join(err, own(filepath.Dir(folder), user.id, user.id))
	left, listErr := os.ReadDir("/tmp")
	for _, e := range left {
		if name := filepath.Join("/tmp", e.Name()); !strings.HasPrefix(folder, name+"/") {
			err = errors.Join(err, os.RemoveAll(name))
		}
	}
	return errors.Join(err, listErr)
}

// provide makes what the test needs, and returns how much of it cannot be had.
func (t Test) provide(ctx context.Context) int {
	lacks := 0
	for _, n := range t.Needs {
		if _, exit, _, err := t.shell(ctx, n.Check); err == nil && exit == 0 {
			continue
		}
		_, _, _, _ = t.shell(ctx, n.Get)
		if _, exit, _, err := t.shell(ctx, n.Check); err != nil || exit != 0 {
			lacks++
		}
	}
	return lacks
}

func (t Test) account() account {
	if e, _ := expectation(t.GUID); t.Root || e.AsRoot {
		return root
	}
	return user
}

// shell runs commands in a session of their own and returns the process id of
// the shell, how it ended, and the end of what it wrote.
func (t Test) shell(ctx context.Context, commands string) (pid, exit int, output string, err error) {
	a := t.account()
	ctx, cancel := context.WithTimeout(ctx, testWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/"+t.Executor, "-c", commands)
	cmd.Args[0] = t.Executor // as who looks for it by the path does
	cmd.Dir = a.home
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + a.home, "USER=" + a.name, "LOGNAME=" + a.name,
		"SHELL=/bin/" + t.Executor, "LANG=C.UTF-8", "TERM=dumb", "HISTFILE=" + a.home + "/.bash_history", "PathToAtomicsFolder=" + folder}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(a.id), Gid: uint32(a.id)}}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a process that it left behind may hold the pipe
	var wrote bytes.Buffer
	cmd.Stdout, cmd.Stderr = &wrote, &wrote
	if err := cmd.Start(); err != nil {
		return 0, -1, "", err
	}
	err = cmd.Wait()
	var ended *exec.ExitError
	if errors.As(err, &ended) || errors.Is(err, exec.ErrWaitDelay) || ctx.Err() != nil {
		err = nil
	}
	b := wrote.Bytes()
	return cmd.Process.Pid, cmd.ProcessState.ExitCode(), string(b[max(0, len(b)-300):]), err
}

// look fills in what the rows of a test show.
func (r *Report) look(t Test, rows []event.Row, shell int) {
	r.Rows, r.Missing, r.Key, r.Said = map[string]int{}, nil, nil, false
	var others []event.Row // a test that runs a shell must show another than its own
	for _, row := range rows {
		r.Rows[row.Table().Name+" "+text(row, "ActionType")]++
		if said(row, shell, t.Executor, t.Command) {
			r.Said = true
		} else {
			others = append(others, row)
		}
	}
	e, _ := expectation(t.GUID)
	for _, w := range e.Rows {
		i := slices.IndexFunc(others, w.in)
		if i < 0 {
			r.Missing = append(r.Missing, w.String())
		} else if len(r.Key) < maxKept {
			r.Key = append(r.Key, brief(others[i]))
		}
	}
	for i := 0; len(r.Missing) > 0 && i < len(others) && len(r.Key) < 4*maxKept; i++ { // shows what there was instead
		r.Key = append(r.Key, brief(others[i]))
	}
}

// brief is a row in a line.
func brief(row event.Row) string {
	parts := []string{text(row, "ActionType")}
	for _, column := range []string{"ProcessCommandLine", "FolderPath", "RemoteIP", "AccountName", "AdditionalFields"} {
		if s := text(row, column); s != "" {
			parts = append(parts, fmt.Sprintf("%s=%.120s", column, s))
		}
	}
	return strings.Join(parts, " ")
}
