// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/csv"
	"log/slog"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// csvAnswer streams a CSV file. A failure in the middle ends the file with a
// line that says so, because the status is sent already.
func csvAnswer(name string, write func(*csv.Writer) error, log *slog.Logger) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", "text/csv; charset=utf-8")
		ctx.SetHeader("Content-Disposition", `attachment; filename="`+name+`"`)
		w := csv.NewWriter(ctx.BodyWriter())
		if err := write(w); err != nil {
			log.Error("export is cut short", "file", name, "error", err)
			_ = w.Write([]string{"# the export failed here and is not complete"})
		}
		w.Flush()
	}}
}

// stamp writes a time for a file: UTC, RFC 3339, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// safe keeps spreadsheets from taking a cell for a formula.
func safe(row []string) []string {
	for i, cell := range row {
		if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
			row[i] = "'" + cell
		}
	}
	return row
}
