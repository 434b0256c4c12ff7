// SPDX-License-Identifier: Apache-2.0

package api

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/picket-edr/picket/store"
)

// sentences say what happened, by ActionType. Braces name columns; what has
// no value is left out with the words around it only where a sentence says so.
var sentences = map[string]string{
	"ProcessCreated":             "{InitiatingProcessFileName} started {FileName}",
	"ProcessExited":              "{FileName} ended",
	"ProcessFound":               "{FileName} was running when the sensor started",
	"FileCreated":                "{InitiatingProcessFileName} created {FolderPath}",
	"FileModified":               "{InitiatingProcessFileName} changed {FolderPath}",
	"FileRenamed":                "{InitiatingProcessFileName} renamed {PreviousFolderPath} to {FolderPath}",
	"FileDeleted":                "{InitiatingProcessFileName} deleted {FolderPath}",
	"ConnectionSuccess":          "{InitiatingProcessFileName} connected to {remote}",
	"ConnectionFailed":           "{InitiatingProcessFileName} could not connect to {remote}",
	"InboundConnectionAccepted":  "{InitiatingProcessFileName} accepted a connection from {remote}",
	"ListeningConnectionCreated": "{InitiatingProcessFileName} listens on {local}",
	"ConnectionFound":            "{InitiatingProcessFileName} was connected to {remote} when the sensor started",
	"ConnectionClosed":           "{InitiatingProcessFileName} ended its connection with {remote}",
	"SslConnectionInspected":     "{InitiatingProcessFileName} used TLS with {remote}",
	"HttpConnectionInspected":    "{InitiatingProcessFileName} used HTTP with {remote}",
	"SshConnectionInspected":     "{InitiatingProcessFileName} used SSH with {remote}",
	"SmtpConnectionInspected":    "{InitiatingProcessFileName} used SMTP with {remote}",
	"FtpConnectionInspected":     "{InitiatingProcessFileName} used FTP with {remote}",
	"NetworkInterfaceCreated":    "A network interface was created",
	"NetworkInterfaceRemoved":    "A network interface was removed",
	"NetworkInterfaceUp":         "A network interface was taken into service",
	"NetworkInterfaceDown":       "A network interface was taken out of service",
	"TunnelCreated":              "A tunnel was created",
	"TunnelRemoved":              "A tunnel was removed",
	"PromiscuousModeEnabled":     "A network interface takes in all packets",
	"PromiscuousModeDisabled":    "A network interface takes in its own packets only again",
	"NetworkAddressAdded":        "The address {LocalIP} was added",
	"NetworkAddressRemoved":      "The address {LocalIP} was removed",
	"DefaultRouteChanged":        "The default route changed",
	"FirewallRuleChanged":        "The rules of the packet filter changed",
	"LogonSuccess":               "{AccountName} logged on",
	"LogonFailed":                "{AccountName} failed to log on",
	"Logoff":                     "{AccountName} logged off",
	"LogonFound":                 "{AccountName} was logged on when the sensor started",
	"DnsQueryRequest":            "{InitiatingProcessFileName} asked for {DnsQueryName} ({DnsQueryType})",
	"DnsQueryResponse":           "{InitiatingProcessFileName} was told {DnsQueryName} ({DnsQueryType}): {dns}",
	"SensorStarted":              "The sensor started",
	"SensorStopped":              "The sensor stopped",
	"SensorLoss":                 "The sensor lost events",
	"SensorShedding":             "The sensor collects more or less, to stay within its budget",
	"EventsSummarized":           "Events were left out by a limit and counted",
	"SensorGap":                  "Batches of this device never arrived",
	"SensorNote":                 "The sensor told of its health",
	"DeviceSilent":               "Nothing was heard of the device",
	"DeviceSuspended":            "The host went to sleep",
	"DeviceResumed":              "The host woke up",
	"ClockChanged":               "The clock of the host was set",
}

// describe turns a row into a sentence, a chain of processes and a user.
func describe(it store.Item) TimelineEvent {
	f := it.Fields
	e := TimelineEvent{
		Time: it.Time, Table: it.Table, ActionType: f["ActionType"], ReportID: it.ReportID, BootID: it.BootID, Chain: []string{},
		User: cmp.Or(f["AccountName"], f["InitiatingProcessAccountName"]), AlertIDs: []string{}, Fields: f,
		ProcessGUID: f["InitiatingProcessUniqueId"],
	}
	own := it.Table == "DeviceProcessEvents"
	if own {
		e.ProcessGUID = f["ProcessUniqueId"]
	}
	for _, name := range []string{f["InitiatingProcessParentFileName"], f["InitiatingProcessFileName"]} {
		if name != "" {
			e.Chain = append(e.Chain, name)
		}
	}
	if own && f["FileName"] != "" {
		e.Chain = append(e.Chain, f["FileName"])
	}
	e.Title = sentence(it)
	return e
}

func sentence(it store.Item) string {
	f := it.Fields
	s, ok := sentences[f["ActionType"]]
	if !ok {
		s, ok = changeSentences[f["ActionType"]]
	}
	if !ok {
		s, ok = actionSentences[f["ActionType"]]
	}
	switch {
	case it.Table == "DeviceInfo":
		return "The device described itself"
	case it.Table == "DeviceNetworkInfo":
		return fmt.Sprintf("Network adapter %s is %s", cmp.Or(f["NetworkAdapterName"], "without name"), strings.ToLower(cmp.Or(f["NetworkAdapterStatus"], "unknown")))
	case it.Table == "DeviceEvents" && f["ActionType"] == "ScriptContent":
		return scriptSentence(f) + suffix(f)
	case !ok:
		return cmp.Or(f["ActionType"], it.Table)
	}
	if more := sensorSentence(f["ActionType"], f["AdditionalFields"]); more != "" {
		return more
	}
	for {
		from := strings.IndexByte(s, '{')
		if from < 0 {
			break
		}
		to := strings.IndexByte(s[from:], '}')
		name := s[from+1 : from+to]
		s = s[:from] + part(f, name) + s[from+to+1:]
	}
	return s + suffix(f)
}

// part is what stands for a name in braces. Braces in values would end the
// loop above too early or never, so they are taken out.
func part(f map[string]string, name string) string {
	v := ""
	extra, isExtra := strings.CutPrefix(name, "+")
	switch {
	case isExtra:
		v = changePart(f, extra)
	case name == "subject":
		v = cmp.Or(f["AccountName"], extraField(f, "GroupName"))
	case name == "remote":
		v = endpoint(cmp.Or(f["RemoteUrl"], f["RemoteIP"]), f["RemotePort"])
	case name == "local":
		v = endpoint(f["LocalIP"], f["LocalPort"])
	case name == "dns":
		v = cmp.Or(strings.Trim(f["DnsAnswers"], "[]"), f["DnsResponseCode"], "no answer")
	default:
		v = f[name]
	}
	if v == "" {
		v = "a process"
		if !strings.HasPrefix(name, "InitiatingProcess") && name != "FileName" {
			v = "something unknown"
		}
	}
	return strings.NewReplacer("{", "(", "}", ")").Replace(v)
}

func endpoint(host, port string) string {
	_, err := netip.ParseAddr(host)
	switch {
	case host == "" || port == "":
		return host
	case err != nil && (strings.HasSuffix(host, ":"+port) || strings.Contains(host, "/")):
		return host // a name with its port, or a URL
	case strings.Contains(host, ":"):
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// suffix adds what often matters.
func suffix(f map[string]string) string {
	switch f["ActionType"] {
	case "ProcessExited":
		if c := f["ProcessExitCode"]; c != "" && c != "0" {
			return " with code " + c
		}
		if sig := f["ProcessExitSignal"]; sig != "" {
			return " by signal " + sig
		}
	case "LogonSuccess", "LogonFailed":
		s := ""
		if f["RemoteIP"] != "" {
			s = " from " + f["RemoteIP"]
		}
		if f["Protocol"] != "" {
			s += " by " + f["Protocol"]
		}
		return s
	}
	return ""
}
