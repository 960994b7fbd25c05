/*
 * nic.h: the guest's network cards, their addresses, their root queueing discipline.
 * All calls block only for the kernel's own work.  None is thread-safe with the same struct
 * vckpt_nl.
 */
#ifndef VCKPT_AGENT_NIC_H
#define VCKPT_AGENT_NIC_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "nl.h"

#define VCKPT_NICS_MAX  16
#define VCKPT_ADDRS_MAX 128

struct vckpt_nic {
	char name[IFNAMSIZ];
	int index;
	uint8_t mac[6];
	unsigned queues; /* transmit queues */
};

struct vckpt_nics {
	unsigned n;
	struct vckpt_nic v[VCKPT_NICS_MAX];
};

/* Own addresses, all families as IPv6 (IPv4 as ::ffff:a.b.c.d). */
struct vckpt_addr {
	uint8_t ip[16];
	int index; /* of the NIC */
	/* Leased: for so many seconds more (UINT32_MAX: for ever), told at this time since boot, s.
	 */
	uint32_t valid;
	uint64_t updated;
};

struct vckpt_addrs {
	unsigned n;
	struct vckpt_addr v[VCKPT_ADDRS_MAX];
};

/*
 * Ethernet NICs that have a device behind them (virtio, PCI): not bridges, tunnels, veth.  With
 * `only` (comma-separated names) exactly those, whatever they are.
 */
int vckpt_nics_find(struct vckpt_nl *nl, const char *only, struct vckpt_nics *nics,
		    struct vckpt_error *err);

/* Is `name` in the list of words, divided by commas or blanks?  An empty list has everything. Pure.
 */
bool vckpt_list_has(const char *list, const char *name);

int vckpt_addrs_find(struct vckpt_nl *nl, struct vckpt_addrs *addrs, struct vckpt_error *err);
bool vckpt_addrs_has(const struct vckpt_addrs *addrs, const uint8_t ip[16]);

/* `ip` of `len` 4 or 16 bytes in the common form. */
void vckpt_addr_map(uint8_t out[16], const void *ip, size_t len);
bool vckpt_addr_is_v4(const uint8_t ip[16]);
bool vckpt_addr_is_loopback(const uint8_t ip[16]);
void vckpt_addr_text(const uint8_t ip[16], char *out, size_t len);

/* The MAC the kernel last knew for `ip`: 1, or 0 when it knows none (routed, or silent for long).
 */
int vckpt_neighbour(struct vckpt_nl *nl, const uint8_t ip[16], uint8_t mac[6],
		    struct vckpt_error *err);

/*
 * Forgets what the kernel learned about neighbours on `nics`, but for those whose MAC `keep` wants;
 * what somebody set by hand (permanent) stays.  They are asked for again when they are next needed.
 */
int vckpt_neighbours_forget(struct vckpt_nl *nl, const struct vckpt_nics *nics,
			    bool (*keep)(const uint8_t mac[6], const void *arg), const void *arg,
			    struct vckpt_error *err);

/* sch_plug (net/sched/sch_plug.c, linux/pkt_sched.h): held or passing as root qdisc of a NIC. */
struct vckpt_qdisc {
	char kind[16];
	uint64_t backlog; /* bytes queued */
	uint32_t drops;
};

int vckpt_qdisc_read(struct vckpt_nl *nl, int index, struct vckpt_qdisc *q,
		     struct vckpt_error *err);
/* Makes plug the root qdisc, in the passing state.  One that is there already is left in its state.
 */
int vckpt_plug_install(struct vckpt_nl *nl, int index, struct vckpt_error *err);
int vckpt_plug_hold(struct vckpt_nl *nl, int index, struct vckpt_error *err);
int vckpt_plug_pass(struct vckpt_nl *nl, int index, struct vckpt_error *err);

#endif
