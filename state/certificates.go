// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/picket-edr/picket"
)

// Certificate is one client certificate that a device was given.
type Certificate struct {
	Serial    string // as the CA spells it; unique in the tenant
	DeviceID  string
	NotBefore time.Time
	NotAfter  time.Time
	Revoked   time.Time // zero: not revoked
	Reason    string    // of the revocation
}

type certificateRow struct {
	bun.BaseModel `bun:"table:certificates"`
	Tenant        string `bun:"tenant,pk"`
	Serial        string `bun:"serial,pk"`
	DeviceID      string
	NotBefore     int64
	NotAfter      int64
	Revoked       int64
	Reason        string
}

func (r *certificateRow) certificate() Certificate {
	return Certificate{
		Serial: r.Serial, DeviceID: r.DeviceID, NotBefore: at(r.NotBefore), NotAfter: at(r.NotAfter),
		Revoked: at(r.Revoked), Reason: r.Reason,
	}
}

// AddCertificate records a certificate that was issued to a device. It is
// called before the certificate leaves the server. An offboarded device gets
// none: Denied.
func (db *DB) AddCertificate(ctx context.Context, tenant string, c Certificate) error {
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		var offboarded bool
		q := tx.NewSelect().Table("devices").Column("offboarded").Where("tenant = ?", tenant).Where("id = ?", c.DeviceID)
		if err := db.lock(q).Scan(ctx, &offboarded); err != nil {
			return err
		}
		if offboarded {
			return fmt.Errorf("device is offboarded: %w", picket.Denied)
		}
		return db.addCertificate(ctx, tx, tenant, c)
	})
	if err != nil {
		return fmt.Errorf("certificate of device %.50q: %w", c.DeviceID, err)
	}
	return nil
}

func (db *DB) addCertificate(ctx context.Context, tx bun.Tx, tenant string, c Certificate) error {
	if c.Serial == "" || len(c.Serial) > 128 {
		return fmt.Errorf("certificate serial of %d characters: %w", len(c.Serial), picket.Invalid)
	}
	row := &certificateRow{
		Tenant: tenant, Serial: c.Serial, DeviceID: c.DeviceID, NotBefore: micros(c.NotBefore), NotAfter: micros(c.NotAfter),
	}
	if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
		return fmt.Errorf("add certificate %s: %w", c.Serial, fault(err))
	}
	return nil
}

// CheckCertificate reports whether a certificate may be used by a device:
// nil, or an error of kind Denied that says why not.
func (db *DB) CheckCertificate(ctx context.Context, tenant, deviceID, serial string, now time.Time) error {
	var rows []certificateRow
	err := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).Where("serial = ?", serial).Scan(ctx)
	if err != nil {
		return fmt.Errorf("check certificate %s: %w", serial, fault(err))
	}
	reason := "is not known"
	if len(rows) == 1 && rows[0].DeviceID == deviceID {
		switch c := rows[0].certificate(); {
		case !c.Revoked.IsZero():
			reason = "was revoked"
		case now.After(c.NotAfter):
			reason = "has expired"
		default:
			return nil
		}
	}
	return fmt.Errorf("certificate %s of device %s %s: %w", serial, deviceID, reason, picket.Denied)
}

// Certificates lists the certificates of a device, the latest first.
func (db *DB) Certificates(ctx context.Context, tenant, deviceID string) ([]Certificate, error) {
	var rows []certificateRow
	err := db.r.NewSelect().Model(&rows).Where("tenant = ?", tenant).Where("device_id = ?", deviceID).
		OrderExpr("not_after DESC, serial").Limit(1000).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list certificates of device %s: %w", deviceID, fault(err))
	}
	out := make([]Certificate, len(rows))
	for i := range rows {
		out[i] = rows[i].certificate()
	}
	return out, nil
}

// RevokedSerials lists the revoked certificates of a tenant that have not
// expired, for a gateway that keeps them in memory.
func (db *DB) RevokedSerials(ctx context.Context, tenant string, now time.Time) ([]string, error) {
	var out []string
	err := db.r.NewSelect().Table("certificates").Column("serial").Where("tenant = ?", tenant).
		Where("revoked <> 0").Where("not_after >= ?", micros(now)).Order("serial").Scan(ctx, &out)
	if err != nil {
		return nil, fmt.Errorf("list revoked certificates of tenant %q: %w", tenant, fault(err))
	}
	return out, nil
}

// RevokeDevice revokes every certificate of a device and marks the device
// offboarded: it cannot connect, renew or send any more. Its data stays until
// retention ends. It returns the serials that were revoked by this call.
func (db *DB) RevokeDevice(ctx context.Context, tenant, deviceID, reason string, now time.Time) ([]string, error) {
	var serials []string
	err := db.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		n, err := affected(tx.NewUpdate().Table("devices").Set("offboarded = ?", true).
			Where("tenant = ?", tenant).Where("id = ?", deviceID).Exec(ctx))
		if err != nil {
			return err
		}
		if n == 0 {
			return picket.NotFound
		}
		err = tx.NewSelect().Table("certificates").Column("serial").Where("tenant = ?", tenant).
			Where("device_id = ?", deviceID).Where("revoked = 0").Order("serial").Scan(ctx, &serials)
		if err != nil {
			return err
		}
		_, err = tx.NewUpdate().Table("certificates").Set("revoked = ?", micros(now)).Set("reason = ?", oneLine(reason, maxName)).
			Where("tenant = ?", tenant).Where("device_id = ?", deviceID).Where("revoked = 0").Exec(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("revoke device %s: %w", deviceID, err)
	}
	return serials, nil
}
