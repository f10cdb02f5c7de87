//go:build !linux

package rfc

import (
	"errors"
	"testing"
)

var errNoLab = errors.New("network namespaces are a thing of Linux")

func labMissing() error { return errNoLab }

func nativeRoute4(t *testing.T) { t.Skip(errNoLab) }

func nativeRoute6(t *testing.T) { t.Skip(errNoLab) }

func noConnectivityCheck(t *testing.T) { t.Skip(errNoLab) }

func prefixOfInterface(t *testing.T) { t.Skip(errNoLab) }

func resolverOfInterface(t *testing.T) { t.Skip(errNoLab) }
