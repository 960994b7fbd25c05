/*
 * cluster/coordinator.h: the loop that drives a machine (cluster/machine.h) over hosts
 * (host/host.h). Internal to the room.  One thread; blocks in run() only, and in the store's and
 * the opener's own calls.
 *
 * Order: open; define; [lease]; connect; run, run, ...; close.  close() ends the sessions (hosts
 * undo what is then under way) and gives the lease back, in this order.
 */
#ifndef VCKPT_CLUSTER_COORDINATOR_H
#define VCKPT_CLUSTER_COORDINATOR_H

#include <event2/event.h>

#include "cluster/cluster.h"
#include "cluster/definition.h"
#include "store/lease.h"
#include "store/store.h"

struct vckpt_coordinator;

/* A session with a host. */
struct vckpt_link {
	struct vckpt_coordinator *c;
	struct vckpt_host *host; /* NULL: not to be had */
	char name[256];          /* as the definition has it, "" is this machine */
	struct event *event;
	struct vckpt_error error; /* why it is gone */
	bool lost;                /* whoever asks says that it is off: not even tried */
};

struct vckpt_slot {
	char guest[VCKPT_NAME_MAX];
	char domain[256];
	uint32_t link;
};

struct vckpt_coordinator {
	const struct vckpt_cluster_ctx *ctx;
	char cluster[VCKPT_NAME_MAX];
	char what[160]; /* for the log: "cluster heat, epoch 3" */
	char phase[256];
	struct vckpt_store *store;
	struct vckpt_lease *lease;
	uint64_t renewed;
	struct vckpt_link *links;
	uint32_t n_links;
	struct vckpt_slot *slots;
	uint32_t n_slots;
	struct vckpt_list nics; /* of all guests, for the hosts; owned */
	uint32_t next_seq;
	bool canceled;
	bool untold;   /* the definition was written, and other places have an older one */
	json_t *hooks; /* what the site's hooks said, NULL none were asked for; owned */

	/* of the run under way */
	struct vckpt_machine *machine;
	bool by_host; /* its slots are the links, not the guests */
	int (*durable)(void *arg, struct vckpt_error *err);
	void *durable_arg;
	struct event_base *base;
	struct event *timer, *cancel, *renew;
};

/* Opens the store (not if ctx->store is NULL) and makes the loop.  To be closed also after a
 * failure. */
int vckpt_coordinator_open(struct vckpt_coordinator *c, const struct vckpt_cluster_ctx *ctx,
			   struct vckpt_error *err);
void vckpt_coordinator_close(struct vckpt_coordinator *c);

/* Guests, their NICs and hosts from a definition. */
int vckpt_coordinator_define(struct vckpt_coordinator *c, const struct vckpt_definition *def,
			     struct vckpt_error *err);

/* The link to the host of that name, made if there is none (not after connect()); NULL without
 * memory. */
struct vckpt_link *vckpt_coordinator_add(struct vckpt_coordinator *c, const char *name);
/* Where guest `slot` is asked for from now on. */
void vckpt_coordinator_place(struct vckpt_coordinator *c, uint32_t slot,
			     const struct vckpt_link *link);
/* Ends the session with a host that is given up: it undoes what is under way there. */
void vckpt_coordinator_drop(struct vckpt_coordinator *c, struct vckpt_link *link,
			    const struct vckpt_error *why);

/* Takes the lease for `purpose`; run() renews it and gives up when it is lost. */
int vckpt_coordinator_lease(struct vckpt_coordinator *c, const char *purpose,
			    struct vckpt_error *err);

/* Makes sessions with all hosts.  `all`: fails if one cannot be had; else that link has an error.
 */
int vckpt_coordinator_connect(struct vckpt_coordinator *c, bool all, struct vckpt_error *err);

/* Drives `m`, inited with a slot for each guest (or each link) and &c->next_seq, to its end.
 * `durable` (may be NULL) does what VCKPT_ACT_DURABLE asks; it may block.  Returns the machine's
 * result. */
int vckpt_coordinator_run(struct vckpt_coordinator *c, struct vckpt_machine *m, bool by_host,
			  int (*durable)(void *arg, struct vckpt_error *err), void *durable_arg,
			  struct vckpt_error *err);

const struct vckpt_link *vckpt_coordinator_link(const struct vckpt_coordinator *c, uint32_t slot);
/* {"guest", "domain", "host"}: what each report of a guest begins with. */
json_t *vckpt_coordinator_guest(const struct vckpt_coordinator *c, uint32_t slot);

/* "n17", "localhost". */
const char *vckpt_link_label(const struct vckpt_link *link);

#endif
