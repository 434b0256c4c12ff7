// SPDX-License-Identifier: Apache-2.0

// Package web carries the built portal inside the server's binary.
//
// It knows the files of the portal and nothing else: it serves no requests,
// reads no configuration and imports no other package of Picket. The portal's
// source (TypeScript) lives beside it; "npm run build" writes dist, which the
// next build of picketd embeds. Without that step dist holds only
// placeholder.html, so the server builds and its API works without Node.
//
// Floor: beside the floors; it may be imported by api and cmd.
package web
