// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/picket-edr/picket"
)

type tokenCmd struct {
	Server       string `help:"URL of the portal." required:"" placeholder:"URL"`
	User         string `help:"User to sign in as." required:""`
	PasswordFile string `help:"File that holds the password." required:"" type:"existingfile" placeholder:"FILE"`
}

// Run prints a bearer token for the REST API.
func (t *tokenCmd) Run(ctx context.Context, c *console) error {
	password, err := os.ReadFile(t.PasswordFile)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"user": t.User, "password": strings.TrimSpace(string(password))})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(t.Server, "/")+"/api/portal/tokens", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", err, picket.Unavailable)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	var answer struct{ Token, Detail string }
	if err := json.Unmarshal(data, &answer); err != nil || answer.Token == "" {
		return fmt.Errorf("%s: %s: %w", resp.Status, answer.Detail, picket.Denied)
	}
	_, err = fmt.Fprintln(c.out, answer.Token)
	return err
}
