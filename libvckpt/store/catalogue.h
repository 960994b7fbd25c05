/*
 * store/catalogue.h: the committed epochs of a cluster.
 *
 * An epoch is there, whole, from the one rename in vckpt_catalogue_commit(); before, no reader can
 * see any of it.  All functions may block; threads may use one store at once.
 */
#ifndef VCKPT_STORE_CATALOGUE_H
#define VCKPT_STORE_CATALOGUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/digest.h"
#include "store/store.h"

struct vckpt_store_file {
	uint64_t bytes;
	struct vckpt_digest digest; /* of a pack: of its header and all block headers */
};

/* What a capture of one guest became.  Owns `needs` and `disks`. */
struct vckpt_receipt {
	char guest[VCKPT_NAME_SIZE];
	struct vckpt_store_file map, device, xml, pack;
	struct vckpt_store_file pages; /* store/pagelist.h; 0 bytes: there is none */
	uint64_t ram_bytes;
	uint64_t pages_stored;    /* written by this capture and part of the image */
	uint64_t pages_zero;      /* part of the image, nothing stored */
	uint64_t pages_inherited; /* lie in packs of earlier epochs */
	uint64_t pages_shared;    /* lie in packs of other guests of this epoch */
	uint64_t pages_written;   /* in its pack; equal ones are there once, some may be stale */
	uint64_t pages_absent;    /* nobody cares what they hold */
	uint64_t pages_words;     /* of all that lie in packs: in blocks of transposed words */
	uint64_t bytes_in;        /* handed over as pages, zero pages included */
	uint64_t bytes_out;       /* of all its files */
	char **needs;             /* packs that hold its pages: "000001/n1.pack" */
	size_t n_needs;
	char key[17];  /* it is encrypted; with this key, at first (store/keys.h) */
	json_t *disks; /* layers outside of the store that the image needs (store/layer.h), a
			  reference; NULL: none */
};

void vckpt_receipt_clear(struct vckpt_receipt *r);

/* A receipt as JSON, for the way from a host to the coordinator; the form it has in the catalogue.
 * NULL on failure; the caller owns the reference.  from_json fills *r, which the caller clears. */
json_t *vckpt_receipt_to_json(const struct vckpt_receipt *r, struct vckpt_error *err);
int vckpt_receipt_from_json(json_t *j, struct vckpt_receipt *r, struct vckpt_error *err);

/* One committed epoch.  Owns guests and holds a reference to record. */
struct vckpt_epoch {
	char cluster[VCKPT_NAME_SIZE];
	uint64_t epoch, incarnation;
	uint64_t parent;  /* epoch whose pages were built upon; 0: none.  Restoring does not need it
			   */
	uint64_t time_ns; /* of the cut, since 1970 */
	char asked_by[128], why[256];
	char engine[64], gate[64], drain[64]; /* capture engine, gate, result of the drain */
	struct vckpt_receipt *guests;
	size_t n_guests;
	json_t *record; /* any object: kept, not understood; NULL: {} */
	bool by_ticket; /* vckpt_catalogue_ticket() was called for it; not written */
};

void vckpt_epoch_clear(struct vckpt_epoch *e);

/* Makes the epoch restorable, on stable storage when it returns.  Refuses with VCKPT_EREFUSED if
 * the lease was lost, if a newer epoch was committed, if the cluster's incarnation is not e's, or
 * if a file is not there with the size its receipt says.  Takes nothing over from *e. */
int vckpt_catalogue_commit(const struct vckpt_lease *lease, const struct vckpt_epoch *e,
			   struct vckpt_error *err);

/*
 * An epoch that others may keep from being committed: hosts whose guests are not to run on if it is
 * committed, and have to if it is not, find out by themselves, whatever becomes of the coordinator.
 *
 * The ticket is a file that the commit turns into the entry by its rename, and settle() removes:
 * one of them comes first, for all who look.  It is made after vckpt_store_begin_epoch().
 */
int vckpt_catalogue_ticket(const struct vckpt_lease *lease, uint64_t epoch,
			   struct vckpt_error *err);
/* *over: the epoch is committed, or the cluster is in a later incarnation: the guest that was in
 * `incarnation` is not to run any more.  Else the epoch cannot be committed from now on.  Needs no
 * lease; on stable storage when it returns; may be repeated. */
int vckpt_catalogue_settle(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			   uint64_t incarnation, bool *over, struct vckpt_error *err);

/* Numbers of all committed epochs, ascending; the caller frees *epochs. */
int vckpt_catalogue_list(const struct vckpt_store *store, const char *cluster, uint64_t **epochs,
			 size_t *n, struct vckpt_error *err);

/* Reads an entry; the caller clears *e.  VCKPT_ENOTFOUND, VCKPT_EDAMAGED. */
int vckpt_catalogue_get(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			struct vckpt_epoch *e, struct vckpt_error *err);

/* The newest epoch.  VCKPT_ENOTFOUND if there is none. */
int vckpt_catalogue_newest(const struct vckpt_store *store, const char *cluster, uint64_t *epoch,
			   struct vckpt_error *err);

/* Takes an epoch out of the catalogue (also a damaged one).  Its data goes with the next
 * vckpt_store_sweep(), except packs that other epochs need. */
int vckpt_catalogue_remove(const struct vckpt_lease *lease, uint64_t epoch,
			   struct vckpt_error *err);

/* The decoder alone: `text` is a whole file.  *e is to be cleared only on success. */
int vckpt_epoch_decode(const char *text, size_t len, const char *path, struct vckpt_epoch *e,
		       struct vckpt_error *err);

#endif
