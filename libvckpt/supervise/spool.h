/*
 * supervise/spool.h: reports in the store (store/reports.h), and what they come to.  Calls block on
 * the store; they need no lease.
 */
#ifndef VCKPT_SUPERVISE_SPOOL_H
#define VCKPT_SUPERVISE_SPOOL_H

#include "cluster/definition.h"
#include "store/store.h"
#include "supervise/foresight.h"

/* One line, on stable storage when it returns. */
int vckpt_spool_add(const struct vckpt_store *store, const char *cluster,
		    const struct vckpt_report *r, struct vckpt_error *err);

/* All lines of a cluster, oldest first, taken by *f, which is set up; then the newest checkpoint of
 * the catalogue.  *bad (may be NULL): lines that are none.  Words that are over are counted. */
int vckpt_spool_take(const struct vckpt_store *store, const char *cluster, uint64_t now,
		     struct vckpt_foresight *f, unsigned *bad, struct vckpt_error *err);

/* All lines, oldest first, whatever they say: a malloc'ed list. */
int vckpt_spool_read(const struct vckpt_store *store, const char *cluster,
		     struct vckpt_report **lines, size_t *n, struct vckpt_error *err);

/* A cluster that has guests on a host, which its definition calls so (VCKPT_REPORT_HERE for ""). */
struct vckpt_spool_place {
	char cluster[VCKPT_NAME_SIZE];
	char host[256];
};

/* The clusters (`only`: NULL, or the one that counts) with guests on `host`; a name counts as the
 * same with or without its domain, and `here` says that this machine is meant.  *places is
 * malloc'ed.  *damaged: clusters whose definition cannot be read. */
int vckpt_spool_places(const struct vckpt_store *store, const char *only, const char *host,
		       bool here, struct vckpt_spool_place **places, size_t *n, unsigned *damaged,
		       struct vckpt_error *err);

/* The same for who takes a word back, which may be on a host that the guests have left: clusters of
 * which one stands there, too. */
int vckpt_spool_spoken(const struct vckpt_store *store, const char *only, const char *host,
		       bool here, struct vckpt_spool_place **places, size_t *n, unsigned *damaged,
		       struct vckpt_error *err);

/* Are these names of one host?  One of them may have its domain, and the other not. */
bool vckpt_spool_same_host(const char *a, const char *b);

/* A host of a definition, as reports call it. */
const char *vckpt_spool_host(const char *host);

#endif
