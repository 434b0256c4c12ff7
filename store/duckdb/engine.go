// SPDX-License-Identifier: Apache-2.0

package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/picket-edr/picket"
)

// memory is the database in memory that holds the tables of new rows. It is
// attached to an instance whose own file stays empty: the driver can open a
// second, native connection only on an instance that has a path.
const memory = "hot.main"

// engine is one instance of DuckDB that can see the files of one directory
// and nothing else.
type engine struct {
	connector *duckdb.Connector
	db        *sql.DB // for statements of our own
	native    mapping.Database
	conn      mapping.Connection // native, for appending
}

// openEngine starts an instance. Its scratch space is cleared: spilled data
// of an instance that was killed stays behind otherwise.
func openEngine(dir, scratch string, memoryMB, threads int) (*engine, error) {
	tmp := filepath.Join(dir, scratch)
	if err := os.RemoveAll(tmp); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(tmp, "instance")
	connector, err := duckdb.NewConnector(path, nil)
	if err != nil {
		return nil, err
	}
	e := &engine{connector: connector, db: sql.OpenDB(connector)}
	if err := e.configure(dir, tmp, memoryMB, threads); err != nil {
		e.close()
		return nil, err
	}
	if err := e.connectNative(path); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *engine) configure(dir, tmp string, memoryMB, threads int) error {
	for _, set := range []string{
		fmt.Sprintf("SET memory_limit = '%dMiB'", memoryMB),
		fmt.Sprintf("SET threads = %d", threads),
		"SET checkpoint_threshold = '1TB'", // a checkpoint would compress rows that leave memory soon
		"SET preserve_insertion_order = false",
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET temp_directory = " + quote(filepath.Join(tmp, "spill")),
		"ATTACH ':memory:' AS hot",
		"SET allowed_directories = [" + quote(dir) + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	} {
		if _, err := e.db.Exec(set); err != nil {
			return fmt.Errorf("%s: %w", set, err)
		}
	}
	return nil
}

func (e *engine) connectNative(path string) error {
	var config mapping.Config
	if mapping.CreateConfig(&config) == mapping.StateError {
		return fmt.Errorf("no configuration: %w", picket.Internal)
	}
	defer mapping.DestroyConfig(&config)
	// The cache hands out an instance only for the configuration it was made with.
	if mapping.SetConfig(config, "duckdb_api", "go") == mapping.StateError {
		return fmt.Errorf("configuration refused: %w", picket.Internal)
	}
	var message string
	if mapping.GetOrCreateFromCache(duckdb.GetInstanceCache(), path, &e.native, config, &message) == mapping.StateError {
		return fmt.Errorf("native connection: %s: %w", message, picket.Internal)
	}
	if mapping.Connect(e.native, &e.conn) == mapping.StateError {
		return fmt.Errorf("native connection refused: %w", picket.Internal)
	}
	return nil
}

// run executes a statement on the native connection.
func (e *engine) run(statement string) error {
	var res mapping.Result
	state := mapping.Query(e.conn, statement, &res)
	defer mapping.DestroyResult(&res)
	if state == mapping.StateError {
		return fmt.Errorf("%s: %s: %w", statement, mapping.ResultError(&res), picket.Internal)
	}
	return nil
}

func (e *engine) exec(ctx context.Context, statement string) error {
	_, err := e.db.ExecContext(ctx, statement)
	return err
}

func (e *engine) close() {
	if e.conn.Ptr != nil {
		mapping.Disconnect(&e.conn)
	}
	if e.native.Ptr != nil {
		mapping.Close(&e.native)
	}
	_ = e.db.Close() // closes the connector too; nothing of value is in the instance
}

// quote writes an SQL string literal.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// name writes an SQL identifier.
func name(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
