// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

type tenantRow struct {
	bun.BaseModel `bun:"table:tenants"`
	ID            string `bun:"id,pk"`
	Name          string
	Retention     int64
	SetupDone     bool
	Created       int64
	Policy        string
	PolicyVersion int64
}

func (r *tenantRow) tenant() picket.Tenant {
	return picket.Tenant{
		ID: r.ID, Name: r.Name, Retention: time.Duration(r.Retention) * time.Microsecond,
		Created: at(r.Created), SetupDone: r.SetupDone,
	}
}

// maxName bounds a name that people give to something.
const maxName = 200

func checkTenantSettings(name string, retention time.Duration) error {
	if strings.TrimSpace(name) == "" || len(name) > maxName || clean(name, maxName) != name {
		return fmt.Errorf("tenant name: use 1 to %d characters: %w", maxName, picket.Invalid)
	}
	if retention < picket.MinRetention || retention > picket.MaxRetention {
		return fmt.Errorf("retention %s: choose %s to %s: %w", retention, picket.MinRetention, picket.MaxRetention, picket.Invalid)
	}
	return nil
}

// CreateTenant adds a tenant. A tenant of that id already there is a Conflict.
func (db *DB) CreateTenant(ctx context.Context, t picket.Tenant) error {
	if err := picket.ValidTenantID(t.ID); err != nil {
		return err
	}
	if err := checkTenantSettings(t.Name, t.Retention); err != nil {
		return err
	}
	row := &tenantRow{
		ID: t.ID, Name: t.Name, Retention: t.Retention.Microseconds(), SetupDone: t.SetupDone,
		Created: micros(t.Created), Policy: "{}",
	}
	if _, err := db.w.NewInsert().Model(row).Exec(ctx); err != nil {
		return fmt.Errorf("create tenant %s: %w", t.ID, fault(err))
	}
	return nil
}

// Tenant returns one tenant.
func (db *DB) Tenant(ctx context.Context, id string) (picket.Tenant, error) {
	var row tenantRow
	if err := db.r.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx); err != nil {
		return picket.Tenant{}, fmt.Errorf("tenant %q: %w", id, fault(err))
	}
	return row.tenant(), nil
}

// Tenants lists every tenant of the deployment, by id. It is for the server's
// own work, never for an answer to a tenant's user.
func (db *DB) Tenants(ctx context.Context) ([]picket.Tenant, error) {
	var rows []tenantRow
	if err := db.r.NewSelect().Model(&rows).Order("id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list tenants: %w", fault(err))
	}
	out := make([]picket.Tenant, len(rows))
	for i := range rows {
		out[i] = rows[i].tenant()
	}
	return out, nil
}

// TenantUpdate names the settings to change; nil leaves one as it is.
type TenantUpdate struct {
	Name      *string
	Retention *time.Duration
	SetupDone *bool
}

// UpdateTenant changes settings of a tenant and returns it as it is then.
func (db *DB) UpdateTenant(ctx context.Context, id string, u TenantUpdate) (picket.Tenant, error) {
	var row tenantRow
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		if err := db.lock(tx.NewSelect().Model(&row).Where("id = ?", id)).Scan(ctx); err != nil {
			return err
		}
		if u.Name != nil {
			row.Name = *u.Name
		}
		if u.Retention != nil {
			row.Retention = u.Retention.Microseconds()
		}
		if u.SetupDone != nil {
			row.SetupDone = *u.SetupDone
		}
		if err := checkTenantSettings(row.Name, time.Duration(row.Retention)*time.Microsecond); err != nil {
			return err
		}
		_, err := tx.NewUpdate().Model(&row).Column("name", "retention", "setup_done").Where("id = ?", id).Exec(ctx)
		return err
	})
	if err != nil {
		return picket.Tenant{}, fmt.Errorf("update tenant %q: %w", id, err)
	}
	return row.tenant(), nil
}

// SensorPolicy is what the sensors of a tenant shall do, as JSON that this
// package does not interpret.
type SensorPolicy struct {
	Version uint64 // 0: never set
	JSON    []byte
}

// maxPolicy bounds the JSON of a sensor policy.
const maxPolicy = 1 << 20

// SensorPolicy returns the policy of a tenant's sensors.
func (db *DB) SensorPolicy(ctx context.Context, tenant string) (SensorPolicy, error) {
	var row tenantRow
	if err := db.r.NewSelect().Model(&row).Column("policy", "policy_version").Where("id = ?", tenant).Scan(ctx); err != nil {
		return SensorPolicy{}, fmt.Errorf("sensor policy of tenant %q: %w", tenant, fault(err))
	}
	return SensorPolicy{Version: uint64(row.PolicyVersion), JSON: []byte(row.Policy)}, nil
}

// SetSensorPolicy replaces the policy when its version is still the one that
// the caller read (otherwise Conflict) and returns the new version.
func (db *DB) SetSensorPolicy(ctx context.Context, tenant string, policy []byte, read uint64) (uint64, error) {
	if len(policy) > maxPolicy || !json.Valid(policy) {
		return 0, fmt.Errorf("sensor policy: JSON of at most %d bytes: %w", maxPolicy, picket.Invalid)
	}
	n, err := affected(db.w.NewUpdate().Table("tenants").
		Set("policy = ?", string(policy)).Set("policy_version = policy_version + 1").
		Where("id = ?", tenant).Where("policy_version = ?", int64(read)).Exec(ctx))
	if err != nil {
		return 0, fmt.Errorf("set the sensor policy of tenant %q: %w", tenant, fault(err))
	}
	if n == 1 {
		return read + 1, nil
	}
	if _, err := db.Tenant(ctx, tenant); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("set the sensor policy of tenant %q: changed since version %d: %w", tenant, read, picket.Conflict)
}
