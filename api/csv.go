// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/csv"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// csvAnswer streams a CSV file. A failure in the middle ends the file with a
// line that says so, because the status is sent already.
func csvAnswer(name string, write func(*csv.Writer) error, log *slog.Logger) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", "text/csv; charset=utf-8")
		ctx.SetHeader("Content-Disposition", `attachment; filename="`+fileName(name)+`"`)
		w := csv.NewWriter(patient(ctx))
		if err := write(w); err != nil {
			log.Error("export is cut short", "file", name, "error", err)
			_ = w.Write([]string{"# the export failed here and is not complete"})
		}
		w.Flush()
	}}
}

// fileName keeps what cannot end the quotes of a header or name a folder;
// device names come from the devices.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}

// writeTime is how long one write may wait for a client that does not read.
const writeTime = 30 * time.Second

// patientWriter gives each write its own deadline: a long answer may take as
// long as it needs, a client that stopped reading is let go.
type patientWriter struct {
	w  io.Writer
	rc *http.ResponseController
}

func patient(ctx huma.Context) io.Writer {
	_, w := humago.Unwrap(ctx)
	return &patientWriter{w, http.NewResponseController(w)}
}

// Write implements io.Writer.
func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(writeTime)) // a writer without deadlines is written to as it is
	return p.w.Write(b)
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
