// SPDX-License-Identifier: Apache-2.0

//go:build linux

package command

import (
	"path"
	"strings"
)

// grammar is how an interpreter reads its arguments, as far as it takes to
// find the script among them.
type grammar struct {
	inline string   // letters of options after which no script follows: the code is an argument, or a module
	value  string   // letters of options whose value follows, in the same or the next argument
	glued  string   // letters of options whose value, if any, is in the same argument
	script string   // letters of options whose value is the script
	long   []string // long options whose value is the next argument
	none   []string // long options after which no script follows
}

var shell = grammar{inline: "cs", value: "oO", long: []string{"--rcfile", "--init-file"}}

// grammars by name, without version.
var grammars = map[string]grammar{
	"sh": shell, "bash": shell, "rbash": shell, "dash": shell, "ash": shell, "zsh": shell, "ksh": shell, "mksh": shell,
	"fish":    {inline: "c", value: "CdD", none: []string{"--command"}, long: []string{"--init-command"}},
	"csh":     {inline: "c"},
	"tcsh":    {inline: "c"},
	"python":  {inline: "cm", value: "WX"},
	"pypy":    {inline: "cm", value: "WX"},
	"perl":    {inline: "eE", value: "I", glued: "mMxCDFil0V"},
	"ruby":    {inline: "e", value: "IrC", glued: "0FiKTxW", none: []string{"--eval"}},
	"node":    {inline: "ep", value: "rC", none: []string{"--eval", "--print"}, long: []string{"--require", "--import", "--loader"}},
	"php":     {inline: "rRBE", value: "dczgFtS", script: "f"},
	"lua":     {inline: "e", value: "l"},
	"tclsh":   {},
	"wish":    {},
	"expect":  {inline: "c", script: "fb"},
	"Rscript": {inline: "e"},
	"awk":     {script: "f", value: "Fv", inline: "\x00"},
	"gawk":    {script: "f", value: "Fv", inline: "\x00"},
	"mawk":    {script: "f", value: "FvW", inline: "\x00"},
	"pwsh":    {none: []string{"-c", "-Command", "-command", "-EncodedCommand", "-enc", "-e"}},
}

// Interpreter returns the name of an interpreter without its version, empty
// for other programs.
func Interpreter(image string) string {
	name := path.Base(image)
	if _, ok := grammars[name]; ok {
		return name
	}
	name = strings.TrimRight(name, "0123456789.-")
	if _, ok := grammars[name]; ok {
		return name
	}
	return ""
}

const maxArguments = 64 // looked at

// File returns the script that an interpreter was told to run, as it was
// written. Code that is itself an argument, or comes by standard input, is no
// file.
func File(image string, args []string) (interpreter, file string) {
	if path.Base(image) == "busybox" && len(args) > 0 {
		image = args[0]
		if path.Base(image) == "busybox" && len(args) > 1 {
			image, args = args[1], args[1:]
		}
	}
	interpreter = Interpreter(image)
	g, ok := grammars[interpreter]
	if !ok || len(args) < 2 {
		return interpreter, ""
	}
	return interpreter, g.find(args[1:min(len(args), maxArguments)])
}

func (g grammar) find(args []string) string {
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "-" || a == "":
			return ""
		case a == "--":
			if i+1 < len(args) && g.inline != "\x00" {
				return args[i+1]
			}
			return ""
		case contains(g.none, a):
			return ""
		case contains(g.long, a):
			i++
		case strings.HasPrefix(a, "--"), a[0] == '+' && len(a) < 8:
		case a[0] == '-' && g.none != nil && g.inline == "" && len(a) > 2: // words as options
			if strings.EqualFold(a, "-File") && i+1 < len(args) {
				return args[i+1]
			}
		case a[0] == '-':
			skip, file, done := g.letters(a[1:], args[i+1:])
			if done {
				return file
			}
			i += skip
		default:
			if g.inline == "\x00" {
				return "" // the program itself is the first argument
			}
			return a
		}
	}
	return ""
}

// letters follows options that are written together. It tells how many further
// arguments belong to them, and whether the search is over.
func (g grammar) letters(a string, rest []string) (skip int, file string, done bool) {
	for j := 0; j < len(a); j++ {
		switch c := a[j]; {
		case strings.IndexByte(g.inline, c) >= 0:
			return 0, "", true
		case strings.IndexByte(g.script, c) >= 0:
			if j+1 < len(a) {
				return 0, a[j+1:], true
			}
			if len(rest) > 0 {
				return 0, rest[0], true
			}
			return 0, "", true
		case strings.IndexByte(g.value, c) >= 0:
			if j+1 < len(a) {
				return 0, "", false
			}
			return 1, "", false
		case strings.IndexByte(g.glued, c) >= 0:
			return 0, "", false
		}
	}
	return 0, "", false
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
