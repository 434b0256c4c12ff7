// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// Limits of the key-value records: they are for positions of consumers and
// small settings, not for data.
const (
	maxKey   = 200
	maxValue = 64 << 10
)

type valueRow struct {
	bun.BaseModel `bun:"table:kv"`
	Tenant        string `bun:"tenant,pk"`
	Name          string `bun:"name,pk"`
	Value         string
}

// Value returns one small value; NotFound when it was never set.
func (db *DB) Value(ctx context.Context, tenant, name string) (string, error) {
	var row valueRow
	if err := db.r.NewSelect().Model(&row).Where("tenant = ?", tenant).Where("name = ?", name).Scan(ctx); err != nil {
		return "", fmt.Errorf("value %q: %w", name, fault(err))
	}
	return row.Value, nil
}

// Values returns all values of a tenant whose name starts with prefix.
func (db *DB) Values(ctx context.Context, tenant, prefix string) (map[string]string, error) {
	var rows []valueRow
	err := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).
		Where("substr(name, 1, ?) = ?", len([]rune(prefix)), prefix).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("values %q: %w", prefix, fault(err))
	}
	out := make(map[string]string, len(rows))
	for _, r := range rows {
		out[r.Name] = r.Value
	}
	return out, nil
}

// SetValues sets any number of values together: after a crash all are there
// or none.
func (db *DB) SetValues(ctx context.Context, tenant string, values map[string]string) error {
	if len(values) == 0 {
		return nil
	}
	var rows []valueRow
	for _, k := range slices.Sorted(maps.Keys(values)) {
		v := values[k]
		if k == "" || len(k) > maxKey || clean(k, maxKey) != k || len(v) > maxValue || clean(v, maxValue) != v {
			return fmt.Errorf("value %.50q: a name of 1 to %d bytes, text of at most %d bytes: %w", k, maxKey, maxValue, picket.Invalid)
		}
		rows = append(rows, valueRow{Tenant: tenant, Name: k, Value: v})
	}
	_, err := db.w.NewInsert().Model(&rows).On("CONFLICT (tenant, name) DO UPDATE").Set("value = EXCLUDED.value").Exec(ctx)
	if err != nil {
		return fmt.Errorf("set values of tenant %q: %w", tenant, fault(err))
	}
	return nil
}

// DeleteValue removes a value; one that is not there is no error.
func (db *DB) DeleteValue(ctx context.Context, tenant, name string) error {
	if _, err := db.w.NewDelete().Table("kv").Where("tenant = ?", tenant).Where("name = ?", name).Exec(ctx); err != nil {
		return fmt.Errorf("delete value %q: %w", name, fault(err))
	}
	return nil
}

// Steps of the first-run set-up that complete by themselves.
const (
	StepSensor        = "sensor"        // a first device reports
	StepDetectionTest = "detectionTest" // the detection test raised its alert
)

// SetupStep tells when and by what a step of the set-up was completed.
type SetupStep struct {
	At         time.Time
	DeviceID   string
	DeviceName string
	AlertID    string
}

type setupRow struct {
	bun.BaseModel `bun:"table:setup_steps"`
	Tenant        string `bun:"tenant,pk"`
	Step          string `bun:"step,pk"`
	At            int64
	DeviceID      string
	DeviceName    string
	AlertID       string
}

// CompleteSetupStep marks a step complete and reports whether this call did
// it; a step completes once, later calls change nothing.
func (db *DB) CompleteSetupStep(ctx context.Context, tenant, step string, s SetupStep) (bool, error) {
	if step != StepSensor && step != StepDetectionTest {
		return false, fmt.Errorf("set-up step %q: %w", step, picket.Invalid)
	}
	row := &setupRow{
		Tenant: tenant, Step: step, At: micros(s.At), DeviceID: s.DeviceID,
		DeviceName: oneLine(s.DeviceName, maxName), AlertID: s.AlertID,
	}
	n, err := affected(db.w.NewInsert().Model(row).On("CONFLICT (tenant, step) DO NOTHING").Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("complete set-up step %s: %w", step, fault(err))
	}
	return n == 1, nil
}

// SetupSteps returns the completed steps of a tenant by name.
func (db *DB) SetupSteps(ctx context.Context, tenant string) (map[string]SetupStep, error) {
	var rows []setupRow
	if err := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).Scan(ctx); err != nil {
		return nil, fmt.Errorf("set-up steps of tenant %q: %w", tenant, fault(err))
	}
	out := make(map[string]SetupStep, len(rows))
	for _, r := range rows {
		out[r.Step] = SetupStep{At: at(r.At), DeviceID: r.DeviceID, DeviceName: r.DeviceName, AlertID: r.AlertID}
	}
	return out, nil
}

// position names of consumers live beside the other values, apart by prefix.
const positionPrefix = "position/"

// Position returns where a consumer stands (the last message it has dealt
// with); 0 when it never said.
func (db *DB) Position(ctx context.Context, tenant, consumer string) (uint64, error) {
	v, err := db.Values(ctx, tenant, positionPrefix+consumer)
	if err != nil {
		return 0, err
	}
	text, ok := v[positionPrefix+consumer]
	if !ok {
		return 0, nil
	}
	var pos uint64
	if _, err := fmt.Sscanf(strings.TrimSpace(text), "%d", &pos); err != nil {
		return 0, fmt.Errorf("position of %s is %q: %w", consumer, text, picket.Internal)
	}
	return pos, nil
}

// SetPosition records where a consumer stands.
func (db *DB) SetPosition(ctx context.Context, tenant, consumer string, pos uint64) error {
	return db.SetValues(ctx, tenant, map[string]string{positionPrefix + consumer: fmt.Sprint(pos)})
}
