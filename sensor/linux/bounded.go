// SPDX-License-Identifier: Apache-2.0

//go:build linux

package linux

// bounded is a map of at most limit entries: what was put first goes first.
type bounded[K comparable, V any] struct {
	limit int
	m     map[K]V
	order []K // with keys that are gone already
}

func newBounded[K comparable, V any](limit int) *bounded[K, V] {
	return &bounded[K, V]{limit: limit, m: map[K]V{}}
}

// put sets an entry and returns the one that had to make room for it.
func (b *bounded[K, V]) put(k K, v V) (old V, gone bool) {
	if _, ok := b.m[k]; ok {
		b.m[k] = v
		return old, false
	}
	for len(b.m) >= b.limit && len(b.order) > 0 && !gone {
		first := b.order[0]
		b.order = b.order[1:]
		old, gone = b.m[first]
		delete(b.m, first)
	}
	if len(b.order) > 2*b.limit {
		left := make([]K, 0, b.limit)
		for _, key := range b.order {
			if _, ok := b.m[key]; ok {
				left = append(left, key)
			}
		}
		b.order = left
	}
	b.m[k] = v
	b.order = append(b.order, k)
	return old, gone
}

func (b *bounded[K, V]) get(k K) V { return b.m[k] }

// take removes an entry.
func (b *bounded[K, V]) take(k K) (V, bool) {
	v, ok := b.m[k]
	delete(b.m, k)
	return v, ok
}
