package bench

import (
	"errors"
	"fmt"

	"github.com/steppe-nat64/steppe/internal/test/netlab"
)

// How the gateway receives what hosts send. A veth hands each packet over in the time of its
// sender, one by one, so that there is nothing to coalesce. A network card collects packets for
// a thread of the kernel (NAPI), which coalesces TCP, and with rx-udp-gro-forwarding also the
// datagrams that are forwarded.
const (
	cardsVeth = ""
	cardsGRO  = "gro"
	cardsUDP  = "gro-forwarding"
)

// segmentation are the features for which a veth would not be like a card: NAPI is only for
// packets that are none of TSO, drivers/net/veth.c veth_skb_is_eligible_for_gro.
var segmentation = []string{"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation"}

// setCards has both of the gateway's cards receive in one of these ways.
func (x *lab) setCards(cards string) error {
	if x.cards == cards {
		return nil
	}
	x.cards = cards
	like := cards != cardsVeth
	for _, far := range []*netlab.Host{x.client, x.server} {
		for _, feature := range segmentation {
			far.SetFeature("eth0", feature, !like)
		}
	}
	threaded := 0
	if like {
		threaded = 1
	}
	for _, card := range []string{"eth0", "eth1"} {
		x.gateway.SetFeature(card, "rx-gro", like)
		x.gateway.SetFeature(card, "rx-udp-gro-forwarding", cards == cardsUDP)
		// /sys is that of the namespace in which it was mounted.
		set := fmt.Sprintf("mount -t sysfs sysfs /sys && echo %d >/sys/class/net/%s/threaded", threaded, card)
		if out, err := x.gateway.Command("unshare", "-m", "sh", "-c", set).CombinedOutput(); err != nil {
			return errors.Join(err, errors.New(string(out)))
		}
	}
	return nil
}
