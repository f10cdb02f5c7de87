package fastpath

// The objects are committed, so that a build needs no clang: make generate.
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package fastpath -no-global-types -tags linux -target bpfel,bpfeb -cflags "-O2 -g -Wall -Werror -mcpu=v3" bpf bpf/fastpath.c
