// SPDX-License-Identifier: Apache-2.0

//go:build linux

package record

// Ways by which a shell read a line.
const (
	LineReadline = iota + 1
	LineZLE
)

// Line is what was typed into a shell.
type Line struct {
	Header
	Source     uint32
	Text       string // as the shell has it in memory: may be no text at all
	Cut        bool   // it is longer than the record may hold
	Unreadable bool   // the shell's memory was not there to be read
}

func decodeLine(c *cursor, h Header) (*Line, error) {
	r := &Line{Header: h, Source: c.u32()}
	n := c.u32()
	r.Text = CString(c.tail(n))
	r.Cut = h.Flags&FlagArgsCut != 0
	r.Unreadable = h.Flags&FlagUnreadable != 0
	return r, c.err()
}
