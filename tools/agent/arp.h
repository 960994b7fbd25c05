/*
 * arp.h: does anybody else use this guest's addresses?  Probe, judge, announce: RFC 5227, with
 * times cut from seconds to tens of milliseconds, since a job waits; RFC 826 for the layout.  Pure
 * but for the clock.
 *
 * A second copy of a restored guest has the same MAC and, held as it is, answers no ARP; but it
 * probes as well.  So each probe carries in its padding a number of this guest alone: a probe for
 * our address with our MAC and another number is a copy; with our own number it is a network that
 * echoes.
 */
#ifndef VCKPT_AGENT_ARP_H
#define VCKPT_AGENT_ARP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VCKPT_ARP_LEN 60

enum vckpt_arp_kind { VCKPT_ARP_PROBE, VCKPT_ARP_ANNOUNCE };

/* `ip`: 4 bytes, network order. */
void vckpt_arp_encode(enum vckpt_arp_kind kind, const uint8_t mac[6], const uint8_t ip[4],
		      uint64_t number, uint8_t out[VCKPT_ARP_LEN]);

/* Does a received frame show that somebody else has `ip`?  Then his MAC stands in `other`. */
bool vckpt_arp_conflict(const void *frame, size_t len, const uint8_t mac[6], const uint8_t ip[4],
			uint64_t number, uint8_t other[6]);

#endif
