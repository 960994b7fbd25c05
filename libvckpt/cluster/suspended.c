#include "cluster/suspended.h"

#include "base/cleanup.h"

int vckpt_suspended_at(const struct vckpt_store *store, const struct vckpt_epoch *newest, bool *is,
		       struct vckpt_error *err)
{
	struct vckpt_incarnation inc;

	*is = false;
	if (vckpt_store_read_incarnation(store, newest->cluster, &inc, err) < 0)
		return -1;
	*is = json_is_true(json_object_get(newest->record, "suspend")) &&
	      inc.number == newest->incarnation;
	return 0;
}

int vckpt_suspended(const struct vckpt_store *store, const char *cluster, bool *is,
		    struct vckpt_error *err)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	uint64_t newest;

	*is = false;
	if (vckpt_catalogue_newest(store, cluster, &newest, &why) < 0) {
		if (why.code == VCKPT_ENOTFOUND)
			return 0;
		if (err)
			*err = why;
		return -1;
	}
	if (vckpt_catalogue_get(store, cluster, newest, &e, err) < 0)
		return -1;
	return vckpt_suspended_at(store, &e, is, err);
}
