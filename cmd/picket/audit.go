// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/picket-edr/picket"
)

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check that an exported audit log (JSON lines) is unbroken."`
}

type auditVerifyCmd struct {
	File string `arg:"" help:"File to check." type:"existingfile"`
}

// Run checks the chain of hashes of an exported audit log.
func (a *auditVerifyCmd) Run(c *console) error {
	f, err := os.Open(a.File)
	if err != nil {
		return err
	}
	defer f.Close()
	report, err := picket.VerifyAudit(f)
	if err != nil {
		fmt.Fprintf(c.err, "%s: %v\n", a.File, err)
		return errFound
	}
	_, err = fmt.Fprintf(c.out, "%+v\n", report)
	return err
}
