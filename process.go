// SPDX-License-Identifier: Apache-2.0

package picket

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// ProcessGUID identifies one process for ever: 32 lower-case hexadecimal
// digits derived from the device, the boot, the process id and the start time
// in nanoseconds since boot. A process id alone is reused within minutes on a
// busy host, so nothing in Picket refers to a process by id only.
func ProcessGUID(deviceID, bootID string, pid uint32, startNs uint64) string {
	h := sha256.New()
	h.Write([]byte("picket process\x00"))
	h.Write([]byte(deviceID))
	h.Write([]byte{0})
	h.Write([]byte(bootID))
	h.Write([]byte{0})
	var b [12]byte
	binary.LittleEndian.PutUint32(b[:4], pid)
	binary.LittleEndian.PutUint64(b[4:], startNs)
	h.Write(b[:])
	return hex.EncodeToString(h.Sum(nil)[:16])
}
