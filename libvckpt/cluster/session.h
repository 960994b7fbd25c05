/* cluster/session.h: what all calls of cluster.h begin with.  Internal to the room. */
#ifndef VCKPT_CLUSTER_SESSION_H
#define VCKPT_CLUSTER_SESSION_H

#include "cluster/ask.h"
#include "cluster/coordinator.h"

/* A coordinator and the definition it was made from. */
struct vckpt_cluster_session {
	struct vckpt_coordinator c;
	struct vckpt_definition def;
	const char **guests; /* names, n_slots of them */
	const char **hosts;  /* labels, n_links of them */
	/* To be set before it begins: hosts to be reached beside those of the definition, and those
	 * that are off.  The caller's. */
	const char *const *more, *const *lost;
	size_t n_more, n_lost;
	struct vckpt_lease *lease; /* the caller's, who has it already; NULL: none */
};

enum {
	VCKPT_WITH_LEASE = 1,  /* take the lease */
	VCKPT_ALL_HOSTS = 2,   /* every host must be there and take the session up (OPEN) */
	VCKPT_ANY_HOSTS = 4,   /* the same, but hosts that do not are marked as gone */
	VCKPT_LOOK_ONLY = 8,   /* connected to whom there is, without OPEN */
	VCKPT_NAMED_HOSTS = 16 /* no host of the definition is "this machine" */
};

/* ctx, store, definition, lease, hosts, in this order.  To be ended also after a failure; all zero
 * is the empty one. */
int vckpt_session_begin(struct vckpt_cluster_session *s, const struct vckpt_cluster_ctx *ctx,
			const char *purpose, unsigned flags, struct vckpt_error *err);
/* The same from a definition in s->def that need not be stored yet. */
int vckpt_session_begin_with(struct vckpt_cluster_session *s, const struct vckpt_cluster_ctx *ctx,
			     const char *purpose, unsigned flags, struct vckpt_error *err);
void vckpt_session_end(struct vckpt_cluster_session *s);

/* A word of options into a field of that size; VCKPT_EUSAGE if it cannot be one. */
int vckpt_session_word(char *out, size_t size, const char *text, const char *what,
		       struct vckpt_error *err);
/* What nobody will ever commit goes; nobody else may be at work on the cluster. */
void vckpt_session_sweep(struct vckpt_coordinator *c);
int vckpt_session_incarnation(struct vckpt_coordinator *c, uint32_t *number,
			      struct vckpt_error *err);
void vckpt_session_attempt(struct vckpt_coordinator *c, uint64_t epoch, char out[40]);

/* The definition of a cluster of a store, without a session; the caller clears it. */
int vckpt_session_definition(const struct vckpt_store *store, const char *cluster,
			     struct vckpt_definition *def, struct vckpt_error *err);
int vckpt_session_check(const struct vckpt_cluster_ctx *ctx, bool cluster, struct vckpt_error *err);

/* One question to all guests (or hosts); *q is inited also if it fails, unless memory was short. */
int vckpt_session_ask(struct vckpt_cluster_session *s, bool hosts, uint16_t op, uint64_t timeout_ns,
		      struct vckpt_ask_machine *q, struct vckpt_error *err);

#endif
