// SPDX-License-Identifier: Apache-2.0

package hello

import (
	"bytes"
	"strings"
)

// Request is what the head of an HTTP request says. The query is left out: it
// is where secrets are put.
type Request struct {
	Method, Path, Version string // Version: 1.1
	Host, UserAgent       string
	Query                 bool // there was one
}

const maxHeaders = 64

// ParseRequest reads the head of an HTTP/1 request, as much as is there.
func ParseRequest(b []byte) (*Request, error) {
	line, rest, whole := bytes.Cut(b, []byte("\n"))
	f := bytes.Split(bytes.TrimSuffix(line, []byte("\r")), []byte(" "))
	if len(f) < 2 || len(f[0]) > 16 || !upper(f[0]) || len(f[1]) == 0 {
		return nil, ErrOther
	}
	r := &Request{Method: string(f[0])}
	if whole {
		version, ok := strings.CutPrefix(string(f[len(f)-1]), "HTTP/")
		if len(f) != 3 || !ok || len(version) > 3 {
			return nil, ErrOther
		}
		r.Version = clean([]byte(version))
	}
	target, _, query := bytes.Cut(f[1], []byte("?"))
	r.Path, r.Query = clean(target), query
	if _, behind, ok := strings.Cut(r.Path, "://"); ok { // to a proxy
		host, path, _ := strings.Cut(behind, "/")
		r.Host, r.Path = withoutUser(host), "/"+path
	} else if r.Method == "CONNECT" {
		r.Host = withoutUser(r.Path)
	}
	r.headers(rest)
	return r, nil
}

// withoutUser leaves out the name and password in front of a host.
func withoutUser(host string) string {
	return strings.ToLower(host[strings.LastIndexByte(host, '@')+1:])
}

// headers reads the lines up to the first empty one.
func (r *Request) headers(b []byte) {
	for range maxHeaders {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 || !whole && len(b) == 0 {
			return
		}
		b = rest
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		switch text := clean(bytes.TrimSpace(value)); strings.ToLower(string(key)) {
		case "host":
			if r.Host == "" {
				r.Host = withoutUser(text)
			}
		case "user-agent":
			r.UserAgent = text
		}
	}
}

func upper(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(b) > 0
}

// ParseSSH reads the banner of SSH: "SSH-2.0-OpenSSH_9.6 comment".
func ParseSSH(b []byte) (version, software string, err error) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	rest, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\r")), []byte("SSH-"))
	if !ok {
		return "", "", ErrOther
	}
	v, s, ok := bytes.Cut(rest[:min(len(rest), 255)], []byte("-"))
	if !ok || len(v) > 8 {
		return "", "", ErrOther
	}
	return clean(v), clean(s), nil
}

// ParseGreeting reads the line that a server begins with and says which
// protocol it speaks: Smtp, Ftp or "" when that is not certain.
func ParseGreeting(b []byte) (protocol, text string, err error) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) < 4 || string(line[:3]) != "220" || line[3] != ' ' && line[3] != '-' {
		return "", "", ErrOther
	}
	text = clean(line[4:])
	switch all := strings.ToLower(text); {
	case strings.Contains(all, "smtp") || strings.Contains(all, "mail"):
		protocol = "Smtp"
	case strings.Contains(all, "ftp"):
		protocol = "Ftp"
	}
	return protocol, text, nil
}
