/*
 * supervise/look.h: one look at a cluster, its hosts and its past, as supervisor.h wants to see it.
 * Blocks on the hosts and the store.  Internal to the room.
 */
#ifndef VCKPT_SUPERVISE_LOOK_H
#define VCKPT_SUPERVISE_LOOK_H

#include <jansson.h>

#include "cluster/definition.h"
#include "store/store.h"
#include "supervise/heard.h"
#include "supervise/loop.h"
#include "supervise/past.h"

/* Strings are of def and hosts. */
struct vckpt_look {
	struct vckpt_definition def;
	json_t *hosts, *status, *progress;
	const char **names, **host, **to;
	bool *up;
	enum vckpt_seen_guest *guests;
	struct vckpt_past past;
	struct vckpt_foresight f;
	struct vckpt_step step;
	struct vckpt_seen seen;
};

/* `s` knows of damaged epochs, `heard` is kept from look to look, `left` is what cluster/left.h
 * knows, or NULL.  *l, all zero, is to be cleared whatever comes of it. */
int vckpt_look(const struct vckpt_cluster_ctx *ctx, const struct vckpt_supervise_options *opt,
	       const struct vckpt_store *store, const struct vckpt_supervisor *s,
	       struct vckpt_heard *heard, const json_t *left, struct vckpt_look *l,
	       struct vckpt_error *err);
void vckpt_look_clear(struct vckpt_look *l);

/* Of the looked at cluster, does this host answer? */
bool vckpt_look_up(const struct vckpt_look *l, const char *host);

/* The same of a host that may be none of the cluster's any more, but where something was left. */
bool vckpt_look_answers(const struct vckpt_look *l, const char *host);

/* The interval that is best by what was seen; 0: that is not known. */
uint64_t vckpt_look_every(const struct vckpt_look *l, const struct vckpt_supervise_options *opt);

#endif
