# Everything here runs the same by hand and in CI.
GO ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: demo test build format vet lint unit fuzz twin netns

# The main job in a laboratory: needs root and /dev/net/tun.
demo: build
	@scripts/need nft=nftables
	@$(GO) run ./internal/demo -tayga bin/tayga

# Everything that has to hold.
test:
	@scripts/need gcc=gcc nft=nftables
	@$(MAKE) --no-print-directory format vet lint unit

build:
	@CGO_ENABLED=0 $(GO) build -o bin/ ./cmd/...

format:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "gofmt these: $$files"; exit 1; }

vet:
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=freebsd $(GO) vet ./translate ./pool ./tun
	GOARCH=386 $(GO) vet ./translate ./pool ./tun
	GOARCH=s390x $(GO) vet ./translate ./pool ./tun

lint:
	$(GO) run $(STATICCHECK) ./...

unit:
	CGO_ENABLED=1 $(GO) test -race ./...

# A minute for every fuzz target: make fuzz FUZZTIME=10m for more.
FUZZTIME ?= 1m
fuzz:
	@scripts/fuzz $(FUZZTIME)

# Twenty million generated packets through translate and its slow twin.
twin:
	$(GO) test ./translate -run TestTwinsOnGeneratedPackets -timeout 60m -v -generated 20000000

# The tests that need namespaces, ten times over.
netns:
	STEPPE_REQUIRE_NETNS=1 $(GO) test -count 10 ./internal/netlab ./internal/demo ./tun ./cmd/tayga
