// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"sort"
	"time"
)

// LoggedOn is one account that used a device.
type LoggedOn struct {
	Account    string
	Domain     string
	LogonTypes []string
	FirstSeen  time.Time
	LastSeen   time.Time
	DaysSeen   int
	LocalAdmin bool
}

// LoggedOnUsers reads who logged on to a device since a moment, last first.
func LoggedOnUsers(ctx context.Context, ev Events, deviceID string, since time.Time) ([]LoggedOn, error) {
	rows, err := ev.Query(Within(ctx, since, time.Time{}), `SELECT "AccountName", coalesce("AccountDomain", ''), coalesce("LogonType", 'Unknown'), min("Timestamp"), max("Timestamp"), count(DISTINCT CAST("Timestamp" AS DATE)), max(CASE WHEN "IsLocalAdmin" THEN 1 ELSE 0 END)
		FROM events WHERE "DeviceId" = ? AND "TableName" = 'DeviceLogonEvents' AND "ActionType" IN ('LogonSuccess', 'LogonFound') AND "Timestamp" >= ? AND "AccountName" IS NOT NULL
		GROUP BY 1, 2, 3 ORDER BY 3`, deviceID, since.UTC())
	if err != nil {
		return nil, fmt.Errorf("users of %s: %w", deviceID, err)
	}
	defer rows.Close()
	byAccount := map[string]*LoggedOn{}
	for rows.Next() {
		var u LoggedOn
		var logon string
		var admin int64
		var first, last time.Time
		if err := rows.Scan(&u.Account, &u.Domain, &logon, &first, &last, &u.DaysSeen, &admin); err != nil {
			return nil, fmt.Errorf("users of %s: %w", deviceID, err)
		}
		key := u.Domain + `\` + u.Account
		old := byAccount[key]
		if old == nil {
			u.FirstSeen, u.LastSeen = first.UTC(), last.UTC()
			old = &u
			byAccount[key] = old
		}
		old.LogonTypes = append(old.LogonTypes, logon)
		old.LocalAdmin = old.LocalAdmin || admin > 0
		old.DaysSeen = max(old.DaysSeen, u.DaysSeen)
		if first.UTC().Before(old.FirstSeen) {
			old.FirstSeen = first.UTC()
		}
		if last.UTC().After(old.LastSeen) {
			old.LastSeen = last.UTC()
		}
	}
	users := make([]LoggedOn, 0, len(byAccount))
	for _, u := range byAccount {
		users = append(users, *u)
	}
	sort.Slice(users, func(i, j int) bool { return users[i].LastSeen.After(users[j].LastSeen) })
	return users, rows.Err()
}

// Volume is how many rows of a table one day has.
type Volume struct {
	Day   time.Time // its start
	Table string
	Rows  int64
}

// Volumes counts rows by day and table between two moments, oldest day first.
func Volumes(ctx context.Context, ev Events, from, to time.Time) ([]Volume, error) {
	rows, err := ev.Query(Within(ctx, from, to), `SELECT date_trunc('day', "Timestamp"), "TableName", count(*) FROM events WHERE "Timestamp" >= ? AND "Timestamp" < ? GROUP BY 1, 2 ORDER BY 1, 2`, from.UTC(), to.UTC())
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	defer rows.Close()
	var out []Volume
	for rows.Next() {
		var v Volume
		if err := rows.Scan(&v.Day, &v.Table, &v.Rows); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
		v.Day = v.Day.UTC()
		out = append(out, v)
	}
	return out, rows.Err()
}
