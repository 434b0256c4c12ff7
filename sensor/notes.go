// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/picket-edr/picket/wire/wirepb"
)

// NoteKind is one kind of agent-health event. Numbers below 200 have the
// meaning that the same numbers have in the SENSE event log.
type NoteKind struct {
	ID      uint32
	Level   string // info, warning, error
	Meaning string
	Action  string // what an operator does about it; empty: nothing
}

// Kinds of notes that the sensor writes.
var (
	noteStarted      = NoteKind{1, "info", "The sensor started; tells the version.", ""}
	noteStopped      = NoteKind{2, "info", "The sensor stopped in order.", ""}
	noteStartFailed  = NoteKind{3, "error", "The sensor failed to start.", "See the message and the notes before it."}
	noteContact      = NoteKind{4, "info", "Connected to the server; tells its address.", ""}
	noteNoContact    = NoteKind{5, "error", "Cannot connect to the server.", "Run `picket-sensor connectivity`; check network and proxy."}
	noteNotEnrolled  = NoteKind{6, "error", "The sensor is not enrolled.", "Run `picket-sensor enrol` or `install` with a token."}
	noteIdentityBad  = NoteKind{7, "error", "The identity cannot be read.", "Check the file `identity` in the data folder; enrol again if it is damaged."}
	noteNotKept      = NoteKind{10, "error", "What the server sent (certificate, policy) cannot be written to disk.", "Check free space and permissions of the data folder."}
	notePolicyBad    = NoteKind{12, "warning", "A policy could not be applied; the one before stays in force.", "Correct the policy on the server."}
	noteDeviceID     = NoteKind{13, "info", "The device id in use.", ""}
	noteRefused      = NoteKind{15, "error", "The server refuses the command channel.", "Check whether the device was revoked; enrol again."}
	noteCopied       = NoteKind{33, "warning", "The identity was made on another machine: this host is a copy, and appears as the same device.", "Uninstall the sensor on the copy and enrol it by itself."}
	noteSpoolNear    = NoteKind{37, "warning", "The spool is nearly full; events of low value go first.", "Restore the connection or raise the limit of the spool."}
	noteStepFailed   = NoteKind{43, "error", "A part of the sensor failed and is started again.", "Report it when it repeats."}
	noteNoCollector  = NoteKind{45, "error", "The collector could not start: no events are collected.", "Run as root; see the hooks in `picket-sensor status`."}
	noteOverload     = NoteKind{46, "warning", "Events were lost because the host made more than could be taken.", "See `lost` in `picket-sensor status`; exclude noisy paths by policy."}
	noteOverloadOver = NoteKind{47, "info", "No events have been lost for a minute.", ""}
	noteHookMissing  = NoteKind{48, "warning", "A kind of event is not collected.", "See the error of the hook."}
	noteUncleanStop  = NoteKind{200, "warning", "The run before did not stop in order; what it had not written yet is lost.", ""}
	noteSpoolFull    = NoteKind{201, "error", "The spool cannot be written: disk or spool full.", "Free space on the disk of the data folder."}
	noteSpoolOK      = NoteKind{202, "info", "The spool can be written again.", ""}
	noteSpoolDamaged = NoteKind{203, "error", "Damaged batches were found in the spool and skipped.", "Check the disk."}
	noteRejected     = NoteKind{204, "error", "The server rejected a batch; it is kept in `spool/rejected`.", "Report it with the batch."}
	noteRenewed      = NoteKind{205, "info", "The certificate was renewed.", ""}
	noteNotRenewed   = NoteKind{206, "warning", "The certificate could not be renewed; it is tried again.", "Check the server; enrol again once the certificate has expired."}
	notePolicy       = NoteKind{207, "info", "A policy was applied; tells its version.", ""}
	noteClock        = NoteKind{208, "warning", "The clock differs from the server's by more than five minutes.", "Set up time synchronisation."}
	noteRenumbered   = NoteKind{209, "warning", "The server knows more batches of this boot than the spool: its files were removed. Numbers were moved up.", "Do not remove the spool of an enrolled sensor."}
)

// NoteKinds lists every kind of note by number.
var NoteKinds = []NoteKind{
	noteStarted, noteStopped, noteStartFailed, noteContact, noteNoContact, noteNotEnrolled, noteIdentityBad, noteNotKept,
	notePolicyBad, noteDeviceID, noteRefused, noteCopied, noteSpoolNear, noteStepFailed, noteNoCollector, noteOverload,
	noteOverloadOver, noteHookMissing, noteUncleanStop, noteSpoolFull, noteSpoolOK, noteSpoolDamaged, noteRejected,
	noteRenewed, noteNotRenewed, notePolicy, noteClock, noteRenumbered,
}

// maxNotes bounds the notes that wait for a connection; the oldest go first.
const maxNotes = 256

// notes writes agent-health events to the log and keeps them for the server.
type notes struct {
	log *slog.Logger

	mu      sync.Mutex
	waiting []*wirepb.Note
	number  uint64 // of the newest
}

var slogLevels = map[string]slog.Level{"info": slog.LevelInfo, "warning": slog.LevelWarn, "error": slog.LevelError}

// add writes a note. What happened goes into text; args are for the log only.
func (n *notes) add(k NoteKind, text string, args ...any) {
	n.log.Log(context.Background(), slogLevels[k.Level], text, append([]any{"event_id", k.ID}, args...)...)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == maxNotes {
		n.waiting = n.waiting[1:]
	}
	n.number++
	n.waiting = append(n.waiting, &wirepb.Note{Id: k.ID, Level: k.Level, TimeUs: time.Now().UnixMicro(), Text: text, Number: n.number})
}

// take returns the notes that wait. Put them back when they could not be sent.
func (n *notes) take() []*wirepb.Note {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.waiting
	n.waiting = nil
	return w
}

// none reports whether no notes wait.
func (n *notes) none() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.waiting) == 0
}

func (n *notes) putBack(w []*wirepb.Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w = append(w, n.waiting...)
	n.waiting = w[max(0, len(w)-maxNotes):]
}
