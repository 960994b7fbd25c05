/*
 * store/keys.h: which key the captures of a cluster are encrypted with, and where keys are found.
 *
 * A key file is one line, of mode 0600; a cluster's record (clusters/NAME/key.json) names a key by
 * its id, and each guest of an encrypted epoch has a file GUEST.key with the data key of its
 * capture, sealed by the key that it names.  docs/store-format.md has the bytes.
 *
 * All functions may block on the file system; threads may use one store at once.
 */
#ifndef VCKPT_STORE_KEYS_H
#define VCKPT_STORE_KEYS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/crypt.h"
#include "store/lease.h"
#include "store/store.h"

#define VCKPT_KEYS_FOLDER "/etc/vckpt/keys"

/* What a cluster's captures are encrypted with. */
struct vckpt_cluster_key {
	char id[VCKPT_KEY_ID]; /* "": not at all */
	char file[PATH_MAX];   /* where the key was found; others may have it elsewhere */
	bool plain_disks;      /* the administrator knows that disks are not encrypted */
};

/* Makes a key in a new file of mode 0600; VCKPT_EUSAGE if there is one already. */
int vckpt_key_file_make(const char *path, char id[VCKPT_KEY_ID], struct vckpt_error *err);

/* Reads a key; VCKPT_EREFUSED if others than its owner may read it, or if it belongs to somebody
 * else than root and who calls.  The caller wipes *key. */
int vckpt_key_file_read(const char *path, struct vckpt_key *key, struct vckpt_error *err);

/* Looks for the key `id`: among the service's credentials ($CREDENTIALS_DIRECTORY), in
 * VCKPT_KEYS_FOLDER, at `file` ("": nowhere else).  VCKPT_EREFUSED, with what is to be done. */
int vckpt_key_find(const char *id, const char *file, struct vckpt_key *key,
		   struct vckpt_error *err);

int vckpt_cluster_key_get(const struct vckpt_store *store, const char *cluster,
			  struct vckpt_cluster_key *key, struct vckpt_error *err);

/*
 * From now on captures are encrypted with the key in `file` (an absolute path).  The data keys of
 * all epochs that are encrypted already are sealed anew with it; *n of them were.  Both keys must
 * be there; if it is interrupted it can be called again.  Epochs that are not encrypted stay so.
 */
int vckpt_cluster_key_use(struct vckpt_lease *lease, const char *file, bool plain_disks, size_t *n,
			  struct vckpt_error *err);

/* The data key of a new capture, its file made; *key is NULL if the cluster's captures are not
 * encrypted.  The caller frees. */
int vckpt_data_key_make(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			const char *guest, struct vckpt_data_key **key, char id[VCKPT_KEY_ID],
			struct vckpt_error *err);

/* That of a capture.  VCKPT_EREFUSED: the key is not here. */
int vckpt_data_key_load(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			const char *guest, struct vckpt_data_key **key, struct vckpt_error *err);

void vckpt_data_key_free(struct vckpt_data_key *key); /* wipes; NULL is fine */

#endif
