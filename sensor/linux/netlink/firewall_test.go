// SPDX-License-Identifier: Apache-2.0

//go:build linux

package netlink

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func nft(kind uint16, family byte, attrs ...[]byte) []byte {
	return wire(unix.NFNL_SUBSYS_NFTABLES<<8|kind, 0, 0, append([]byte{family, 0, 0, 0}, slices.Concat(attrs...)...))
}

func TestFirewallTransaction(t *testing.T) {
	t.Parallel()
	f := &Firewall{}
	var got []Transaction
	feed := func(b []byte) {
		Each(b, func(m Message) { f.message(m, func(t Transaction) { got = append(got, t) }) })
	}
	feed(nft(unix.NFT_MSG_NEWGEN, 0)) // of nothing
	feed(nft(unix.NFT_MSG_NEWTABLE, unix.NFPROTO_INET, attr(unix.NFTA_TABLE_NAME, name("filter"))))
	feed(nft(unix.NFT_MSG_NEWCHAIN, unix.NFPROTO_INET, attr(unix.NFTA_CHAIN_TABLE, name("filter")), attr(unix.NFTA_CHAIN_NAME, name("in"))))
	for range 3 {
		feed(nft(unix.NFT_MSG_NEWRULE, unix.NFPROTO_INET, attr(unix.NFTA_RULE_TABLE, name("filter")), attr(unix.NFTA_RULE_CHAIN, name("in"))))
	}
	feed(nft(unix.NFT_MSG_DELRULE, unix.NFPROTO_IPV4, attr(unix.NFTA_RULE_TABLE, name("nat")), attr(unix.NFTA_RULE_CHAIN, name("out"))))
	feed(nft(unix.NFT_MSG_GETRULE, unix.NFPROTO_IPV4))
	feed(nft(unix.NFT_MSG_NEWGEN, 0, attr(unix.NFTA_GEN_PROC_PID, []byte{0, 0, 1, 2}), attr(unix.NFTA_GEN_PROC_NAME, name("nft"))))
	want := []Transaction{{
		Families: []string{"inet", "ip"}, Tables: []string{"filter", "nat"}, Chains: []string{"filter/in", "nat/out"},
		Changes: map[string]int{"TableAdded": 1, "ChainAdded": 1, "RuleAdded": 3, "RuleRemoved": 1}, PID: 258, Command: "nft",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var list []string
	for i := range maxNamed + 5 {
		list = named(list, string(rune('a'+i)))
	}
	if len(list) != maxNamed || len(named(list[:3], "a")) != 3 {
		t.Errorf("%d names", len(list))
	}
}

func TestFirewallOfTheKernel(t *testing.T) {
	ownNetwork(t)
	f, err := OpenFirewall(func(uint64) { t.Error("an overrun") })
	if err != nil {
		t.Skip(err)
	}
	done := follow(t, f.Run)
	rules := filepath.Join(t.TempDir(), "rules")
	text := "table inet picket {\n set s { type ipv4_addr; elements = { 192.0.2.1 } }\n chain in { type filter hook input priority 0; ip saddr @s drop; tcp dport 22 accept; }\n}\n"
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "nft", "-f", rules)
	got := await(t, done, func(Transaction) bool { return true })
	if got.Command != "nft" || got.PID == 0 || got.Changes["RuleAdded"] != 2 || got.Changes["TableAdded"] != 1 || !slices.Equal(got.Chains, []string{"picket/in"}) ||
		!slices.Equal(got.Families, []string{"inet"}) {
		t.Errorf("%+v", got)
	}
	run(t, "nft", "flush", "ruleset")
	if got = await(t, done, func(Transaction) bool { return true }); got.Changes["TableRemoved"] != 1 {
		t.Errorf("%+v", got)
	}
}
