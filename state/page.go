// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// Page sizes of lists.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// sortKey is one order that a list offers. Text keys compare as text, others
// as integers; the record's id breaks ties.
type sortKey struct {
	expr string // over the columns of the list, aliased t
	text bool
}

// cursor marks where the next page begins. It is handed to clients as opaque
// text, and what comes back is checked like any other input.
type cursor struct {
	Sort string `json:"s"`
	Text string `json:"t,omitempty"`
	Num  int64  `json:"n,omitempty"`
	ID   string `json:"i"`
}

func (c cursor) String() string {
	b, err := json.Marshal(c)
	if err != nil { // strings and numbers always marshal
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(s string) (cursor, error) {
	var c cursor
	if len(s) > 4096 {
		return c, fmt.Errorf("cursor of %d bytes: %w", len(s), picket.Invalid)
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fmt.Errorf("cursor: %v: %w", err, picket.Invalid)
	}
	c.Text, c.ID = clean(c.Text, 4096), clean(c.ID, 4096)
	return c, nil
}

// page is one request for a part of a list.
type page struct {
	sort  string // key, with a dash before it for descending
	limit int
	from  *cursor
	key   sortKey
	desc  bool
}

// newPage checks a request for a page against the orders that a list offers.
func newPage(keys map[string]sortKey, order, fallback, from string, limit int) (page, error) {
	if order == "" {
		order = fallback
	}
	name, desc := strings.CutPrefix(order, "-")
	key, ok := keys[name]
	if !ok {
		return page{}, fmt.Errorf("cannot sort by %.50q: %w", name, picket.Invalid)
	}
	if limit == 0 {
		limit = DefaultLimit
	}
	if limit < 1 || limit > MaxLimit {
		return page{}, fmt.Errorf("page of %d items: ask for 1 to %d: %w", limit, MaxLimit, picket.Invalid)
	}
	p := page{sort: order, limit: limit, key: key, desc: desc}
	if from != "" {
		c, err := parseCursor(from)
		if err != nil {
			return page{}, err
		}
		if c.Sort != order {
			return page{}, fmt.Errorf("cursor belongs to a list sorted by %.50q: %w", c.Sort, picket.Invalid)
		}
		p.from = &c
	}
	return p, nil
}

// apply adds order, start and length to a query over a list aliased t that
// has a column id. One row more than the page is asked for, to know whether
// there is a next page.
func (p page) apply(q *bun.SelectQuery) *bun.SelectQuery {
	dir, than := "ASC", ">"
	if p.desc {
		dir, than = "DESC", "<"
	}
	if p.key.text {
		q = q.ColumnExpr(p.key.expr + " AS sort_text").ColumnExpr("0 AS sort_num")
	} else {
		q = q.ColumnExpr("'' AS sort_text").ColumnExpr(p.key.expr + " AS sort_num")
	}
	if p.from != nil {
		var v any = p.from.Num
		if p.key.text {
			v = p.from.Text
		}
		q = q.Where(fmt.Sprintf("(%[1]s %[2]s ? OR (%[1]s = ? AND t.id %[2]s ?))", p.key.expr, than), v, v, p.from.ID)
	}
	return q.OrderExpr(p.key.expr + " " + dir + ", t.id " + dir).Limit(int64(p.limit) + 1)
}

// next returns the cursor after a row.
func (p page) next(text string, num int64, id string) string {
	return cursor{Sort: p.sort, Text: text, Num: num, ID: id}.String()
}

// contains makes the pattern of a LIKE ... ESCAPE '!' that finds s anywhere.
func contains(s string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(clean(s, 500))) + "%"
}
