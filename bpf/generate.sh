#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles the kernel programs. The results are committed, so that a clone
# without clang builds, and are equal byte for byte whoever compiles them.
set -eu
cd "$(dirname "$0")"
# Those whose name ends in Old are the same sources for kernels before 5.17.
for family in ${*:-Process ProcessOld File FileOld Network DNS Stream}; do
	source=$(echo "${family%Old}" | tr '[:upper:]' '[:lower:]').bpf.c
	old=
	[ "$family" = "${family%Old}" ] || old=-DPICKET_OLD
	go tool -modfile=../tools.mod bpf2go -go-package bpf -tags linux \
		-cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -no-global-types \
		"$family" "$source" -- -O2 -g -Wall -Werror -Wno-missing-declarations -mcpu=v3 \
		$old -I. "-ffile-prefix-map=$PWD=."
done
