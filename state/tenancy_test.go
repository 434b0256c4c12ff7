// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"regexp"
	"strings"
	"testing"
)

// tenantTables are the tables whose rows belong to a tenant.
const tenantTables = `enrolment_tokens|devices|device_tags|certificates|alerts|alert_causes|alert_events|alert_evidence|alert_comments|users|sessions|api_tokens|audit|audit_heads|setup_steps|kv`

var (
	tableUse   = regexp.MustCompile(`(?:FROM|JOIN|UPDATE) "?(?:` + tenantTables + `)\b`)
	tenantTerm = regexp.MustCompile(`\btenant"? = '?[a-z"]`)
	insert     = regexp.MustCompile(`^INSERT INTO "?(?:` + tenantTables + `)"?[^(]*\("tenant"`)
	literal    = regexp.MustCompile(`'(?:[^']|'')*'`)
)

// wholeDeployment are the few statements that may look at every tenant: a
// name, a cookie or a token says by itself whose it is, and pruning is no
// answer to anybody.
var wholeDeployment = regexp.MustCompile(`^(?:SELECT .* FROM "users".* WHERE \(name = |SELECT .* FROM "(?:sessions|api_tokens)".* WHERE \(token_hash = |DELETE FROM "sessions" WHERE \(expires |DELETE FROM "api_tokens" WHERE \(expires )`)

// namesTenant reports whether every use of a tenant's table in a statement is
// bound to one tenant.
func namesTenant(query string) bool {
	switch {
	case strings.HasPrefix(query, "INSERT"):
		return insert.MatchString(query) || !regexp.MustCompile(`^INSERT INTO "?(?:`+tenantTables+`)"`).MatchString(query)
	case wholeDeployment.MatchString(query):
		return true
	}
	// What a caller sent must not count as a condition.
	bare := literal.ReplaceAllString(query, "'x'")
	return len(tenantTerm.FindAllString(bare, -1)) >= len(tableUse.FindAllString(bare, -1))
}

// watchTenancy makes every statement that a test causes prove that it stays
// in one tenant. open calls it, so that it holds for all tests of the package.
func watchTenancy(t testing.TB) func(string) {
	return func(query string) {
		if !namesTenant(query) {
			t.Errorf("statement is not bound to a tenant: %s", query)
		}
	}
}

func TestNamesTenant(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		`SELECT * FROM "devices" WHERE (id = 'a')`:                                                                        false,
		`SELECT * FROM "devices" WHERE (tenant = 'a') AND (id = 'a')`:                                                     true,
		`SELECT * FROM "devices" WHERE (name = 'tenant = ''x')`:                                                           false,
		`SELECT * FROM alerts AS a JOIN alert_events AS e ON a.id = e.alert_id WHERE (a.tenant = 'a')`:                    false,
		`SELECT * FROM alerts AS a JOIN alert_events AS e ON a.tenant = e.tenant WHERE (a.tenant = 'a')`:                  true,
		`SELECT * FROM devices AS d WHERE (d.tenant = 'a') AND EXISTS (SELECT 1 FROM device_tags AS g WHERE g.tag = 'x')`: false,
		`UPDATE "alerts" SET "status" = 'New' WHERE (id = 'a')`:                                                           false,
		`UPDATE "alerts" AS "alert_row" SET "status" = 'New' WHERE (tenant = 'a') AND (id = 'a')`:                         true,
		`DELETE FROM "kv" WHERE (name = 'a')`:                                                                             false,
		`DELETE FROM "sessions" WHERE (id = 'a')`:                                                                         false,
		`DELETE FROM "sessions" WHERE (expires <= 5 OR last_used < 4)`:                                                    true,
		`SELECT * FROM "users" AS "user_row" WHERE (name = 'ann')`:                                                        true,
		`SELECT * FROM "users" AS "user_row" WHERE (id = 'ann')`:                                                          false,
		`INSERT INTO "kv" ("tenant", "name") VALUES ('a', 'b')`:                                                           true,
		`INSERT INTO "kv" ("name", "value") VALUES ('a', 'b')`:                                                            false,
		`INSERT INTO "tenants" ("id") VALUES ('a')`:                                                                       true,
		`SELECT * FROM "tenants" WHERE (id = 'a')`:                                                                        true,
	} {
		if got := namesTenant(query); got != want {
			t.Errorf("%v, want %v: %s", got, want, query)
		}
	}
}
