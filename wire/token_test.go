// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/picket-edr/picket"
)

func sample(t testing.TB) Token {
	t.Helper()
	tok := Token{Tenant: "acme", Root: [32]byte{1, 2, 3}}
	if _, err := rand.Read(tok.Secret[:]); err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTokenRoundTrip(t *testing.T) {
	t.Parallel()
	tok := sample(t)
	got, err := ParseToken(tok.String())
	if err != nil || got != tok {
		t.Fatalf("ParseToken(String()) = %v, %v", got, err)
	}
	if other := sample(t); other.Secret == tok.Secret || other.Hash() == tok.Hash() {
		t.Error("two tokens share their secret")
	}
}

func TestParseTokenRefuses(t *testing.T) {
	t.Parallel()
	good := sample(t).String()
	p := strings.Split(good, ".")
	join := func(parts ...string) string { return strings.Join(parts, ".") }
	for name, text := range map[string]string{
		"empty":            "",
		"version":          join("pkt2", p[1], p[2], p[3]),
		"three parts":      join(p[0], p[1], p[2]),
		"five parts":       good + ".x",
		"tenant":           join(p[0], "../etc", p[2], p[3]),
		"tenant upper":     join(p[0], "Acme", p[2], p[3]),
		"empty secret":     join(p[0], p[1], "", p[3]),
		"short secret":     join(p[0], p[1], p[2][:40], p[3]),
		"long secret":      join(p[0], p[1], p[2]+"AAAA", p[3]),
		"padded":           join(p[0], p[1], p[2]+"=", p[3]),
		"standard base64":  join(p[0], p[1], "+/"+p[2][2:], p[3]),
		"line break":       join(p[0], p[1], p[2][:10]+"\n"+p[2][10:], p[3]),
		"stray bits":       join(p[0], p[1], p[2][:42]+"B", p[3]),
		"short root":       join(p[0], p[1], p[2], p[3][:8]),
		"too long":         good + strings.Repeat("A", 300),
		"control in parts": join(p[0], p[1], "\x00"+p[2][1:], p[3]),
	} {
		if _, err := ParseToken(text); !errors.Is(err, picket.Invalid) {
			t.Errorf("%s: ParseToken = %v, want Invalid", name, err)
		} else if p[2] != "" && strings.Contains(err.Error(), p[2]) {
			t.Errorf("%s: the error repeats the secret", name)
		}
	}
}

func TestTokenAsPasted(t *testing.T) {
	t.Parallel()
	tok := sample(t)
	if got, err := ParseToken("  " + tok.String() + "\r\n"); err != nil || got != tok {
		t.Errorf("ParseToken = %v, %v", got, err)
	}
}

func TestLogHidesSecret(t *testing.T) {
	t.Parallel()
	tok := sample(t)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", tok)
	if s := log.String(); strings.Contains(s, strings.Split(tok.String(), ".")[2]) || !strings.Contains(s, "acme") {
		t.Errorf("log: %s", s)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("pkt1.acme." + strings.Repeat("A", 43) + "." + strings.Repeat("A", 43))
	f.Add("pkt1...")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := ParseToken(text)
		if err != nil {
			if !errors.Is(err, picket.Invalid) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if tok.String() != strings.TrimSpace(text) {
			t.Fatalf("%q is accepted but spelled %q", text, tok.String())
		}
	})
}
