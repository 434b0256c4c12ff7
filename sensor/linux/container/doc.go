// SPDX-License-Identifier: Apache-2.0

// Package container finds out which container a process lives in: by the path
// of its control group, which every runtime names in its own way, and by what
// the runtime wrote down about the container on disk.
//
// It never talks to a runtime's socket, never looks into a container and never
// starts anything. A control group names a container because whoever made it
// said so: on a host where users may make control groups of their own, the
// name alone proves nothing, so what no runtime wrote down stays empty. State
// on disk is hostile input: bounded, checked, read only if it is a plain file.
//
// Known limits: containerd keeps the labels of a pod in a database that is not
// read here, so PodLabels are those that CRI-O, docker and podman write down;
// a container within a container has an id but no state on this host.
//
// It belongs to floor 4 and needs nothing else of Picket.
package container
