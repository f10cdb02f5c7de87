package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseOptions(t *testing.T) {
	with := func(set func(*options)) options {
		o := options{configFile: defaultConfig}
		set(&o)
		return o
	}
	none := func(*options) {}
	debug := func(o *options) { o.sink, o.foreground = toStdout, true }
	tests := []struct {
		args string // words joined by |
		want options
		err  string
	}{
		{"", with(none), ""},
		{"-d", with(debug), ""},
		{"--debug", with(debug), ""},
		{"-n", with(func(o *options) { o.foreground = true }), ""},
		{"-c|F", with(func(o *options) { o.configFile = "F" }), ""},
		{"-cF", with(func(o *options) { o.configFile = "F" }), ""},
		{"-c=F", with(func(o *options) { o.configFile = "=F" }), ""},
		{"--config|F", with(func(o *options) { o.configFile = "F" }), ""},
		{"--config=F", with(func(o *options) { o.configFile = "F" }), ""},
		{"--config=", with(func(o *options) { o.configFile = "" }), ""},
		{"--config|--mktun", with(func(o *options) { o.configFile = "--mktun" }), ""},
		{"-dnc|F", with(func(o *options) { debug(o); o.configFile = "F" }), ""},
		{"-ndcF", with(func(o *options) { debug(o); o.configFile = "F" }), ""},
		{"-c|A|-c|B", with(func(o *options) { o.configFile = "B" }), ""},
		{"-unobody|-g|nogroup|-r|-p/run/t", with(func(o *options) {
			o.user, o.group, o.chroot, o.pidfile = "nobody", "nogroup", true, "/run/t"
		}), ""},
		{"--user=u|--group|g|--chroot|--pidfile=p", with(func(o *options) {
			o.user, o.group, o.chroot, o.pidfile = "u", "g", true, "p"
		}), ""},
		{"--mktun", with(func(o *options) { o.mktun = true }), ""},
		{"--rmtun", with(func(o *options) { o.rmtun = true }), ""},
		{"--help", with(func(o *options) { o.help = true }), ""},
		{"-h", with(func(o *options) { o.help = true }), ""},
		{"--version", with(func(o *options) { o.version = true }), ""},
		{"-V", with(func(o *options) { o.version = true }), ""},
		{"--check", with(func(o *options) { o.check = true }), ""},
		{"--status", with(func(o *options) { o.statusOf = "summary" }), ""},
		{"--status=leases|-cF", with(func(o *options) { o.statusOf, o.configFile = "leases", "F" }), ""},
		{"--status|leases", with(none), "unexpected word 'leases': did you mean '--status=leases'?"},
		{"--status|sessions", with(none), "unexpected word 'sessions': did you mean '--status=sessions'?"},
		{"--status=sessions||::1|-cF|tcp", with(func(o *options) {
			o.statusOf, o.selection, o.configFile = "sessions", []string{"::1", "tcp"}, "F"
		}), ""},
		{"--status=sessions|doctor", with(none), "unexpected word 'doctor': did you mean '--doctor'?"},
		{"--status=leases|::1", with(func(o *options) { o.statusOf = "leases" }), ""},
		{"doctor", with(none), "unexpected word 'doctor': did you mean '--doctor'?"},
		{"-c|doctor|--|doctor", with(func(o *options) { o.configFile = "doctor" }), ""},
		{"--doctor|--json", with(func(o *options) { o.doctor, o.json = true, true }), ""},
		{"--do", with(func(o *options) { o.doctor = true }), ""},
		{"--stat", with(func(o *options) { o.statusOf = "summary" }), ""},
		{"--js", with(func(o *options) { o.json = true }), "--json goes with --status and --doctor only"},

		// The last log sink wins.
		{"-d|--syslog", with(func(o *options) { o.foreground = true }), ""},
		{"--journal|--stdout", with(func(o *options) { o.sink = toStdout }), ""},
		{"--stdout|--journal", with(func(o *options) { o.sink = toJournal }), ""},

		// Without a file, in the foreground, with a log that a person sees.
		{"--doctor|--fix", with(func(o *options) { o.doctor, o.fix = true, true }), ""},
		{"--fix|3||--yes|--doctor|12", with(func(o *options) { o.doctor, o.fix, o.yes, o.numbers = true, true, true, []int{3, 12} }), ""},
		{"--doctor|--undo|--yes|7", with(func(o *options) { o.doctor, o.undo, o.yes = true, true, true }), ""},
		{"--doctor|--fix|0", options{}, "'0' is not the number of a command: 'tayga --doctor --fix </dev/null' lists them"},
		{"--doctor|--fix|all", options{}, "'all' is not the number of a command: 'tayga --doctor --fix </dev/null' lists them"},
		{"--doctor|fix", options{}, "unexpected word 'fix': did you mean '--fix'?"},
		{"--fix", options{}, "--fix and --undo go with --doctor only"},
		{"--undo", options{}, "--fix and --undo go with --doctor only"},
		{"--doctor|--fix|--undo", options{}, "--fix and --undo cannot be given together"},
		{"--doctor|--yes", options{}, "--yes goes with --doctor --fix and --doctor --undo only"},
		{"--clat", with(func(o *options) { o.clat, o.foreground, o.sink, o.configFile = true, true, toStdout, "" }), ""},
		{"--cl|--syslog", with(func(o *options) { o.clat, o.foreground, o.configFile = true, true, "" }), ""},
		{"--journal|--clat|-cF", with(func(o *options) { o.clat, o.foreground, o.sink, o.configFile = true, true, toJournal, "F" }), ""},
		{"--clat|-c" + defaultConfig, with(func(o *options) { o.clat, o.foreground, o.sink = true, true, toStdout }), ""},
		{"--clat|--|-d", with(func(o *options) { o.clat, o.foreground, o.sink, o.configFile = true, true, toStdout, "" }), ""},
		{"--clat|--status|--json", with(func(o *options) {
			o.clat, o.foreground, o.sink, o.configFile, o.statusOf, o.json = true, true, toStdout, "", "summary", true
		}), ""},
		{"clat", with(none), "unexpected word 'clat': did you mean '--clat'?"},
		{"--gateway|--lan|eth1|--lan=eth2|--wan|eth0|--pool|192.0.2.0/28|--print", with(func(o *options) {
			o.gateway, o.foreground, o.sink, o.configFile = true, true, toStdout, ""
			o.lan, o.wan, o.pool, o.print = []string{"eth1", "eth2"}, "eth0", "192.0.2.0/28", true
		}), ""},
		{"--gat", with(func(o *options) { o.gateway, o.foreground, o.sink, o.configFile = true, true, toStdout, "" }), ""},
		{"--gateway|--clat", options{}, "--clat and --gateway cannot be given together: start a process for each"},
		{"--gateway|-cF", options{}, "--gateway takes no file: --print prints one that does the same"},
		{"--lan|eth1", options{}, "--lan, --wan, --pool and --print go with --gateway only"},
		{"--print", options{}, "--lan, --wan, --pool and --print go with --gateway only"},
		{"--clat|--mktun", options{}, "--mktun and --rmtun make no sense with --clat and --gateway, which make a device for as long as they run"},

		// Words without a dash are ignored, and options after them still count.
		{"--config|F|--nodetach|", with(func(o *options) { o.configFile, o.foreground = "F", true }), ""},
		{"|-d|word|-|-cF", with(func(o *options) { debug(o); o.configFile = "F" }), ""},
		{"--|-d", with(none), ""},

		// Beginnings.
		{"--d", with(debug), ""},
		{"--no", with(func(o *options) { o.foreground = true }), ""},
		{"--p|F", with(func(o *options) { o.pidfile = "F" }), ""},
		{"--u=nobody", with(func(o *options) { o.user = "nobody" }), ""},
		{"--j", with(func(o *options) { o.sink = toJournal }), ""},
		{"--h", with(func(o *options) { o.help = true }), ""},
		{"--co=F", with(func(o *options) { o.configFile = "F" }), ""},
		{"--ch", with(func(o *options) { o.chroot = true }), ""},
		{"--che", with(func(o *options) { o.check = true }), ""},
		{"--j|--s", with(none), ""},
		{"--st", with(func(o *options) { o.sink = toStdout }), ""},
		{"--v", with(func(o *options) { o.version = true }), ""},
		{"--c|F", options{}, "option '--c' is ambiguous; possibilities: '--config' '--chroot'"},

		{"--frob", options{}, "unrecognized option '--frob'"},
		{"--frob=1", options{}, "unrecognized option '--frob'"},
		{"--Config=F", options{}, "unrecognized option '--Config'"},
		{"-x", options{}, "invalid option -- 'x'"},
		{"-dx", options{}, "invalid option -- 'x'"},
		{"-c", options{}, "option requires an argument -- 'c'"},
		{"-dc", options{}, "option requires an argument -- 'c'"},
		{"--config", options{}, "option '--config' requires an argument"},
		{"--co", options{}, "option '--config' requires an argument"},
		{"--nodetach=1", options{}, "option '--nodetach' doesn't allow an argument"},
		{"--no=1", options{}, "option '--nodetach' doesn't allow an argument"},
		{"--mktun|--rmtun", options{}, "--mktun and --rmtun cannot be given together"},
		{"--rmtun|--mktun", options{}, "--mktun and --rmtun cannot be given together"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var args []string
			if test.args != "" {
				args = strings.Split(test.args, "|")
			}
			got, err := parseOptions(args)
			if test.err != "" {
				assert.EqualError(t, err, test.err)
				return
			}
			assert.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

// Every option stands in the usage text and in the manual page.
func TestUsageNamesEveryOption(t *testing.T) {
	page, err := os.ReadFile("../../docs/man/tayga.8")
	assert.NoError(t, err)
	manual := strings.ReplaceAll(string(page), `\-`, "-")
	for _, opt := range append(taygaOptions, ourOptions...) {
		if opt.long != "s" {
			assert.Contains(t, usageText, "--"+opt.long)
			assert.Contains(t, manual, "--"+opt.long)
		}
		if opt.short != 0 {
			assert.Contains(t, usageText, " -"+string(opt.short)+", ")
		}
	}
}
