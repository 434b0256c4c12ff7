// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"testing"

	"github.com/picket-edr/picket/auth"
)

// BenchmarkHashPassword is what one sign-in costs.
func BenchmarkHashPassword(b *testing.B) {
	for b.Loop() {
		auth.HashPassword("correct horse battery", auth.DefaultCost)
	}
}
