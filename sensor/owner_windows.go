// SPDX-License-Identifier: Apache-2.0

package sensor

import "os"

// ownLikeFolder: access is inherited from the folder here.
func ownLikeFolder(*os.File) error { return nil }
