package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/steppe-nat64/steppe/internal/status"
)

// defaultConfig is where tayga.conf is unless -c says otherwise.
const defaultConfig = "/etc/tayga.conf"

// sink is where the log goes.
type sink uint8

const (
	toSyslog sink = iota
	toStdout
	toJournal

	anySink sink = 255 // while no option has named one
)

// options is the command line. The zero value of each field but configFile is
// what holds when its option is not given.
type options struct {
	configFile string // empty: --clat or --gateway without a file
	sink       sink
	foreground bool
	user       string
	group      string
	chroot     bool
	pidfile    string
	mktun      bool
	rmtun      bool
	check      bool
	statusOf   string   // what to ask the running daemon for; empty: nothing
	selection  []string // of --status=sessions: which
	doctor     bool
	fix        bool     // of --doctor: run commands
	undo       bool     // of --doctor: undo what was run
	yes        bool     // of --fix and --undo: without a question
	numbers    []int    // of --fix: which commands; none: all
	resolve    resolver // of --doctor: instead of that of the machine
	clat       bool     // translate for the programs of this machine
	gateway    bool     // translate for other machines, without a file
	lan        []string // of --gateway: interfaces of the machines
	wan        string   // of --gateway: interface towards IPv4
	pool       string   // of --gateway: addresses that are routed to this machine
	print      bool     // of --gateway: print what would be done
	json       bool
	help       bool
	version    bool
}

// An option is one name of the command line. TAYGA reads its own with GNU
// getopt_long, and so does this table: short options in bundles, arguments
// attached or after, long options by any beginning that fits one of them only.
type option struct {
	long  string
	short byte // 0: none
	arg   argument
	set   func(o *options, arg string)
}

// argument says whether an option has an argument.
type argument uint8

const (
	bare       argument = iota // none
	needsArg                   // attached or in the next word
	mayHaveArg                 // attached or none
)

// taygaOptions are those of TAYGA, all versions together.
var taygaOptions = []option{
	{"config", 'c', needsArg, func(o *options, arg string) { o.configFile = arg }},
	{"debug", 'd', bare, func(o *options, _ string) { o.sink, o.foreground = toStdout, true }},
	{"nodetach", 'n', bare, func(o *options, _ string) { o.foreground = true }},
	{"user", 'u', needsArg, func(o *options, arg string) { o.user = arg }},
	{"group", 'g', needsArg, func(o *options, arg string) { o.group = arg }},
	{"chroot", 'r', bare, func(o *options, _ string) { o.chroot = true }},
	{"pidfile", 'p', needsArg, func(o *options, arg string) { o.pidfile = arg }},
	{"mktun", 0, bare, func(o *options, _ string) { o.mktun = true }},
	{"rmtun", 0, bare, func(o *options, _ string) { o.rmtun = true }},
	{"syslog", 0, bare, func(o *options, _ string) { o.sink = toSyslog }},
	{"stdout", 0, bare, func(o *options, _ string) { o.sink = toStdout }},
	{"journal", 0, bare, func(o *options, _ string) { o.sink = toJournal }},
	{"help", 'h', bare, func(o *options, _ string) { o.help = true }},
	// TAYGA takes --s for --syslog, although --stdout begins with it too.
	{"s", 0, bare, func(o *options, _ string) { o.sink = toSyslog }},
}

// ourOptions are our own. They are looked at only if none of TAYGA's fits, so
// that --ch goes on to mean --chroot.
var ourOptions = []option{
	{"check", 0, bare, func(o *options, _ string) { o.check = true }},
	{"status", 0, mayHaveArg, func(o *options, arg string) { o.statusOf = cmp.Or(arg, string(status.Summary)) }},
	{"doctor", 0, bare, func(o *options, _ string) { o.doctor = true }},
	{"fix", 0, bare, func(o *options, _ string) { o.fix = true }},
	{"undo", 0, bare, func(o *options, _ string) { o.undo = true }},
	{"yes", 0, bare, func(o *options, _ string) { o.yes = true }},
	{"clat", 0, bare, func(o *options, _ string) { o.clat = true }},
	{"gateway", 0, bare, func(o *options, _ string) { o.gateway = true }},
	{"lan", 0, needsArg, func(o *options, arg string) { o.lan = append(o.lan, arg) }},
	{"wan", 0, needsArg, func(o *options, arg string) { o.wan = arg }},
	{"pool", 0, needsArg, func(o *options, arg string) { o.pool = arg }},
	{"print", 0, bare, func(o *options, _ string) { o.print = true }},
	{"json", 0, bare, func(o *options, _ string) { o.json = true }},
	{"version", 'V', bare, func(o *options, _ string) { o.version = true }},
}

// parseOptions reads the command line without the program's name. Words that
// are neither options nor their arguments are ignored, wherever they stand:
// clatd passes an empty one. Only those that lack the dashes of an option of ours
// are an error, worded as getopt's; and --status=sessions takes them all but empty ones.
func parseOptions(args []string) (options, error) {
	o := options{configFile: anyConfig, sink: anySink}
	var words []string
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		var err error
		switch {
		case word == "--":
			args = nil
		case strings.HasPrefix(word, "--"):
			args, err = parseLong(&o, word[2:], args)
		case strings.HasPrefix(word, "-") && len(word) > 1:
			args, err = parseShort(&o, word[1:], args)
		default:
			err = mistaken(word)
			words = append(words, word)
		}
		if err != nil {
			return o, err
		}
	}
	o.complete()
	if o.fix && o.doctor {
		var err error
		if o.numbers, err = commandNumbers(words); err != nil {
			return o, err
		}
	}
	if o.statusOf == string(status.Sessions) {
		o.selection = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	}
	return o, o.conflict()
}

// anyConfig stands for no file while no option has named one.
const anyConfig = "\x00"

// complete fills in what no option has named. What a person types to have a CLAT or a
// gateway stays in the foreground and tells that person.
func (o *options) complete() {
	alone := o.clat || o.gateway
	if o.configFile == anyConfig {
		o.configFile = defaultConfig
		if alone {
			o.configFile = ""
		}
	}
	if o.sink == anySink {
		o.sink = toSyslog
		if alone {
			o.sink = toStdout
		}
	}
	o.foreground = o.foreground || alone
}

// conflict returns what does not go together.
func (o *options) conflict() error {
	switch {
	case o.mktun && o.rmtun:
		return errors.New("--mktun and --rmtun cannot be given together")
	case o.json && o.statusOf == "" && !o.doctor:
		return errors.New("--json goes with --status and --doctor only")
	case (o.fix || o.undo) && !o.doctor:
		return errors.New("--fix and --undo go with --doctor only")
	case o.fix && o.undo:
		return errors.New("--fix and --undo cannot be given together")
	case o.yes && !o.fix && !o.undo:
		return errors.New("--yes goes with --doctor --fix and --doctor --undo only")
	case o.clat && o.gateway:
		return errors.New("--clat and --gateway cannot be given together: start a process for each")
	case (o.clat || o.gateway) && (o.mktun || o.rmtun):
		return errors.New("--mktun and --rmtun make no sense with --clat and --gateway, which make a device for as long as they run")
	case o.gateway && (o.check || o.doctor):
		return errors.New("--gateway has no file to check: --print prints one that does the same")
	case o.gateway && o.configFile != "":
		return errors.New("--gateway takes no file: --print prints one that does the same")
	case !o.gateway && (o.lan != nil || o.wan != "" || o.pool != "" || o.print):
		return errors.New("--lan, --wan, --pool and --print go with --gateway only")
	}
	return nil
}

// commandNumbers reads the numbers of commands that --fix is to run.
func commandNumbers(words []string) (list []int, err error) {
	for _, w := range words {
		if w == "" {
			continue
		}
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("'%s' is not the number of a command: 'tayga --doctor --fix </dev/null' lists them", w)
		}
		list = append(list, n)
	}
	return list, nil
}

// mistaken refuses a word that asks for something, and would start a daemon if it
// were ignored.
func mistaken(word string) error {
	meant := ""
	for _, opt := range ourOptions {
		if opt.long == word {
			meant = "--" + word
		}
	}
	if what := status.What(word); what == status.Leases || what == status.MapList || what == status.Sessions {
		meant = "--status=" + word
	}
	if meant == "" {
		return nil
	}
	return fmt.Errorf("unexpected word '%s': did you mean '%s'?", word, meant)
}

// parseLong reads the long option in word, and its argument from rest if it is
// not attached. It returns what it leaves of rest.
func parseLong(o *options, word string, rest []string) ([]string, error) {
	name, arg, attached := strings.Cut(word, "=")
	opt, err := findLong(name)
	switch {
	case err != nil:
		return nil, err
	case attached && opt.arg == bare:
		return nil, fmt.Errorf("option '--%s' doesn't allow an argument", opt.long)
	case opt.arg == needsArg && !attached && len(rest) == 0:
		return nil, fmt.Errorf("option '--%s' requires an argument", opt.long)
	case opt.arg == needsArg && !attached:
		arg, rest = rest[0], rest[1:]
	}
	opt.set(o, arg)
	return rest, nil
}

// findLong finds the option that name is, or begins.
func findLong(name string) (*option, error) {
	var found []*option
	for _, table := range [][]option{taygaOptions, ourOptions} {
		for i := range table {
			if table[i].long == name {
				return &table[i], nil
			}
			if strings.HasPrefix(table[i].long, name) {
				found = append(found, &table[i])
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("unrecognized option '--%s'", name)
	case 1:
		return found[0], nil
	}
	s := fmt.Sprintf("option '--%s' is ambiguous; possibilities:", name)
	for _, opt := range found {
		s += fmt.Sprintf(" '--%s'", opt.long)
	}
	return nil, fmt.Errorf("%s", s)
}

// parseShort reads the bundle of short options in word.
func parseShort(o *options, word string, rest []string) ([]string, error) {
	for i := 0; i < len(word); i++ {
		opt := findShort(word[i])
		switch {
		case opt == nil:
			return nil, fmt.Errorf("invalid option -- '%c'", word[i])
		case opt.arg == bare:
			opt.set(o, "")
			continue
		case i+1 < len(word):
			opt.set(o, word[i+1:])
		case len(rest) > 0:
			opt.set(o, rest[0])
			rest = rest[1:]
		default:
			return nil, fmt.Errorf("option requires an argument -- '%c'", word[i])
		}
		break
	}
	return rest, nil
}

func findShort(c byte) *option {
	for _, table := range [][]option{taygaOptions, ourOptions} {
		for i := range table {
			if table[i].short == c {
				return &table[i]
			}
		}
	}
	return nil
}

const usageText = `Usage: tayga [OPTION]...
Translate packets between IPv6 and IPv4 (NAT64, SIIT, CLAT).

  -c, --config FILE    read FILE instead of ` + defaultConfig + `
      --check          report what is wrong with the configuration, and end
      --mktun          make the TUN device persistent, and end
      --rmtun          remove the persistent TUN device, and end

      --status[=WHAT]  show how the running daemon is, and end: summary (the
                       default), leases or maps
      --status=sessions [HOST] [ADDRESS] [tcp|udp|icmp]
                       also list sessions of stateful pools: all, or those of a
                       host, an IPv4 address, a prefix, with [HOST]:PORT,
                       ADDRESS:PORT or :PORT, of a protocol
      --clat           give the programs of this machine IPv4 by way of the NAT64
                       of its network, until it ends; needs no configuration:
                       with -c, that of FILE
      --gateway        translate for machines that have only IPv6, until it ends;
                       needs no configuration
      --lan IF         with --gateway: an interface of these machines, more with
                       more options; the default is to find them
      --wan IF         with --gateway: the interface towards IPv4
      --pool PREFIX    with --gateway: IPv4 addresses that are routed to this
                       machine, for all to share
      --print          with --gateway: print the configuration and the commands
                       that it amounts to, and end

      --doctor         say what is missing on this machine, with the command
                       that fixes it, and end
      --fix [NUMBER]...
                       with --doctor: run these commands, all or those with
                       the numbers; asks for each on a terminal, and only
                       lists them elsewhere
      --undo           with --doctor: undo what --fix did
      --yes            with --fix or --undo: run the commands without a question
      --json           with --status or --doctor: print JSON

  -d, --debug          stay in the foreground and log to standard output
  -n, --nodetach       stay in the foreground
      --syslog         log to syslog (the default)
      --stdout         log to standard output
      --journal        log to the systemd journal, and tell systemd when ready

  -p, --pidfile FILE   write the process id to FILE
  -u, --user NAME      run as this user once the device is attached
  -g, --group NAME     run as this group once the device is attached
  -r, --chroot         confine the process to data-dir

  -h, --help           print this text, and end
  -V, --version        print the version, and end

See tayga(8) and tayga.conf(5).
`
