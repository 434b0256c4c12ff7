// SPDX-License-Identifier: Apache-2.0

package rule

import (
	"unicode"
	"unicode/utf8"
)

// Fold appends text to dst with letter case removed. Two texts that differ
// only in case, as Unicode's simple case folding and the regexp package see
// it, become equal. ASCII letters become lower case. Bytes that are not UTF-8
// stay as they are.
func Fold(dst []byte, text string) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size <= 1 {
			dst = append(dst, c)
			i++
			continue
		}
		dst = utf8.AppendRune(dst, foldRune(r))
		i += size
	}
	return dst
}

// foldRune returns the representative of all runes that differ from r only in
// case: the smallest of them, in lower case when that is an ASCII letter.
func foldRune(r rune) rune {
	least := r
	for s := unicode.SimpleFold(r); s != r; s = unicode.SimpleFold(s) {
		least = min(least, s)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}
