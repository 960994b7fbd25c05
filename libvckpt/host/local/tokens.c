#include "host/local/tokens.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "host/local/journal.h"
#include "host/local/json.h"

#define FILE_MAX 4096

int vckpt_token_compare(const struct vckpt_token *a, const struct vckpt_token *b)
{
	if (a->incarnation != b->incarnation)
		return a->incarnation < b->incarnation ? -1 : 1;
	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	return 0;
}

/* What was seen; {0, 0} if nothing, or of another store. */
static int load(const char *path, const char *store_uuid, struct vckpt_token *t,
		struct vckpt_error *err)
{
	struct vckpt_error e = VCKPT_ERROR_NONE;
	json_auto_t *j = NULL;
	vckpt_autofree char *text = NULL;
	json_int_t incarnation, epoch;
	const char *store;
	size_t len;

	*t = (struct vckpt_token){0, 0};
	if (vckpt_read_file(path, FILE_MAX, &text, &len, &e) < 0) {
		if (e.code == VCKPT_ENOTFOUND)
			return 0;
		return vckpt_fail(err, e.code, "%s", e.text);
	}
	j = json_loadb(text, len, 0, NULL);
	if (!j || json_unpack(j, "{ss sI sI}", "store", &store, "incarnation", &incarnation,
			      "epoch", &epoch) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is not readable, so nobody knows which coordinator is the "
				  "newest; remove it if only one is at work",
				  path);
	if (strcmp(store, store_uuid) == 0)
		*t = (struct vckpt_token){(uint32_t)incarnation, (uint64_t)epoch};
	return 0;
}

int vckpt_token_admit(const char *dir, const char *cluster, const char *store_uuid,
		      const struct vckpt_token *t, struct vckpt_error *err)
{
	json_auto_t *j = NULL;
	vckpt_autofree char *text = NULL;
	char path[PATH_MAX], name[NAME_MAX + 1];
	struct vckpt_token seen;
	int order;

	vckpt_journal_name(cluster, NULL, name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (load(path, store_uuid, &seen, err) < 0)
		return -1;
	order = vckpt_token_compare(t, &seen);
	if (order < 0)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "cluster %s: epoch %" PRIu64 " of incarnation %" PRIu32
				  " is out of date, this host has seen epoch %" PRIu64
				  " of incarnation %" PRIu32 "; another coordinator has taken over",
				  cluster, t->epoch, t->incarnation, seen.epoch, seen.incarnation);
	if (order == 0)
		return 0;
	j = json_pack("{ss sI sI}", "store", store_uuid, "incarnation", (json_int_t)t->incarnation,
		      "epoch", (json_int_t)t->epoch);
	text = j ? json_dumps(j, 0) : NULL;
	if (!text)
		return vckpt_fail(err, VCKPT_ESYSTEM, "no memory to note the epoch of cluster %s",
				  cluster);
	return vckpt_write_aside(path, text, err);
}
