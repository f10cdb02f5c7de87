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

func probeOfDAD(t *testing.T) { t.Skip(errNoLab) }

func groupsOfDAD(t *testing.T) { t.Skip(errNoLab) }

func noDelayOfDAD(t *testing.T) { t.Skip(errNoLab) }

func unicastSourceIgnored(t *testing.T) { t.Skip(errNoLab) }

func loopedIgnored(t *testing.T) { t.Skip(errNoLab) }

func invalidIgnored(t *testing.T) { t.Skip(errNoLab) }

func duplicatedByProbe(t *testing.T) { t.Skip(errNoLab) }

func duplicatedByAdvertisement(t *testing.T) { t.Skip(errNoLab) }

func invalidSolicitation(t *testing.T) { t.Skip(errNoLab) }

func solicitedAnswer(t *testing.T) { t.Skip(errNoLab) }

func unicastAnswer(t *testing.T) { t.Skip(errNoLab) }

func probeAnswer(t *testing.T) { t.Skip(errNoLab) }

func unsolicited(t *testing.T) { t.Skip(errNoLab) }

func ownIdentifierAvoided(t *testing.T) { t.Skip(errNoLab) }

func nextCounter(t *testing.T) { t.Skip(errNoLab) }

func limitedCounters(t *testing.T) { t.Skip(errNoLab) }

func claimedAddress(t *testing.T) { t.Skip(errNoLab) }
