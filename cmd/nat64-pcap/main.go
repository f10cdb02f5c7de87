// Command nat64-pcap translates a capture file as the tayga daemon would
// translate the packets in it:
//
//	nat64-pcap -c tayga.conf IN OUT
//
// It needs no privilege and no device. Packets that the translator would send are written
// to OUT, counters of verdicts and reasons to standard error.
//
//	main.go       the command line and the exit status
//	translate.go  runs a capture through the translator
//	reader.go     detects the kind of file; pcap.go, pcapng.go
//	link.go       finds the IP packet in a frame
//	summary.go    the counters
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/steppe-nat64/steppe/internal/plain"
	"github.com/steppe-nat64/steppe/internal/safepath"
	"github.com/steppe-nat64/steppe/internal/taygaconf"
)

const usage = `Usage: nat64-pcap [-c FILE] [-mtu BYTES] IN OUT
Translate a capture file (pcap or pcapng) between IPv6 and IPv4 as tayga would.

  -c FILE      the configuration (default /etc/tayga.conf)
  -mtu BYTES   MTU of the simulated TUN device (default 1500)

OUT holds packets without a link header. It is pcapng if its name ends in
.pcapng, else pcap. - stands for standard input and standard output.
`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main without its globals.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	stderr = plain.Writer{W: stderr}
	flags := flag.NewFlagSet("nat64-pcap", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { io.WriteString(stderr, usage) }
	conf := flags.String("c", "/etc/tayga.conf", "")
	mtu := flags.Int("mtu", 1500, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 1
	case flags.NArg() != 2:
		flags.Usage()
		return 1
	}
	if err := convert(*conf, *mtu, flags.Arg(0), flags.Arg(1), stdin, stdout, stderr); err != nil {
		say(stderr, err)
		return 1
	}
	return 0
}

// say prints one line, whatever the error holds.
func say(w io.Writer, err error) {
	io.WriteString(w, plain.Line(fmt.Sprintf("nat64-pcap: %v", err))+"\n")
}

// convert opens what run was given by name. OUT is touched only once the
// configuration and the head of IN have been found good.
func convert(conf string, mtu int, in, out string, stdin io.Reader, stdout, stderr io.Writer) error {
	x, err := newConverter(conf, mtu, stderr)
	if err != nil {
		return err
	}
	var source *os.File
	if in != "-" {
		if source, err = os.Open(in); err != nil {
			return err
		}
		defer source.Close()
		stdin = source
	}
	r, err := newReader(bufio.NewReader(stdin))
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	closeSink := func() error { return nil }
	if out != "-" {
		if same(source, out) {
			return fmt.Errorf("%s and %s are the same file", in, out)
		}
		sink, err := safepath.Create(out)
		if err != nil {
			return err
		}
		stdout, closeSink = sink, sink.Close
	}
	err = firstOf(x.copy(r, out, stdout), closeSink())
	x.summary(stderr)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	return nil
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// same reports whether name leads to the file that f is.
func same(f *os.File, name string) bool {
	if f == nil {
		return false
	}
	one, err1 := f.Stat()
	two, err2 := os.Stat(name)
	return err1 == nil && err2 == nil && os.SameFile(one, two)
}

// readConfig reads a tayga.conf and its map-file. Warnings go to w.
func readConfig(name string, w io.Writer) (*taygaconf.Config, taygaconf.MapFile, error) {
	c, problems := taygaconf.Load(name, nil)
	var maps taygaconf.MapFile
	if !problems.Failed() && c.MapFile != "" {
		var more taygaconf.Problems
		var err error
		if maps, more, err = c.LoadMaps(c.MapPath()); err != nil {
			return nil, maps, fmt.Errorf("%s: map-file: %w", name, err)
		}
		problems = append(problems, more...)
	}
	for _, p := range problems {
		say(w, p)
	}
	if problems.Failed() {
		return nil, maps, fmt.Errorf("%s has errors", name)
	}
	if c.CLAT.On {
		return nil, maps, fmt.Errorf("%s: with clat yes the network has the mapping: take a file with prefix and map", name)
	}
	return c, maps, nil
}
