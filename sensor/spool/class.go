// SPDX-License-Identifier: Apache-2.0

package spool

import "github.com/picket-edr/picket/event"

// Class is the value of an event when not everything can be kept: lower
// classes go first. Batches hold rows of one class each.
type Class uint8

// Value classes, lowest first.
const (
	Low    Class = iota // plentiful, seldom decisive alone
	Normal              // context of what processes did
	High                // what detections rest on, and the sensor's own account
	classes
)

// Classes lists the value classes, highest first: the order in which rows
// that happened together are spooled, so that a process is known before its
// deeds arrive.
func Classes() []Class { return []Class{High, Normal, Low} }

var classNames = [classes]string{"low", "normal", "high"}

// String returns the name of the class.
func (c Class) String() string {
	if c < classes {
		return classNames[c]
	}
	return "unknown"
}

// ClassOf returns the value class of a row, by its table and action.
func ClassOf(row event.Row) Class {
	switch r := row.(type) {
	case *event.DeviceProcessEvents:
		if r.ActionType == "ProcessExited" {
			return Normal
		}
		return High
	case *event.DeviceLogonEvents:
		return High
	case *event.DeviceEvents:
		switch r.ActionType {
		case "DnsQueryRequest":
			return Low
		case "FileTimestampModificationEvent":
			return Low
		case "DnsQueryResponse", "NetworkInterfaceCreated", "NetworkInterfaceRemoved", "NetworkInterfaceUp", "NetworkInterfaceDown",
			"NetworkAddressAdded", "NetworkAddressRemoved",
			"ProcessGroupsChanged", "NamespaceCreated", "SeccompFilterSet", "MemoryFileCreated", "BpfMapCreated",
			"PerfEventOpened", "IoUringCreated", "VolumeMounted", "VolumeUnmounted":
			return Normal
		}
		return High
	case *event.DeviceFileEvents:
		switch r.ActionType {
		case "FileModified", "FileOwnerModified":
			return Low
		}
		return Normal
	case *event.DeviceNetworkEvents:
		switch r.ActionType {
		case "ConnectionFound", "ConnectionFailed", "ConnectionClosed":
			return Low
		}
		return Normal
	case *event.DeviceImageLoadEvents:
		return Low
	case *event.DeviceInfo:
		return High
	}
	return Normal
}
