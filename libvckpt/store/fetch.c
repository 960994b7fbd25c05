#include "store/fetch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/blob.h"
#include "store/catalogue.h"
#include "store/check.h"
#include "store/copy.h"
#include "store/layout.h"
#include "store/places.h"

struct fetch {
	const struct vckpt_store *store;
	const char *cluster;
	struct vckpt_lease *lease;
	uint64_t epoch;
	struct vckpt_epoch is; /* the store's own entry; epoch 0: it cannot be read */
};

static void end_fetch(struct fetch *f)
{
	vckpt_epoch_clear(&f->is);
}

/* Of an entry that cannot be read the maps that are whole tell whose it was: another place may have
 * given that number to an epoch of its own.  Where none is whole nobody knows. */
static bool maps_agree(const struct fetch *f, const struct vckpt_epoch *there)
{
	bool agree = false;

	for (size_t i = 0; i < there->n_guests; i++) {
		const struct vckpt_receipt *r = &there->guests[i];
		vckpt_autofree char *data = NULL;
		char path[PATH_MAX];
		struct vckpt_digest is;
		size_t len;

		if (vckpt_data_path(f->store, f->cluster, f->epoch, r->guest, "map", path, NULL) <
			    0 ||
		    vckpt_blob_check(path, VCKPT_BLOB_MAP, NULL, NULL) < 0 ||
		    vckpt_read_own_file(path, SIZE_MAX / 2, &data, &len, NULL) < 0)
			continue;
		vckpt_digest_of(&is, data, len, NULL, 0);
		if (!vckpt_digest_equal(&is, &r->map.digest))
			return false;
		agree = true;
	}
	return agree;
}

static bool has_it(const struct fetch *f, const struct vckpt_store *place)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch there = {0};

	enum vckpt_copy_state s =
		vckpt_copy_look(place, f->cluster, f->epoch, f->is.epoch ? &f->is : NULL);

	if (s != VCKPT_COPY_WHOLE && s != VCKPT_COPY_DISKS)
		return false;
	return f->is.epoch ||
	       (vckpt_catalogue_get(place, f->cluster, f->epoch, &there, NULL) == 0 &&
		maps_agree(f, &there));
}

static bool reads_well(const struct fetch *f, const struct vckpt_store *place)
{
	struct vckpt_lease_ticker r = {.lease = f->lease};
	const struct vckpt_check_options o = {.read_data = true,
					      .epochs = &f->epoch,
					      .n_epochs = 1,
					      .tick = vckpt_lease_tick,
					      .arg = &r};
	json_auto_t *report = NULL;

	return vckpt_store_examine(place, f->cluster, &o, &report, NULL) == 0 &&
	       json_array_size(json_object_get(json_array_get(json_object_get(report, "epochs"), 0),
					       "lost")) == 0;
}

/* What cannot be read there is the next place's matter, whatever the reason; a disk that is full
 * or fails here is not, nor a lease that is lost. */
static bool is_of_place(const struct fetch *f, const struct vckpt_store *place,
			const struct vckpt_error *why)
{
	return why->code != VCKPT_ECANCELED && why->sys != ENOSPC && why->sys != EDQUOT &&
	       !(why->code == VCKPT_ESYSTEM && reads_well(f, place)) &&
	       vckpt_lease_check(f->lease, NULL) == 0;
}

static int fetch_from(const struct fetch *f, const struct vckpt_store *place, json_t **deed,
		      struct vckpt_error *err)
{
	const struct vckpt_copy_options o = {.deep = true};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_copied copied = {0};

	if (f->lease && vckpt_store_copy(place, f->epoch, f->lease, &o, &copied, &why) < 0) {
		if (is_of_place(f, place, &why))
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	*deed = json_pack("{s:s, s:I, s:s, s:I, s:I}", "what", "fetched", "epoch",
			  (json_int_t)f->epoch, "from", vckpt_store_path(place), "files",
			  (json_int_t)copied.files, "bytes", (json_int_t)copied.bytes);
	return 1;
}

int vckpt_fetch_epoch(struct vckpt_reach *reach, const char *cluster, struct vckpt_lease *lease,
		      uint64_t epoch, json_t **deed, struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_reach_store(reach);
	vckpt_auto(end_fetch) struct fetch f = {
		.store = store, .cluster = cluster, .lease = lease, .epoch = epoch};
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};
	size_t self;
	int rc = 0;

	*deed = NULL;
	/* A list that cannot be read names no place. */
	if (vckpt_places_own(store, cluster, &p, NULL) < 0)
		return 0;
	vckpt_catalogue_get(store, cluster, epoch, &f.is, NULL);
	self = vckpt_places_find(&p, vckpt_store_path(store));
	for (size_t i = 0; i < p.n && rc == 0; i++) {
		const struct vckpt_store *place =
			i == self ? NULL : vckpt_reach_open(reach, p.v[i].path, NULL);

		if (place && has_it(&f, place))
			rc = fetch_from(&f, place, deed, err);
	}
	return rc;
}
