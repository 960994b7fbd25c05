/*
 * host/tree/tree.h: many hosts over few streams.  Up to `width` hosts are reached each by a stream
 * of its own (host/remote), exactly as without a tree.  What is opened beyond that is reached
 * through these: each of them is told (wire/tree_msg.h) to launch its share, and relays.
 *
 * A host made here behaves as host/host.h says and may be closed at any time.  One that its relay
 * cannot reach, or not within the patience, and all behind one that cannot relay (an older vckptd,
 * one that may not) are tried directly, once: until a host is known to be there its requests wait
 * here, so none is ever asked twice.  A relay that is lost later takes all behind it along; their
 * sessions end, which undoes what is under way there.
 *
 * One thread uses a tree and all its hosts.
 */
#ifndef VCKPT_HOST_TREE_TREE_H
#define VCKPT_HOST_TREE_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "host/host.h"

#define VCKPT_TREE_WIDTH      16
#define VCKPT_TREE_WIDTH_MAX  1024
#define VCKPT_TREE_PATIENCE_S 6

struct vckpt_tree;

struct vckpt_tree_config {
	const char *launcher, *who; /* as of vckpt_remote_elsewhere(); copied */
	unsigned width;             /* 0: VCKPT_TREE_WIDTH */
	bool together; /* messages are gathered on each stream, also where there is no tree */
	/* A session with that host over a stream of its own: a host of make "remote".  NULL: by the
	 * launcher. */
	int (*open)(void *arg, const char *name, struct vckpt_host **host, struct vckpt_error *err);
	void *arg;
	const struct vckpt_log *log; /* may be NULL */
	/* For a relay to reach its hosts; 0: VCKPT_TREE_PATIENCE_S.  One that it relays through has
	 * two thirds of its own, so that whoever is nearest finds the way round. */
	uint64_t patience_ns;
};

struct vckpt_tree *vckpt_tree_new(const struct vckpt_tree_config *config, struct vckpt_error *err);
/* After all its hosts were closed; NULL is fine. */
void vckpt_tree_free(struct vckpt_tree *tree);

/* Hosts opened before any of them is used (submit, dispatch) make one tree; the next one that is
 * opened begins another. */
int vckpt_tree_open(struct vckpt_tree *tree, const char *name, struct vckpt_host **host,
		    struct vckpt_error *err);

/* Is the host known to be there? */
bool vckpt_tree_is_up(const struct vckpt_host *host);

/* How `n` hosts behind `roots` streams are shared out: the first of the share of stream `k`, which
 * ends where that of k + 1 begins.  Shares differ by one at most. */
uint32_t vckpt_tree_share(uint32_t n, uint32_t roots, uint32_t k);

#endif
