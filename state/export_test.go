// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"

	"github.com/uptrace/bun"
)

// Watch shows every statement to a test from now on.
func (db *DB) Watch(f func(query string)) {
	same := db.r == db.w
	db.w = db.w.WithQueryHook(watcher{f})
	if same {
		db.r = db.w
		return
	}
	db.r = db.r.WithQueryHook(watcher{f})
}

type watcher struct{ f func(string) }

func (w watcher) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (w watcher) AfterQuery(_ context.Context, e *bun.QueryEvent) { w.f(e.Query) }
