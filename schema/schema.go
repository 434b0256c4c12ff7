// SPDX-License-Identifier: Apache-2.0

package schema

import "strings"

// Type is the Kusto type of a column.
type Type uint8

// Column types. Dynamic columns hold JSON text.
const (
	String Type = iota
	Long
	Int
	Real
	Bool
	Datetime
	Dynamic
)

var typeNames = [...]string{"string", "long", "int", "real", "bool", "datetime", "dynamic"}

// String returns the Kusto name of the type.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// ParseType returns the type with a Kusto name.
func ParseType(name string) (Type, bool) {
	for i, n := range typeNames {
		if n == name {
			return Type(i), true
		}
	}
	return 0, false
}

// Text reports whether values of the type are kept as strings.
func (t Type) Text() bool { return t == String || t == Dynamic }

// Column is one column of a table. A name has one type in all tables.
type Column struct {
	Name     string
	Type     Type
	JSON     bool     // a string that always holds JSON; Log Analytics types it dynamic
	Optional bool     // zero is a value; absence is told apart from it
	Unit     string   // bytes, ms, events, utc; empty when there is none
	Doc      string   // meaning, one sentence or two
	Fill     []string // who fills it: linux, windows, server; empty: nobody so far
}

// Action is one value of ActionType in a table.
type Action struct {
	Name string
	Doc  string
	Fill []string
}

// LogSource says which rows of a table a Sigma log source covers and what the
// source's fields are called here.
type LogSource struct {
	Category string
	Actions  []string          // ActionType values that belong to it
	Fields   map[string]string // Sigma field to column
	Consts   map[string]string // Sigma field to the value that it always has here
}

// Table is one table of the event model.
type Table struct {
	Name       string
	Doc        string
	Planned    []string // platforms whose sensors will fill it when none does yet
	Columns    []Column
	Actions    []Action
	LogSources []LogSource

	index map[string]int
}

// Column returns the column called name, or nil.
func (t *Table) Column(name string) *Column {
	if i, ok := t.index[name]; ok {
		return &t.Columns[i]
	}
	return nil
}

// Lookup returns the table called name, or nil.
func Lookup(name string) *Table { return byName[name] }

// Wide returns the union of the columns of all tables in a stable order: the
// layout of one physical table that holds every event.
func Wide() []Column { return append([]Column(nil), wide...) }

// WideColumn returns the column called name from any table, or nil.
func WideColumn(name string) *Column {
	if i, ok := wideIndex[name]; ok {
		return &wide[i]
	}
	return nil
}

// The indexes below are built once from the generated catalogue and never
// change afterwards.
var (
	byName          = indexTables(Tables)
	wide, wideIndex = unite(Tables)
)

func indexTables(tables []*Table) map[string]*Table {
	m := make(map[string]*Table, len(tables))
	for _, t := range tables {
		t.index = make(map[string]int, len(t.Columns))
		for i := range t.Columns {
			t.index[t.Columns[i].Name] = i
		}
		m[t.Name] = t
	}
	return m
}

func unite(tables []*Table) ([]Column, map[string]int) {
	var cols []Column
	index := map[string]int{}
	for _, t := range tables {
		for _, c := range t.Columns {
			if _, ok := index[c.Name]; ok {
				continue
			}
			index[c.Name] = len(cols)
			cols = append(cols, c)
		}
	}
	return cols, index
}

// IsServerOnly reports whether the server, not the sensor, writes the column.
func (c *Column) IsServerOnly() bool {
	return len(c.Fill) == 1 && strings.EqualFold(c.Fill[0], "server")
}
