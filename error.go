// SPDX-License-Identifier: Apache-2.0

package picket

import "errors"

// Error kinds. Wrap one with fmt.Errorf("open spool %s: %w", path, picket.NotFound)
// and test with errors.Is. Only the api and wire packages translate kinds to
// protocol status codes.
var (
	NotFound    = errors.New("not found")
	Invalid     = errors.New("invalid")
	Denied      = errors.New("denied")
	Conflict    = errors.New("conflict")
	TooLarge    = errors.New("too large")
	Unavailable = errors.New("unavailable")
	Canceled    = errors.New("canceled")
	Internal    = errors.New("internal")
)

// Kinds lists every error kind.
func Kinds() []error {
	return []error{NotFound, Invalid, Denied, Conflict, TooLarge, Unavailable, Canceled, Internal}
}

// Kind returns the kind that err wraps, Internal when it wraps none, and nil
// for a nil error.
func Kind(err error) error {
	if err == nil {
		return nil
	}
	for _, k := range Kinds() {
		if errors.Is(err, k) {
			return k
		}
	}
	return Internal
}
