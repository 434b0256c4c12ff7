// SPDX-License-Identifier: Apache-2.0

package sigma

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/picket-edr/picket"
)

// Bounds on one file.
const (
	maxFile      = 1 << 20
	maxDocuments = 1000
	maxNodes     = 100_000 // YAML nodes of one document, aliases expanded
	maxDepth     = 24
)

// Error is why a rule was refused.
type Error struct {
	File   string
	Line   int // 0 when the whole file is meant
	Reason string
}

// Error returns file, line and reason.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// Unwrap makes the error one of kind picket.Invalid.
func (e *Error) Unwrap() error { return picket.Invalid }

// fault is an error at a line of the file being read.
type fault struct {
	line   int
	reason string
}

func (f *fault) Error() string { return f.reason }

func faultf(n *yaml.Node, format string, args ...any) error {
	return &fault{n.Line, fmt.Sprintf(format, args...)}
}

// documents splits a file into the root nodes of its YAML documents.
func documents(data []byte) ([]*yaml.Node, error) {
	if len(data) > maxFile {
		return nil, &fault{0, fmt.Sprintf("%d bytes, at most %d", len(data), maxFile)}
	}
	var docs []*yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		switch {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return docs, syntaxFault(err)
		case len(docs) == maxDocuments:
			return docs, &fault{n.Line, fmt.Sprintf("more than %d documents", maxDocuments)}
		}
		if root := document(&n); root != nil {
			docs = append(docs, root)
		}
	}
}

// document returns the content of a document, nil when it is empty.
func document(n *yaml.Node) *yaml.Node {
	if n.Kind != yaml.DocumentNode || len(n.Content) == 0 {
		return nil
	}
	root := n.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	return root
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

func syntaxFault(err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatchIndex(text); m != nil {
		line, _ = strconv.Atoi(text[m[2]:m[3]])
		text = text[:m[0]] + text[m[1]:]
	}
	return &fault{line, "not YAML: " + text}
}

// measure refuses documents that are too large or too deep once their aliases
// are followed, and mappings that name a key twice.
func measure(n *yaml.Node, depth int, budget *int) error {
	*budget--
	switch {
	case *budget < 0:
		return faultf(n, "more than %d values", maxNodes)
	case depth > maxDepth:
		return faultf(n, "nested deeper than %d", maxDepth)
	case n.Kind == yaml.AliasNode:
		return measure(n.Alias, depth+1, budget)
	}
	if n.Kind == yaml.MappingNode {
		seen := make(map[string]bool, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := follow(n.Content[i])
			switch {
			case k.Kind != yaml.ScalarNode:
				return faultf(k, "a key must be a plain text")
			case k.Tag == "!!merge":
				return faultf(k, "merge keys (<<) are not part of Sigma")
			case seen[k.Value]:
				return faultf(k, "key %q appears twice", k.Value)
			}
			seen[k.Value] = true
		}
	}
	for _, c := range n.Content {
		if err := measure(c, depth+1, budget); err != nil {
			return err
		}
	}
	return nil
}

// follow returns the node that an alias stands for. Chains end, because
// measure bounded them.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// field returns the value of a key of a mapping, nil when it is not there.
func field(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if follow(n.Content[i]).Value == key {
			return follow(n.Content[i+1])
		}
	}
	return nil
}

// keyNode returns a key of a mapping itself, nil when it is not there.
func keyNode(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := follow(n.Content[i]); k.Value == key {
			return k
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// text returns a scalar as text; a missing or null one is "".
func text(root *yaml.Node, key string) (string, error) {
	n := field(root, key)
	switch {
	case n == nil || isNull(n):
		return "", nil
	case n.Kind != yaml.ScalarNode:
		return "", faultf(n, "%s must be a text", key)
	}
	return n.Value, nil
}

// texts returns a list of texts; a single text is a list of one.
func texts(root *yaml.Node, key string) ([]string, error) {
	n := field(root, key)
	switch {
	case n == nil || isNull(n):
		return nil, nil
	case n.Kind == yaml.ScalarNode:
		return []string{n.Value}, nil
	case n.Kind != yaml.SequenceNode:
		return nil, faultf(n, "%s must be a list", key)
	}
	var out []string
	for _, c := range n.Content {
		if c = follow(c); c.Kind != yaml.ScalarNode {
			return nil, faultf(c, "%s must be a list of texts", key)
		}
		if !isNull(c) {
			out = append(out, c.Value)
		}
	}
	return out, nil
}
