# Everything here runs the same by hand and in CI.
GO ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.8.0
BENCHSTAT = golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

.PHONY: deb deb-check demo test build format vet lint unit fuzz vuln mutants cover reference twin faults soak netns peers recipes generate fastpath fastpath-mutants kernels bench-fastpath bench bench-ab bench-smoke bench-names bench-compare bench-sessions bench-shared bench-fast

# The main job in a laboratory: needs root and /dev/net/tun.
demo: build
	@scripts/need nft=nftables
	@$(GO) run ./internal/cmd/demo -tayga bin/tayga

# Everything that has to hold.
test:
	@scripts/need gcc=gcc clang=clang nft=nftables iptables=iptables ip=iproute2 sysctl=procps ping=iputils-ping traceroute=traceroute mtr=mtr-tiny dig=bind9-dnsutils ethtool=ethtool named=bind9 radvd=radvd
	@$(MAKE) --no-print-directory format vet lint unit

build:
	@CGO_ENABLED=0 $(GO) build -o bin/ ./cmd/...

# A Debian package of the programs, their pages and units: make deb VERSION=1.0 for
# a release, GOARCH=arm64 for another processor.
deb:
	@scripts/deb bin

# The package, installed in the place of tayga in a Debian of its own, which is
# downloaded once.
deb-check:
	@scripts/need debootstrap=debootstrap
	STEPPE_DEB=1 STEPPE_REQUIRE_NETNS=1 $(GO) test -count 1 -v -timeout 30m ./packaging

format:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt these: $$files"; exit 1; }

vet:
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=freebsd $(GO) vet ./translate ./pool ./session ./fastpath ./tun
	GOARCH=386 $(GO) vet ./translate ./pool ./session ./fastpath ./tun
	GOARCH=s390x $(GO) vet ./translate ./pool ./session ./fastpath ./tun

lint:
	$(GO) run $(STATICCHECK) ./...

unit:
	CGO_ENABLED=1 $(GO) test -race -timeout 25m ./...

# A minute for every fuzz target: make fuzz FUZZTIME=10m for more.
FUZZTIME ?= 1m
fuzz:
	@scripts/fuzz $(FUZZTIME)

# Known vulnerabilities that our code reaches; skipped, with a message, without a way to the
# database.
vuln:
	@scripts/vuln $(GOVULNCHECK)

# Rules of translate broken on purpose, one at a time: some test notices each.
mutants:
	@$(GO) run ./internal/cmd/mutants

# Which part of the statements the tests reach, at least as promised; the lines that
# they do not reach: make cover COVERFLAGS=-v
cover:
	@scripts/need clang=clang
	@STEPPE_REQUIRE_NETNS=1 scripts/cover $(COVERFLAGS)

# The objects of the program for the kernel, from fastpath/bpf.
generate:
	@scripts/need clang=clang llvm-strip=llvm
	$(GO) generate ./fastpath
	clang --version | head -n 1 >fastpath/bpf/compiler

# A million packets and more through the program for the kernel, compared with translate.
# Needs root.
fastpath:
	STEPPE_REQUIRE_NETNS=1 $(GO) test ./fastpath -count 1 -run 'Compare|Prove' -timeout 60m -v -generated 1000000

# Tests of the program and of the daemon on kernels of Debian: 6.12, which has the fast path, and
# 6.1, which has not. In virtual machines, whose kernels are downloaded once: minutes if this
# machine's processor has to emulate them. One of them: make kernels KERNEL=6.1
kernels:
	@scripts/need qemu-system-x86_64=qemu-system-x86 busybox=busybox-static modprobe=kmod cpio=cpio xz=xz-utils nft=nftables ip=iproute2
	@scripts/kernels $(KERNEL)

# Nanoseconds that the program takes for a packet: by host and by session, of one, a thousand and
# a million. Needs root, and some minutes.
bench-fastpath:
	STEPPE_REQUIRE_NETNS=1 $(GO) test ./fastpath -run '^$$' -bench Fastpath -benchtime 3000x -timeout 60m

# Rules of that program broken on purpose, one at a time: some test notices each.
fastpath-mutants:
	@scripts/need clang=clang
	STEPPE_REQUIRE_NETNS=1 $(GO) test ./fastpath -count 1 -run Mutants -timeout 60m -v -mutants

# Twenty million generated packets, and ten million in conversations of hosts that share
# addresses, compared with the reference implementation.
reference:
	$(GO) test ./translate -run 'TestReferenceOn(GeneratedPackets|Conversations)' -timeout 60m -v -generated 20000000 -conversed 10000000

# The former name of that target.
twin: reference

# The binary treated badly in a laboratory: needs root and /dev/net/tun. One fault
# only: make faults FAULTS=-only=disk; less of each: FAULTS=-short
faults: build
	@$(GO) run ./internal/cmd/faults -tayga bin/tayga $(FAULTS)

# Mixed traffic, reloads and changes for a while: make soak SOAKTIME=1h for more.
SOAKTIME ?= 10m
soak: build
	@$(GO) run ./internal/cmd/soak -tayga bin/tayga -time $(SOAKTIME)

# The tests that need namespaces, ten times over; without cgo, as tayga is
# installed, so that its sandbox is complete.
netns:
	CGO_ENABLED=0 STEPPE_REQUIRE_NETNS=1 $(GO) test -count 10 -timeout 30m ./internal/test/netlab ./internal/e2e/labtest ./internal/cmd/demo ./internal/sandbox ./tun ./cmd/tayga

# Beside Debian's tayga, and what takes long, in full length.
peers:
	@scripts/need tayga=tayga
	STEPPE_REQUIRE_NETNS=1 STEPPE_REQUIRE_PEER=1 $(GO) test -count 1 -v ./internal/e2e/peer
	STEPPE_REQUIRE_NETNS=1 $(GO) test -count 1 -v -run 'SideBySide|DebiansTayga|ReloadUnderTraffic' ./cmd/tayga -reloads 1000
	STEPPE_REQUIRE_NETNS=1 $(GO) test -count 1 -v -run 'FastPathReload' ./cmd/tayga -reload-maps 1000000

# The pages of docs/deploy followed to the letter on freshly installed Debian
# machines. The first run makes an image of Debian and keeps it; it needs network.
# One page only: make recipes RECIPE=Gateway
recipes: build
	@scripts/need mmdebstrap=mmdebstrap nft=nftables unshare=util-linux
	@scripts/recipes $(RECIPE)

# All that is measured, in a quarter of an hour: bench/results/latest.txt and latest.json. One
# thing only: make bench MICRO=Flows E2E=none
bench: MICRO ?= Translate|Restore|Flows|Table|Pool|Fragment|Hairpin|Sessions
E2E ?= E2E|Queues|Memory|MapFile
bench:
	@scripts/bench bench/results/latest.txt '-bench $(value MICRO) -count 6 -benchtime 100ms' \
		'-bench $(E2E) -benchtime 1x -rounds 6 -seconds 1'; status=$$?; \
	$(GO) run ./internal/cmd/benchtool json bench/results/latest.txt >bench/results/latest.json && \
	$(GO) run $(BENCHSTAT) -ignore /round -filter '-/gateway:all AND -.unit:B/s AND -.unit:B/op' \
		bench/results/latest.txt && exit $$status

# A minute, in CI: no allocation on the packet path, no benchmark that has lost its
# name, no packet lost in a reload.
bench-smoke:
	@$(GO) run ./internal/cmd/benchtool smoke

# The names of all benchmarks, after one was added or renamed: bench/results/names.txt
bench-names:
	@STEPPE_REQUIRE_NETNS=1 $(GO) run ./internal/cmd/benchtool smoke -update

# The fast path beside the daemon alone, the kernel and Debian's tayga; stateful beside
# stateless; and the program alone: bench/results/fast.txt, a plot beside it, the tables in
# bench/README.md, and the figures of README.md. Ten minutes, on a machine that does nothing else. In a hurry:
# make bench-fast FASTFLAGS='-rounds 1 -seconds 0.2'
FASTFLAGS ?= -rounds 5 -seconds 1
bench-fast:
	@scripts/need tayga=tayga
	@STEPPE_REQUIRE_NETNS=1 scripts/bench bench/results/fast.txt '-bench ^BenchmarkE2E -benchtime 1x $(FASTFLAGS)' \
		'-bench ^BenchmarkShared$$/load=(tcp|udp)/dir/./gateway=state/fast -benchtime 1x $(FASTFLAGS)' \
		'./fastpath -bench Fastpath -benchtime 3000x -count 3'; status=$$?; \
	$(GO) run ./internal/cmd/benchplot -svg bench/results/fast.svg -readme bench/README.md -block fast \
		-summary README.md bench/results/fast.txt && exit $$status

# Hosts that share an address: our stateful-pool beside masquerading, ours and that of
# Debian's tayga. Needs root and /dev/net/tun; fifteen minutes.
bench-shared:
	@scripts/need tayga=tayga nft=nftables
	@STEPPE_REQUIRE_NETNS=1 scripts/bench bench/results/shared.txt '-bench Shared -benchtime 1x $(E2EFLAGS)'

# A million sessions, in the terms of RFC 9693, and the packets that they are compared with;
# a few minutes: bench/results/sessions.txt
bench-sessions:
	@scripts/bench bench/results/sessions.txt \
		'-bench (Translate|Sessions)$$/dir=/proto=tcp/(kind=plain|size=64$$)/size=64$$ -count 6 -benchtime 500000x' \
		'-bench SessionFlows -count 6 -benchtime 500000x' '-bench SessionRate -benchtime 1x -count 4' \
		'-bench SessionMemory -benchtime 1x' '-bench SessionMemory -benchtime 1x -capacity 4000000'

# Is the packet path slower than it was? Builds a revision and the working tree, and
# runs their benchmarks in turn: make bench-ab BASE=main. MICRO=all adds the large
# tables; less: MICRO=Translate; another package: PKGS=./pool MICRO=.; more rounds, if
# the machine is busy: ROUNDS=12. Two revisions: make bench-ab BASE=v1.0 HEAD=v1.1
BASE ?=
HEAD ?=
AB_ALL = Translate|Restore|Flows|^BenchmarkTable|Pool|Fragment|Hairpin|Sessions
bench-ab: MICRO ?= Translate|Restore|Fragment|Hairpin|Sessions|Flows/table=prefix|^BenchmarkTable/.*/maps=10\b|Pool/.*/hosts=10\b
PKGS ?= ./bench
ROUNDS ?= 6
COUNT ?= 3
THRESHOLD ?= 3
ABFLAGS ?=
bench-ab:
	@$(GO) run ./internal/cmd/benchtool ab -base '$(BASE)' -head '$(HEAD)' -packages '$(PKGS)' -bench '$(if $(filter all,$(MICRO)),$(AB_ALL),$(value MICRO))' \
		-rounds $(ROUNDS) -count $(COUNT) -threshold $(THRESHOLD) $(ABFLAGS)

# Side by side with the kernel and Debian's tayga: needs root and /dev/net/tun.
# In a hurry: make bench-compare E2EFLAGS='-rounds 3 -seconds 1'
E2EFLAGS ?= -rounds 5 -seconds 2
bench-compare:
	@scripts/need tayga=tayga
	@STEPPE_REQUIRE_NETNS=1 scripts/bench bench/results/compare.txt '-bench $(E2E) -benchtime 1x $(E2EFLAGS)' \
		'-bench Translate/.*/proto=tcp/kind=plain|Restore|Table|Pool -count 5 -benchtime 200ms'; status=$$?; \
	$(GO) run ./internal/cmd/benchplot -svg bench/results/compare.svg -readme bench/README.md \
		bench/results/compare.txt && exit $$status
