/*
 * marker.h: frames that say "everything I sent before this has left my guest, and nothing follows".
 * They go around the plug (AF_PACKET with PACKET_QDISC_BYPASS, packet(7)) on the same path as data,
 * from NIC to NIC, so what arrives before them is all there is.
 *
 *   offset  size
 *    0      14    Ethernet header, type 0x88b5 (IEEE 802 local experimental)
 *   14       4    "VCKM"
 *   18       1    version, 1
 *   19       1    flags: 1 = "I have not seen yours yet: answer"
 *   20       4    token of the hold
 *   24      36    zero (the shortest frame there is)
 */
#ifndef VCKPT_AGENT_MARKER_H
#define VCKPT_AGENT_MARKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "nic.h"

#define VCKPT_MARKER_TYPE 0x88b5
#define VCKPT_MARKER_LEN  60
#define VCKPT_MARKER_WANT 1

struct vckpt_marker {
	uint8_t to[6], from[6];
	uint8_t flags;
	uint32_t token;
};

void vckpt_marker_encode(const struct vckpt_marker *m, uint8_t out[VCKPT_MARKER_LEN]);
/* False: not a marker of ours. */
bool vckpt_marker_decode(const void *frame, size_t len, struct vckpt_marker *m);

/* An AF_PACKET socket that receives `ethertype` on the NIC; 0: only sends, around the plug. */
int vckpt_packet_open(int index, uint16_t ethertype, struct vckpt_error *err);

#endif
