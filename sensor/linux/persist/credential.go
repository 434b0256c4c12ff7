// SPDX-License-Identifier: Apache-2.0

package persist

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"strings"
)

// keyTypes are how the types of SSH public keys begin.
var keyTypes = []string{"ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-", "rsa-", "webauthn-"}

// sshKey is one public key as an authorized_keys file lists it.
type sshKey struct {
	Type        string `json:"Type"`
	Fingerprint string `json:"Fingerprint"`
	Comment     string `json:"Comment,omitempty"`
	Options     string `json:"Options,omitempty"`
}

// parseKey reads a line: options, type, key, comment. Options may hold spaces
// in quotes.
func parseKey(line string) (sshKey, bool) {
	rest, quoted, from := strings.TrimSpace(line), false, 0
	if rest == "" || rest[0] == '#' {
		return sshKey{}, false
	}
	for i := 0; i <= len(rest); i++ {
		if i < len(rest) {
			if rest[i] == '"' && (i == 0 || rest[i-1] != '\\') {
				quoted = !quoted
			}
			if quoted || rest[i] != ' ' && rest[i] != '\t' {
				continue
			}
		}
		if word := rest[from:i]; isKeyType(word) {
			return keyAt(strings.TrimSpace(rest[:from]), word, strings.TrimSpace(rest[i:]))
		}
		from = i + 1
	}
	return sshKey{}, false
}

func isKeyType(word string) bool {
	for _, p := range keyTypes {
		if strings.HasPrefix(word, p) && len(word) < 64 {
			return true
		}
	}
	return false
}

func keyAt(options, kind, rest string) (sshKey, bool) {
	encoded, comment, _ := strings.Cut(rest, " ")
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(blob) < 8 {
		return sshKey{}, false
	}
	return sshKey{Type: kind, Fingerprint: fingerprint(blob), Comment: cut(strings.TrimSpace(comment), 256), Options: cut(options, 1024)}, true
}

// fingerprint is that of a key as ssh-keygen writes it.
func fingerprint(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// keyLines turns keys into their fingerprints; what is no key stays as it is.
func keyLines(_ string, b []byte) []string {
	var out []string
	for line := range strings.Lines(string(b)) {
		if len(out) == maxItems {
			break
		}
		if line = oneLine(line); line == "" {
			continue
		}
		k, ok := parseKey(line)
		if !ok {
			out = append(out, cut(line, maxItem))
			continue
		}
		out = append(out, strings.Join(strings.Fields(strings.Join([]string{k.Options, k.Type, k.Fingerprint, k.Comment}, " ")), " "))
	}
	return out
}

// keyDetail lists the keys that were added, or all there are.
func keyDetail(f *finding) map[string]any {
	fresh := map[string]bool{}
	for _, line := range f.added {
		fresh[line] = true
	}
	var keys []sshKey
	for line := range strings.Lines(string(f.data)) {
		k, ok := parseKey(oneLine(line))
		if !ok || len(keys) == maxTasks || f.known && !fresh[keyLines("", []byte(line))[0]] {
			continue
		}
		k.Options = f.t.redact(k.Options)
		keys = append(keys, k)
	}
	if keys == nil {
		return nil
	}
	return map[string]any{"Keys": keys}
}

// certificate is what is told of one.
type certificate struct {
	Subject, Issuer, Fingerprint string
	SelfSigned, Authority        bool
}

const maxCertificates = 2048

// certLines lists the certificates in a file as fingerprint and subject.
func certLines(_ string, b []byte) []string {
	var out []string
	for _, c := range certificates(b) {
		out = append(out, c.Fingerprint+" "+cut(oneLine(c.Subject), maxItem))
	}
	return out
}

// certificates reads PEM or DER. What cannot be understood is named by its
// fingerprint alone.
func certificates(b []byte) []certificate {
	var out []certificate
	if len(b) > 0 && b[0] == 0x30 {
		if c, err := x509.ParseCertificate(b); err == nil {
			return []certificate{describeCert(c)}
		}
	}
	for len(out) < maxCertificates {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if !strings.HasSuffix(block.Type, "CERTIFICATE") {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			sum := sha256.Sum256(block.Bytes)
			out = append(out, certificate{Fingerprint: hex.EncodeToString(sum[:])})
			continue
		}
		out = append(out, describeCert(c))
	}
	return out
}

func describeCert(c *x509.Certificate) certificate {
	sum := sha256.Sum256(c.Raw)
	return certificate{Subject: c.Subject.String(), Issuer: c.Issuer.String(), Fingerprint: hex.EncodeToString(sum[:]),
		SelfSigned: string(c.RawSubject) == string(c.RawIssuer), Authority: c.IsCA}
}

// certEvents tells each certificate that came or went.
func certEvents(f *finding) []Event {
	now := map[string]certificate{}
	for _, c := range certificates(f.data) {
		now[c.Fingerprint] = c
	}
	if !f.known {
		if f.prev != nil || f.now == nil {
			return f.asWhole()
		}
		f.added = certLines("", f.data)
	}
	var out []Event
	for _, item := range f.added {
		sum, _, _ := strings.Cut(item, " ")
		c := now[sum]
		e := f.event("RootCertificateInstalled", "Created")
		e.Fields["Subject"], e.Fields["Issuer"] = cut(c.Subject, tellBytes), cut(c.Issuer, tellBytes)
		e.Fields["Fingerprint"], e.Fields["SelfSigned"], e.Fields["Authority"] = sum, c.SelfSigned, c.Authority
		out = append(out, e)
	}
	for _, item := range f.removed {
		sum, subject, _ := strings.Cut(item, " ")
		e := f.event("RootCertificateRemoved", "Deleted")
		e.Fields["Subject"], e.Fields["Fingerprint"] = cut(subject, tellBytes), sum
		out = append(out, e)
	}
	return f.bound(out)
}
