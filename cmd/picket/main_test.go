// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"picket": main})
}

// TestScripts runs the program as a user does; see testdata/script.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":   status,
			"lastline": lastLine,
		},
		Setup: func(e *testscript.Env) error {
			abs, err := filepath.Abs(filepath.Join("..", "..", "content", "rules"))
			e.Setenv("CONTENT", abs)
			return err
		},
	})
}

// status N PROGRAM ARGS... runs a program and wants exit status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARGS...")
	}
	got := 0
	var failed *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &failed):
		got = failed.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if args[0] != strconv.Itoa(got) {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// lastline FILE KEY VALUE: the last line of FILE is a JSON object whose KEY has
// the VALUE, given as JSON.
func lastLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: lastline FILE KEY VALUE")
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n")
	for _, l := range lines {
		if !json.Valid([]byte(l)) {
			ts.Fatalf("not JSON: %s", l)
		}
	}
	var last map[string]json.RawMessage
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &last))
	if got := string(last[args[1]]); got != args[2] {
		ts.Fatalf("%s is %s, want %s", args[1], got, args[2])
	}
}
