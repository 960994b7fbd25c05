#include "store/catalogue.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/guard.h"
#include "store/layout.h"
#include "store/lease.h"
#include "store/seal.h"

#define KIND "epoch"

void vckpt_epoch_clear(struct vckpt_epoch *e)
{
	for (size_t i = 0; i < e->n_guests; i++)
		vckpt_receipt_clear(&e->guests[i]);
	free(e->guests);
	json_decref(e->record);
	memset(e, 0, sizeof(*e));
}

static json_t *guests_json(const struct vckpt_epoch *e, struct vckpt_error *err)
{
	json_auto_t *list = json_array();

	for (size_t i = 0; i < e->n_guests; i++) {
		json_t *one = vckpt_receipt_to_json(&e->guests[i], err);

		if (!one)
			return NULL;
		json_array_append_new(list, one);
	}
	return json_incref(list);
}

static json_t *epoch_json(const struct vckpt_store *store, const struct vckpt_epoch *e,
			  struct vckpt_error *err)
{
	json_auto_t *record = e->record ? json_incref(e->record) : json_object();
	json_t *guests = guests_json(e, err);
	json_t *j;

	if (!guests)
		return NULL;
	j = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:s,s:o,s:O}", "store",
		      vckpt_store_uuid(store), "cluster", e->cluster, "epoch", (json_int_t)e->epoch,
		      "incarnation", (json_int_t)e->incarnation, "parent", (json_int_t)e->parent,
		      "time_ns", (json_int_t)e->time_ns, "asked_by", e->asked_by, "why", e->why,
		      "engine", e->engine, "gate", e->gate, "drain", e->drain, "guests", guests,
		      "record", record);
	if (!j)
		vckpt_fail(err, VCKPT_EUSAGE,
			   "epoch %" PRIu64 " of cluster %s cannot be put into JSON: all its texts "
			   "must be UTF-8",
			   e->epoch, e->cluster);
	return j;
}

static int check_file(const struct vckpt_store *store, const struct vckpt_epoch *e,
		      const char *guest, const char *kind, const struct vckpt_store_file *f,
		      struct vckpt_error *err)
{
	char path[PATH_MAX];
	struct stat st;

	if (vckpt_data_path(store, e->cluster, e->epoch, guest, kind, path, err) < 0)
		return -1;
	if (stat(path, &st) == 0 && (uint64_t)st.st_size == f->bytes)
		return 0;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "epoch %" PRIu64 " of cluster %s is not committed: %s of guest %s is not "
			  "there with its %" PRIu64 " bytes; take a new checkpoint",
			  e->epoch, e->cluster, path, guest, f->bytes);
}

static int check_key(const struct vckpt_store *store, const struct vckpt_epoch *e,
		     const char *guest, struct vckpt_error *err)
{
	char path[PATH_MAX];

	if (vckpt_data_path(store, e->cluster, e->epoch, guest, "key", path, err) < 0)
		return -1;
	if (access(path, F_OK) == 0)
		return 0;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "epoch %" PRIu64
			  " of cluster %s is not committed: %s is gone, and nothing "
			  "else opens the capture; take a new checkpoint",
			  e->epoch, e->cluster, path);
}

/* What it refers to was there when its captures began; nobody but who has the lease removes any. */
static int check_needs(const struct vckpt_store *store, const struct vckpt_epoch *e,
		       const struct vckpt_receipt *r, struct vckpt_error *err)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < r->n_needs; i++) {
		if (vckpt_pack_path(store, e->cluster, r->needs[i], path, err) < 0)
			return -1;
		if (access(path, F_OK) < 0)
			return vckpt_fail(err, VCKPT_EREFUSED,
					  "epoch %" PRIu64 " of cluster %s is not committed: guest "
					  "%s needs %s, which is gone; take a new checkpoint",
					  e->epoch, e->cluster, r->guest, path);
	}
	return 0;
}

static int check_files(const struct vckpt_store *store, const struct vckpt_epoch *e,
		       struct vckpt_error *err)
{
	for (size_t i = 0; i < e->n_guests; i++) {
		const struct vckpt_receipt *r = &e->guests[i];

		for (size_t k = 0; k < i; k++)
			if (strcmp(r->guest, e->guests[k].guest) == 0)
				return vckpt_fail(err, VCKPT_EUSAGE, "guest %s is there twice",
						  r->guest);
		if (check_file(store, e, r->guest, "map", &r->map, err) < 0 ||
		    check_file(store, e, r->guest, "device", &r->device, err) < 0 ||
		    check_file(store, e, r->guest, "xml", &r->xml, err) < 0 ||
		    check_file(store, e, r->guest, "pack", &r->pack, err) < 0 ||
		    (r->pages.bytes &&
		     check_file(store, e, r->guest, "pages", &r->pages, err) < 0) ||
		    (r->key[0] && check_key(store, e, r->guest, err) < 0) ||
		    check_needs(store, e, r, err) < 0)
			return -1;
	}
	return 0;
}

/* The token (epoch, incarnation) and the lease: an older coordinator must not get in. */
static int check_token(const struct vckpt_lease *lease, const struct vckpt_epoch *e,
		       struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_lease_store(lease);
	vckpt_autofree uint64_t *all = NULL;
	struct vckpt_incarnation inc;
	size_t n;

	if (strcmp(e->cluster, vckpt_lease_cluster(lease)) != 0)
		return vckpt_fail(err, VCKPT_EUSAGE, "the lease is for cluster %s, not %s",
				  vckpt_lease_cluster(lease), e->cluster);
	if (vckpt_lease_check(lease, err) < 0 ||
	    vckpt_store_read_incarnation(store, e->cluster, &inc, err) < 0 ||
	    vckpt_catalogue_list(store, e->cluster, &all, &n, err) < 0)
		return -1;
	if (inc.number != e->incarnation)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "epoch %" PRIu64 " of cluster %s is of incarnation %" PRIu64
				  ", but the cluster is in incarnation %" PRIu64 " by now",
				  e->epoch, e->cluster, e->incarnation, inc.number);
	if (n && all[n - 1] >= e->epoch)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "epoch %" PRIu64 " of cluster %s comes too late: epoch %" PRIu64
				  " is committed",
				  e->epoch, e->cluster, all[n - 1]);
	return 0;
}

/* A vckpt that does not know of keys, of lists of pages or of transposed words must not sweep them,
 * nor take them for damaged: it cannot read the entry, so it does not. */
static unsigned format_of(const struct vckpt_epoch *e)
{
	unsigned format = VCKPT_SEAL_FORMAT;

	for (size_t i = 0; i < e->n_guests; i++) {
		const struct vckpt_receipt *r = &e->guests[i];
		unsigned needs = r->pages_words   ? VCKPT_SEAL_WORDS
				 : r->pages.bytes ? VCKPT_SEAL_PAGES
				 : r->key[0]      ? VCKPT_SEAL_KEYS
						  : VCKPT_SEAL_FORMAT;

		format = needs > format ? needs : format;
	}
	return format;
}

/* ---- tickets ---- */

static int ticket_path(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
		       char dir[PATH_MAX], char path[PATH_MAX], struct vckpt_error *err)
{
	if (vckpt_data_dir(store, cluster, epoch, dir, err) < 0)
		return -1;
	if (snprintf(path, PATH_MAX, "%s/ticket", dir) >= PATH_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "the path %s is too long", dir);
	return 0;
}

int vckpt_catalogue_ticket(const struct vckpt_lease *lease, uint64_t epoch, struct vckpt_error *err)
{
	char dir[PATH_MAX], path[PATH_MAX];
	vckpt_autofd int fd = -1;

	if (ticket_path(vckpt_lease_store(lease), vckpt_lease_cluster(lease), epoch, dir, path,
			err) < 0)
		return -1;
	fd = vckpt_guard_create(path, O_EXCL);
	if (fd < 0)
		return vckpt_fail_errno(err, "cannot create %s", path);
	return vckpt_sync_dir(dir, err);
}

static int sync_epochs(const struct vckpt_store *store, const char *cluster,
		       struct vckpt_error *err)
{
	char dir[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, "epochs", dir, err) < 0)
		return -1;
	return vckpt_sync_dir(dir, err);
}

static int commit_ticket(const struct vckpt_store *store, const struct vckpt_epoch *e, json_t *j,
			 const char *path, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char dir[PATH_MAX], ticket[PATH_MAX];
	bool taken;

	if (ticket_path(store, e->cluster, e->epoch, dir, ticket, err) < 0)
		return -1;
	if (vckpt_seal_fill(ticket, KIND, format_of(e), j, &why) < 0 ||
	    vckpt_fault_point("store.ticket.rename", NULL, &why) < 0 ||
	    (rename(ticket, path) < 0 && vckpt_fail_errno(&why, "cannot rename %s", ticket) < 0)) {
		/* A server that was asked twice says no the second time. */
		taken = why.code == VCKPT_ENOTFOUND ||
			(why.code == VCKPT_ESYSTEM && why.sys == ENOENT);
		if (taken && access(path, F_OK) == 0)
			return sync_epochs(store, e->cluster, err);
		if (taken)
			return vckpt_fail(err, VCKPT_EREFUSED,
					  "epoch %" PRIu64 " of cluster %s is not committed: a "
					  "host gave it up, and its guests run on",
					  e->epoch, e->cluster);
		return vckpt_fail(err, why.code, "%s", why.text);
	}
	vckpt_fault_here("store.ticket.renamed", NULL);
	if (sync_epochs(store, e->cluster, err) == 0)
		return 0;
	/* As below. */
	unlink(path);
	return -1;
}

int vckpt_catalogue_settle(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			   uint64_t incarnation, bool *over, struct vckpt_error *err)
{
	char dir[PATH_MAX], ticket[PATH_MAX], path[PATH_MAX];
	struct vckpt_incarnation inc;

	if (ticket_path(store, cluster, epoch, dir, ticket, err) < 0 ||
	    vckpt_entry_path(store, cluster, epoch, path, err) < 0)
		return -1;
	if (unlink(ticket) == 0) {
		if (vckpt_sync_dir(dir, err) < 0)
			return -1;
	} else if (errno != ENOENT) {
		return vckpt_fail_errno(err, "cannot remove %s", ticket);
	}
	if (vckpt_store_read_incarnation(store, cluster, &inc, err) < 0)
		return -1;
	*over = inc.number > incarnation;
	if (access(path, F_OK) == 0) {
		*over = true;
		return sync_epochs(store, cluster, err);
	}
	if (errno != ENOENT)
		return vckpt_fail_errno(err, "cannot look at %s", path);
	return 0;
}

int vckpt_catalogue_commit(const struct vckpt_lease *lease, const struct vckpt_epoch *e,
			   struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_lease_store(lease);
	json_auto_t *j = NULL;
	char path[PATH_MAX];

	if (e->epoch == 0 || e->parent >= e->epoch || (e->record && !json_is_object(e->record)))
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "epoch %" PRIu64 " of cluster %s: epochs begin at 1, a parent is "
				  "older, a record is a JSON object",
				  e->epoch, e->cluster);
	j = epoch_json(store, e, err);
	if (!j || vckpt_entry_path(store, e->cluster, e->epoch, path, err) < 0 ||
	    check_files(store, e, err) < 0 || check_token(lease, e, err) < 0)
		return -1;
	if (e->by_ticket)
		return commit_ticket(store, e, j, path, err);
	if (vckpt_seal_write_json_as(path, KIND, format_of(e), j, err) == 0)
		return 0;
	/* Renamed, but not known to last: whoever is told that it failed must not find it there. */
	unlink(path);
	return -1;
}

int vckpt_catalogue_list(const struct vckpt_store *store, const char *cluster, uint64_t **epochs,
			 size_t *n, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char dir[PATH_MAX];

	if (vckpt_cluster_path(store, cluster, "epochs", dir, err) < 0)
		return -1;
	if (vckpt_list_numbers(dir, ".json", epochs, n, &why) == 0)
		return 0;
	if (why.code == VCKPT_ENOTFOUND)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "store %s has no cluster %s; `vckpt ls` lists what it has",
				  vckpt_store_path(store), cluster);
	if (err)
		*err = why;
	return -1;
}

static int put_text(char *out, size_t size, const char *text)
{
	return snprintf(out, size, "%s", text) < (int)size ? 0 : -1;
}

static int fill_guests(json_t *guests, struct vckpt_epoch *e, struct vckpt_error *err)
{
	size_t n = json_array_size(guests);

	if (!json_is_array(guests))
		return vckpt_fail(err, VCKPT_EDAMAGED, "guests is no list");
	e->guests = calloc(n + 1, sizeof(*e->guests));
	if (!e->guests)
		return vckpt_fail_errno(err, "no memory for %zu guests", n);
	for (; e->n_guests < n; e->n_guests++)
		if (vckpt_receipt_from_json(json_array_get(guests, e->n_guests),
					    &e->guests[e->n_guests], err) < 0)
			return -1;
	return 0;
}

static int fill(json_t *j, struct vckpt_epoch *e, struct vckpt_error *err)
{
	const char *store, *cluster, *asked, *why, *engine, *gate, *drain;
	json_int_t epoch, incarnation, parent, time_ns;
	json_t *guests, *record;
	json_error_t bad;

	if (json_unpack_ex(j, &bad, JSON_STRICT,
			   "{s:s,s:s,s:I,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:s,s:o,s:o}", "store", &store,
			   "cluster", &cluster, "epoch", &epoch, "incarnation", &incarnation,
			   "parent", &parent, "time_ns", &time_ns, "asked_by", &asked, "why", &why,
			   "engine", &engine, "gate", &gate, "drain", &drain, "guests", &guests,
			   "record", &record) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s", bad.text);
	if (epoch < 1 || incarnation < 0 || parent < 0 || parent >= epoch || time_ns < 0 ||
	    vckpt_store_check_name("cluster", cluster, NULL) < 0 ||
	    put_text(e->cluster, sizeof(e->cluster), cluster) < 0 ||
	    put_text(e->asked_by, sizeof(e->asked_by), asked) < 0 ||
	    put_text(e->why, sizeof(e->why), why) < 0 ||
	    put_text(e->engine, sizeof(e->engine), engine) < 0 ||
	    put_text(e->gate, sizeof(e->gate), gate) < 0 ||
	    put_text(e->drain, sizeof(e->drain), drain) < 0 || !json_is_object(record))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "a member has a value that vckpt does not write");
	e->epoch = (uint64_t)epoch;
	e->incarnation = (uint64_t)incarnation;
	e->parent = (uint64_t)parent;
	e->time_ns = (uint64_t)time_ns;
	e->record = json_incref(record);
	return fill_guests(guests, e, err);
}

int vckpt_epoch_decode(const char *text, size_t len, const char *path, struct vckpt_epoch *e,
		       struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	json_auto_t *j = NULL;

	memset(e, 0, sizeof(*e));
	j = vckpt_unseal_json(KIND, text, len, path, err);
	if (!j)
		return -1;
	if (fill(j, e, &why) == 0)
		return 0;
	vckpt_epoch_clear(e);
	return vckpt_fail(err, why.code, "%s is not what vckpt writes: %s", path, why.text);
}

int vckpt_catalogue_get(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			struct vckpt_epoch *e, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree char *text = NULL;
	char path[PATH_MAX];
	size_t len;

	if (vckpt_entry_path(store, cluster, epoch, path, err) < 0)
		return -1;
	if (vckpt_fault_point("store.unseal", "epoch", &why) == 0 &&
	    vckpt_read_own_file(path, VCKPT_SEAL_MAX, &text, &len, &why) == 0 &&
	    vckpt_epoch_decode(text, len, path, e, &why) == 0) {
		if (e->epoch == epoch && strcmp(e->cluster, cluster) == 0)
			return 0;
		vckpt_epoch_clear(e);
		vckpt_fail(&why, VCKPT_EDAMAGED, "%s is damaged: it is the entry of another epoch",
			   path);
	}
	if (why.code == VCKPT_ENOTFOUND)
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "cluster %s has no committed epoch %" PRIu64
				  ": `vckpt ls %s` lists those it has",
				  cluster, epoch, cluster);
	if (err)
		*err = why;
	return vckpt_error_prefix(err, "epoch %" PRIu64 " of cluster %s", epoch, cluster);
}

int vckpt_catalogue_newest(const struct vckpt_store *store, const char *cluster, uint64_t *epoch,
			   struct vckpt_error *err)
{
	vckpt_autofree uint64_t *all = NULL;
	size_t n;

	if (vckpt_catalogue_list(store, cluster, &all, &n, err) < 0)
		return -1;
	if (n == 0)
		return vckpt_fail(
			err, VCKPT_ENOTFOUND,
			"cluster %s has no committed epoch: `vckpt checkpoint %s` makes one",
			cluster, cluster);
	*epoch = all[n - 1];
	return 0;
}

int vckpt_catalogue_remove(const struct vckpt_lease *lease, uint64_t epoch, struct vckpt_error *err)
{
	const struct vckpt_store *store = vckpt_lease_store(lease);
	const char *cluster = vckpt_lease_cluster(lease);
	char path[PATH_MAX];

	if (vckpt_lease_check(lease, err) < 0 ||
	    vckpt_entry_path(store, cluster, epoch, path, err) < 0 ||
	    vckpt_fault_point("store.entry.remove", NULL, err) < 0)
		return -1;
	if (unlink(path) < 0) {
		if (errno != ENOENT)
			return vckpt_fail_errno(err, "cannot remove %s", path);
		return vckpt_fail(err, VCKPT_ENOTFOUND,
				  "cluster %s has no committed epoch %" PRIu64
				  ": `vckpt ls %s` lists those it has",
				  cluster, epoch, cluster);
	}
	vckpt_fault_here("store.entry.removed", NULL);
	if (vckpt_cluster_path(store, cluster, "epochs", path, err) < 0)
		return -1;
	return vckpt_sync_dir(path, err);
}
