// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/picket-edr/picket/bpf"
)

// lineHooks are the programs that see the lines that shells read, and what
// each is attached to.
var lineHooks = map[string]string{
	"script_readline": "uretprobe/readline", "script_zle_enter": "uprobe/zleentry", "script_zle_leave": "uretprobe/zleentry",
}

// Functions by which shells read lines.
const (
	Readline = "readline" // of GNU readline, also within bash
	ZLEEntry = "zleentry" // of zsh
)

// OpenLines loads the programs that see the lines that shells read. They are
// attached to one shell after the other by ProbeLines.
func (k *Kernel) OpenLines() error {
	if k == nil || k.maps["bulk"] == nil {
		return fmt.Errorf("no ring to write to: %w", ebpf.ErrNotSupported)
	}
	_, coll, err := k.load(bpf.LoadScript)
	if err != nil {
		return err
	}
	defer coll.Close()
	k.adopt(coll)
	return nil
}

// ProbeLines attaches to a function of a file, which may be named by an open
// descriptor of this process. The function returned detaches, as Detach does
// with all. It may be called from any goroutine.
func (k *Kernel) ProbeLines(file, function string, offset uint64) (detach func() error, err error) {
	executable, err := link.OpenExecutable(file)
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", function, err)
	}
	at := &link.UprobeOptions{Address: offset}
	var links []link.Link
	detach = sync.OnceValue(func() error {
		var errs []error
		for _, l := range links {
			errs = append(errs, l.Close())
		}
		return errors.Join(errs...)
	})
	k.lines.Lock()
	defer k.lines.Unlock()
	if k.lines.over {
		return nil, fmt.Errorf("detached: %w", os.ErrClosed)
	}
	for name, section := range lineHooks {
		attach := executable.Uretprobe
		switch section {
		case "uprobe/" + function:
			attach = executable.Uprobe
		case "uretprobe/" + function:
		default:
			continue
		}
		l, err := attach(function, k.programs[name], at)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("probe %s: %w", function, err), detach())
		}
		links = append(links, l)
	}
	k.lines.detach = append(k.lines.detach, detach)
	return detach, nil
}

// lineProbes are the files that programs are attached to.
type lineProbes struct {
	sync.Mutex
	detach []func() error
	over   bool // nothing is attached any more
}

// end detaches from all.
func (p *lineProbes) end() error {
	p.Lock()
	defer p.Unlock()
	p.over = true
	var errs []error
	for _, detach := range p.detach {
		errs = append(errs, detach())
	}
	p.detach = nil
	return errors.Join(errs...)
}
