#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles the kernel programs. The results are committed, so that a clone
# without clang builds, and are equal byte for byte whoever compiles them.
set -eu
cd "$(dirname "$0")"
# What follows the name of the sources says for whom they are compiled: Old for
# kernels before 5.17, the others for the hooks that they stand on.
for family in ${*:-Process ProcessOld File FileOld FileLSM FileFentry FileKprobe FileKprobeOld Network DNS Stream Attribute AttributeOld Image ImageOld Privilege PrivilegeOld Kernel KernelOld Socket SocketOld Script}; do
	source=$family
	flags=
	case $source in *Old) flags="$flags -DPICKET_OLD" source=${source%Old} ;; esac
	case $source in
	*LSM) flags="$flags -DPICKET_LSM" source=${source%LSM}hook ;;
	*Fentry) flags="$flags -DPICKET_FENTRY" source=${source%Fentry}hook ;;
	*Kprobe) flags="$flags -DPICKET_KPROBE" source=${source%Kprobe}hook ;;
	esac
	source=$(echo "$source" | tr '[:upper:]' '[:lower:]').bpf.c
	go tool -modfile=../tools.mod bpf2go -go-package bpf -tags linux \
		-cc clang-19 -strip llvm-strip-19 -target amd64,arm64 -no-global-types \
		"$family" "$source" -- -O2 -g -Wall -Werror -Wno-missing-declarations -mcpu=v3 \
		$flags -I. "-ffile-prefix-map=$PWD=."
done
