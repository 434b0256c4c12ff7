// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ownLikeFolder gives a new file to the owner of its folder, if root makes it.
func ownLikeFolder(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("give %s to user %d: %w", f.Name(), st.Uid, err)
	}
	return nil
}
