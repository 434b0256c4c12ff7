// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"connectrpc.com/connect"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/wire"
	"github.com/picket-edr/picket/wire/wirepb"
	"github.com/picket-edr/picket/wire/wirepb/wirepbconnect"
)

// EnrolOptions say where a sensor enrols and with what.
type EnrolOptions struct {
	Dir    string // data folder; made when it is not there
	Server string // host:port
	Token  string
	Proxy  string // as for ParseProxy
	Facts  *wirepb.Facts
}

// Enrol makes a key, exchanges the token for an identity and keeps it in the
// data folder. A folder that holds an identity already is left as it is: the
// error wraps picket.Conflict. Errors of the server wrap the kind they are of.
func Enrol(ctx context.Context, o EnrolOptions) (*Identity, error) {
	token, err := wire.ParseToken(o.Token)
	if err != nil {
		return nil, err
	}
	server, err := ParseServer(o.Server)
	if err != nil {
		return nil, err
	}
	if old, err := LoadIdentity(o.Dir); !errors.Is(err, picket.NotFound) {
		if err != nil {
			return nil, fmt.Errorf("%s holds an identity that cannot be read; remove it to enrol anew: %w: %w", filepath.Join(o.Dir, identityFile), err, picket.Conflict)
		}
		return nil, fmt.Errorf("enrolled already as device %s of tenant %s at %s; uninstall first to enrol anew: %w", old.DeviceID, old.Tenant, old.Server, picket.Conflict)
	}
	ways, err := Ways(o.Proxy, server)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	key, csr, err := newKey()
	if err != nil {
		return nil, err
	}
	req := &wirepb.EnrolRequest{Token: token.String(), Csr: csr, Facts: o.Facts}
	res, err := callEnrol(ctx, ways, server, token, req)
	if err != nil {
		return nil, err
	}
	id := &Identity{
		DeviceID: res.DeviceId, Tenant: res.Tenant, Group: res.Group, Server: server, MachineID: o.Facts.GetMachineId(),
		Enrolled: time.Now().UTC().Truncate(time.Second), Key: key, Chain: res.CertificateChain, Roots: res.ServerRoots,
	}
	if id.Tenant != token.Tenant {
		return nil, fmt.Errorf("enrol: the server answered for tenant %q: %w", id.Tenant, picket.Invalid)
	}
	if _, err := id.parse(); err != nil {
		return nil, fmt.Errorf("enrol: the server's answer: %w", err)
	}
	return id, id.save(o.Dir)
}

// callEnrol tries each way until the server answers, whatever it answers.
func callEnrol(ctx context.Context, ways []Way, server string, token wire.Token, req *wirepb.EnrolRequest) (*wirepb.EnrolResponse, error) {
	var errs []error
	for _, way := range ways {
		t := newTransport(way, pinnedTLS(server, token.Root))
		c := wirepbconnect.NewEnrolmentClient(client(t), "https://"+server, connect.WithReadMaxBytes(maxReceive))
		call, cancel := context.WithTimeout(ctx, callTimeout)
		res, err := c.Enrol(call, connect.NewRequest(req))
		cancel()
		t.CloseIdleConnections()
		if err == nil {
			return res.Msg, nil
		}
		err = fmt.Errorf("enrol at %s (%s): %w", server, way, fromWire(err))
		if connect.IsWireError(err) {
			return nil, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// wireError is an answer of the server with the kind that it stands for.
type wireError struct {
	err  *connect.Error
	kind error
}

func (e *wireError) Error() string   { return e.err.Message() }
func (e *wireError) Unwrap() []error { return []error{e.err, e.kind} }

// fromWire gives an error of a call one of picket's kinds.
func fromWire(err error) error {
	kinds := map[connect.Code]error{
		connect.CodeNotFound: picket.NotFound, connect.CodeInvalidArgument: picket.Invalid, connect.CodePermissionDenied: picket.Denied,
		connect.CodeUnauthenticated: picket.Denied, connect.CodeAborted: picket.Conflict, connect.CodeResourceExhausted: picket.TooLarge,
		connect.CodeUnavailable: picket.Unavailable, connect.CodeCanceled: picket.Canceled, connect.CodeDeadlineExceeded: picket.Unavailable,
	}
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return err
	}
	kind, ok := kinds[ce.Code()]
	if !ok {
		kind = picket.Internal
	}
	return &wireError{ce, kind}
}
