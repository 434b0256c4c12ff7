// SPDX-License-Identifier: Apache-2.0

package schema

import "testing"

func TestEveryTableHasAProducer(t *testing.T) {
	t.Parallel()
	for _, table := range Tables {
		filled := false
		for _, c := range table.Columns {
			filled = filled || (len(c.Fill) > 0 && !c.IsServerOnly() && c.Name != "Timestamp" && c.Name != "ReportId")
		}
		if !filled && len(table.Planned) == 0 {
			t.Errorf("%s: no sensor fills it and it is not marked planned", table.Name)
		}
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	for _, table := range Tables {
		if Lookup(table.Name) != table {
			t.Errorf("Lookup(%s) is another table", table.Name)
		}
		for i := range table.Columns {
			c := &table.Columns[i]
			if table.Column(c.Name) != c {
				t.Errorf("%s.Column(%s) is another column", table.Name, c.Name)
			}
			if w := WideColumn(c.Name); w == nil || w.Type != c.Type {
				t.Errorf("%s.%s is not in the wide table with its type", table.Name, c.Name)
			}
			if c.Doc == "" {
				t.Errorf("%s.%s has no meaning", table.Name, c.Name)
			}
		}
	}
	if Lookup("Nope") != nil || WideColumn("Nope") != nil {
		t.Error("unknown names must give nil")
	}
}

func TestTypeNames(t *testing.T) {
	t.Parallel()
	for typ := String; typ <= Dynamic; typ++ {
		if got, ok := ParseType(typ.String()); !ok || got != typ {
			t.Errorf("%s does not parse back", typ)
		}
	}
	if _, ok := ParseType("varchar"); ok {
		t.Error("unknown type accepted")
	}
}
