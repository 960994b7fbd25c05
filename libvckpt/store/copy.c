#include "store/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/behind.h"
#include "store/blob.h"
#include "store/catalogue.h"
#include "store/copy_pack.h"
#include "store/guard.h"
#include "store/keys.h"
#include "store/layer_copy.h"
#include "store/layout.h"
#include "store/map.h"
#include "store/seal.h"
#include "store/used.h"

#define RENEW  (5 * VCKPT_S)
#define LITTLE (4u << 20) /* of entries, maps' tables and what else is not counted */

struct copy {
	const struct vckpt_store *from, *to;
	const char *cluster;
	struct vckpt_lease *lease;
	const struct vckpt_copy_options *opt;
	struct vckpt_epoch e;
	struct vckpt_used used;
	bool *there; /* by pack of `used` */
	struct vckpt_copied out;
	uint64_t done, total, renewed;
};

static void end_copy(struct copy *c)
{
	vckpt_epoch_clear(&c->e);
	vckpt_used_clear(&c->used);
	free(c->there);
}

static int step(void *arg, uint64_t bytes, struct vckpt_error *err)
{
	struct copy *c = arg;

	c->done += bytes;
	c->out.bytes += bytes;
	if (c->opt->tick &&
	    !c->opt->tick(c->opt->arg, c->done < c->total ? c->done : c->total, c->total))
		return vckpt_fail(err, VCKPT_ECANCELED,
				  "the copy of epoch %" PRIu64
				  " of cluster %s was given up; another "
				  "one goes on where it was",
				  c->e.epoch, c->cluster);
	if (vckpt_now() - c->renewed < RENEW)
		return 0;
	c->renewed = vckpt_now();
	return vckpt_lease_renew(c->lease, err);
}

/* ---- what the maps say ---- */

/* Without the store key the map of an encrypted guest says nothing: then packs are copied as they
 * stand. */
static int read_maps(struct copy *c, struct vckpt_error *err)
{
	if (vckpt_used_read(c->from, c->cluster, &c->e, 1, &c->used, NULL, NULL, err) < 0)
		return -1;
	for (size_t i = 0; i < c->used.n; i++) {
		const struct vckpt_error *why = &c->used.packs[i].unknown;

		if (why->code && why->code != VCKPT_EREFUSED)
			return vckpt_fail(err, why->code, "%s", why->text);
	}
	return 0;
}

/* A place that led once may have given the number to an epoch of its own. */
static int check_other(const struct copy *c, struct vckpt_error *err)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch there = {0};

	if (vckpt_catalogue_get(c->to, c->cluster, c->e.epoch, &there, NULL) < 0 ||
	    vckpt_copy_is_same(&c->e, &there))
		return 0;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "there is another epoch %" PRIu64
			  ", made when that place led: `vckpt prune %s@%" PRIu64
			  " --store %s` if it is not wanted",
			  c->e.epoch, c->cluster, c->e.epoch, vckpt_store_path(c->to));
}

/* ---- room ---- */

static int pack_job(struct copy *c, size_t i, struct vckpt_pack_copy *p, char from[PATH_MAX],
		    char to[PATH_MAX], struct vckpt_error *err)
{
	const struct vckpt_used_pack *used = &c->used.packs[i];
	const char *name = used->name;

	*p = (struct vckpt_pack_copy){.name = name,
				      .from = from,
				      .to = to,
				      .uuid = vckpt_store_uuid_bytes(c->from),
				      .is = used->is.bytes ? &used->is : NULL,
				      .used = used,
				      .deep = c->opt->deep,
				      .step = step,
				      .arg = c};
	return vckpt_pack_path(c->from, c->cluster, name, from, err) < 0
		       ? -1
		       : vckpt_pack_path(c->to, c->cluster, name, to, err);
}

/* Where the epoch is copied to is no disk; the store that leads has them where they are. */
static bool takes_layers(const struct copy *c)
{
	return vckpt_places_check_lead(c->to, c->cluster, NULL) < 0;
}

/* More than it may be: two guests may have the same. */
static int count_layer(void *arg, const json_t *layer, struct vckpt_error *err)
{
	struct copy *c = arg;
	struct stat st;

	(void)err;
	if (!vckpt_layer_maybe_copied(c->to, c->cluster, layer, NULL) &&
	    stat(json_string_value(json_object_get(layer, "path")), &st) == 0)
		c->total += (uint64_t)st.st_blocks * 512;
	return 0;
}

static int look_at_packs(struct copy *c, struct vckpt_error *err)
{
	char from[PATH_MAX], to[PATH_MAX];
	struct vckpt_pack_copy p;
	struct statvfs fs;
	struct stat st;

	c->there = calloc(c->used.n + 1, sizeof(*c->there));
	if (!c->there)
		return vckpt_fail_errno(err, "no memory to copy epoch %" PRIu64, c->e.epoch);
	for (size_t i = 0; i < c->used.n; i++) {
		if (pack_job(c, i, &p, from, to, err) < 0 ||
		    vckpt_pack_copied(&p, &c->there[i], err) < 0)
			return -1;
		if (!c->there[i] && stat(from, &st) == 0)
			c->total += (uint64_t)st.st_blocks * 512;
	}
	for (size_t i = 0; i < c->e.n_guests; i++)
		c->total += c->e.guests[i].map.bytes + c->e.guests[i].device.bytes +
			    c->e.guests[i].xml.bytes + c->e.guests[i].pages.bytes;
	if (takes_layers(c))
		vckpt_layers_each(&c->e, count_layer, c, NULL);
	if (statvfs(vckpt_store_path(c->to), &fs) < 0)
		return vckpt_fail_errno(err, "cannot look at %s", vckpt_store_path(c->to));
	if ((uint64_t)fs.f_bavail * fs.f_frsize >= c->total + LITTLE)
		return 0;
	errno = ENOSPC;
	return vckpt_fail_errno(err,
				"the copy needs up to %" PRIu64 " MiB, and %s has %" PRIu64
				" MiB free: make room there (vckpt prune --store %s)",
				((c->total + LITTLE) >> 20) + 1, vckpt_store_path(c->to),
				(uint64_t)fs.f_bavail * fs.f_frsize >> 20, vckpt_store_path(c->to));
}

/* ---- files ---- */

/* *same: at `to` are the same bytes. */
static int read_both(const char *from, const char *to, char **data, size_t *len, bool *same,
		     struct vckpt_error *err)
{
	vckpt_autofree char *was = NULL;
	size_t n;

	if (vckpt_read_own_file(from, SIZE_MAX / 2, data, len, err) < 0)
		return -1;
	*same = vckpt_read_own_file(to, SIZE_MAX / 2, &was, &n, NULL) == 0 && n == *len &&
		memcmp(was, *data, n) == 0;
	return 0;
}

static int put_file(const char *to, const char *data, size_t len, struct vckpt_error *err)
{
	if (vckpt_fault_point("store.copy.file", NULL, err) < 0)
		return -1;
	return vckpt_replace_file(to, data, len, vckpt_guard_file_mode(to), err);
}

static int paths_of(const struct copy *c, uint64_t epoch, const char *guest, const char *kind,
		    char from[PATH_MAX], char to[PATH_MAX], struct vckpt_error *err)
{
	return vckpt_data_path(c->from, c->cluster, epoch, guest, kind, from, err) < 0
		       ? -1
		       : vckpt_data_path(c->to, c->cluster, epoch, guest, kind, to, err);
}

/* A file of a receipt. */
static int copy_file(struct copy *c, const char *guest, const char *kind,
		     const struct vckpt_store_file *want, struct vckpt_error *err)
{
	vckpt_autofree char *data = NULL;
	char from[PATH_MAX], to[PATH_MAX];
	struct vckpt_digest is;
	bool same;
	size_t len;

	if (want->bytes == 0)
		return 0;
	if (paths_of(c, c->e.epoch, guest, kind, from, to, err) < 0 ||
	    read_both(from, to, &data, &len, &same, err) < 0)
		return -1;
	vckpt_digest_of(&is, data, len, NULL, 0);
	if (len != want->bytes || !vckpt_digest_equal(&is, &want->digest))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it is not the file the catalogue names", from);
	if (same)
		return 0;
	c->out.files++;
	return step(c, len, err) < 0 ? -1 : put_file(to, data, len, err);
}

/* What lies beside a pack: its key, if it is encrypted, without which it is worth nothing, and the
 * list of its pages, which only captures to come want. */
static int copy_beside(struct copy *c, const char *pack, struct vckpt_error *err)
{
	char guest[VCKPT_NAME_SIZE], from[PATH_MAX], to[PATH_MAX];
	uint64_t epoch = vckpt_pack_epoch(pack);
	static const char *const kinds[] = {"key", "pages"};

	vckpt_pack_guest(pack, guest);
	for (int i = 0; i < 2; i++) {
		vckpt_autofree char *data = NULL, *body = NULL;
		bool same;
		size_t len;

		if (paths_of(c, epoch, guest, kinds[i], from, to, err) < 0)
			return -1;
		if (access(from, F_OK) < 0 && errno == ENOENT)
			continue;
		if (i == 0 && vckpt_seal_read(from, "data-key", &body, &len, err) < 0)
			return -1;
		if (i == 1 && vckpt_blob_check(from, VCKPT_BLOB_PAGES, NULL, NULL) < 0)
			continue;
		if (read_both(from, to, &data, &len, &same, err) < 0 ||
		    (!same && put_file(to, data, len, err) < 0))
			return -1;
		c->out.files += !same;
	}
	return 0;
}

static int make_data_folder(struct copy *c, uint64_t epoch, struct vckpt_error *err)
{
	char dir[PATH_MAX], name[24];

	snprintf(name, sizeof(name), "%06" PRIu64, epoch);
	return vckpt_cluster_path(c->to, c->cluster, "data", dir, err) < 0
		       ? -1
		       : vckpt_make_folder(dir, name, err);
}

static int sync_data_folder(struct copy *c, uint64_t epoch, struct vckpt_error *err)
{
	char dir[PATH_MAX];

	return vckpt_data_dir(c->to, c->cluster, epoch, dir, err) < 0 ? -1
								      : vckpt_sync_dir(dir, err);
}

static int copy_packs(struct copy *c, struct vckpt_error *err)
{
	char from[PATH_MAX], to[PATH_MAX];
	struct vckpt_pack_copy p;

	for (size_t i = 0; i < c->used.n; i++) {
		uint64_t epoch = vckpt_pack_epoch(c->used.packs[i].name);

		if (pack_job(c, i, &p, from, to, err) < 0 || make_data_folder(c, epoch, err) < 0)
			return -1;
		if (!c->there[i] && vckpt_pack_copy(&p, err) < 0)
			return -1;
		c->out.files += !c->there[i];
		if (copy_beside(c, p.name, err) < 0 || sync_data_folder(c, epoch, err) < 0)
			return -1;
	}
	return 0;
}

static int copy_guests(struct copy *c, struct vckpt_error *err)
{
	if (make_data_folder(c, c->e.epoch, err) < 0)
		return -1;
	for (size_t i = 0; i < c->e.n_guests; i++) {
		const struct vckpt_receipt *r = &c->e.guests[i];

		if (copy_file(c, r->guest, "map", &r->map, err) < 0 ||
		    copy_file(c, r->guest, "device", &r->device, err) < 0 ||
		    copy_file(c, r->guest, "xml", &r->xml, err) < 0 ||
		    copy_file(c, r->guest, "pages", &r->pages, err) < 0)
			return -1;
	}
	return sync_data_folder(c, c->e.epoch, err);
}

/* ---- disks ---- */

struct layers {
	struct copy *c;
	struct vckpt_error why; /* of step(), which has to say it by a bool there */
};

static bool on_layer(void *arg, uint64_t bytes)
{
	struct layers *l = arg;

	return step(l->c, bytes, &l->why) == 0;
}

static int copy_layer(void *arg, const json_t *layer, struct vckpt_error *err)
{
	struct layers *l = arg;
	struct copy *c = l->c;
	char path[PATH_MAX];
	struct stat st;
	uint64_t was;
	bool seen;
	int rc;

	was = c->out.bytes;
	rc = vckpt_layer_to_place(c->from, c->to, c->cluster, layer, on_layer, l, &seen, err);
	/* Holes were read, not written. */
	if (rc > 0 && vckpt_layer_copied(c->to, c->cluster, layer, path) && stat(path, &st) == 0 &&
	    (uint64_t)st.st_blocks * 512 < c->out.bytes - was)
		c->out.bytes = was + (uint64_t)st.st_blocks * 512;
	if (rc < 0 && l->why.code)
		return vckpt_fail(err, l->why.code, "%s", l->why.text);
	c->out.unseen += !seen;
	c->out.files += rc > 0;
	return rc < 0 ? -1 : 0;
}

static int copy_layers(struct copy *c, struct vckpt_error *err)
{
	struct layers l = {.c = c};

	return takes_layers(c) ? vckpt_layers_each(&c->e, copy_layer, &l, err) : 0;
}

/* Numbers that were given here must not be given again there, if it leads some day. */
static int copy_number(struct copy *c, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *all = NULL;
	char dir[PATH_MAX];
	size_t n;

	if (vckpt_cluster_path(c->from, c->cluster, "data", dir, err) < 0 ||
	    vckpt_list_numbers(dir, "", &all, &n, err) < 0)
		return -1;
	return n ? make_data_folder(c, all[n - 1], err) : 0;
}

/* A prune here takes the entry away before anything else: as long as it is there, all that was read
 * was whole.  Then the copy is named. */
static int copy_entry(struct copy *c, struct vckpt_error *err)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch again = {0};
	vckpt_autofree char *data = NULL;
	char from[PATH_MAX], to[PATH_MAX];
	bool same;
	size_t len;

	if (vckpt_entry_path(c->from, c->cluster, c->e.epoch, from, err) < 0 ||
	    vckpt_entry_path(c->to, c->cluster, c->e.epoch, to, err) < 0 ||
	    vckpt_catalogue_get(c->from, c->cluster, c->e.epoch, &again, err) < 0 ||
	    read_both(from, to, &data, &len, &same, err) < 0)
		return -1;
	if (same) {
		c->out.there = c->out.files == 0;
		return 0;
	}
	if (vckpt_lease_check(c->lease, err) < 0 ||
	    vckpt_fault_point("store.copy.entry", NULL, err) < 0)
		return -1;
	return vckpt_replace_file(to, data, len, vckpt_guard_file_mode(to), err);
}

int vckpt_store_copy(const struct vckpt_store *from, uint64_t epoch, struct vckpt_lease *to,
		     const struct vckpt_copy_options *options, struct vckpt_copied *out,
		     struct vckpt_error *err)
{
	vckpt_auto(end_copy) struct copy c = {.from = from,
					      .to = vckpt_lease_store(to),
					      .cluster = vckpt_lease_cluster(to),
					      .lease = to,
					      .opt = options,
					      .renewed = vckpt_now()};

	memset(out, 0, sizeof(*out));
	if (vckpt_catalogue_get(from, c.cluster, epoch, &c.e, err) < 0 ||
	    vckpt_check_folders(from, c.cluster, epoch, err) < 0 || check_other(&c, err) < 0 ||
	    read_maps(&c, err) < 0 || copy_number(&c, err) < 0 || look_at_packs(&c, err) < 0 ||
	    copy_packs(&c, err) < 0 || copy_layers(&c, err) < 0 || copy_guests(&c, err) < 0 ||
	    copy_entry(&c, err) < 0)
		return vckpt_error_prefix(err,
					  "epoch %" PRIu64 " of cluster %s is not copied to %s",
					  epoch, c.cluster, vckpt_store_path(c.to));
	*out = c.out;
	return 0;
}

/* ---- state ---- */

static int copy_definition(const struct vckpt_store *from, const char *cluster,
			   const struct vckpt_store *to, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL, *was = NULL;
	size_t len, n;

	if (vckpt_store_read_definition(from, cluster, &text, &len, err) < 0)
		return -1;
	if (vckpt_store_read_definition(to, cluster, &was, &n, NULL) == 0 && n == len &&
	    memcmp(text, was, n) == 0)
		return 0;
	return vckpt_store_write_definition(to, cluster, text, len, err);
}

static int copy_sealed(const struct vckpt_store *from, const char *cluster,
		       const struct vckpt_store *to, const char *name, const char *kind,
		       struct vckpt_error *err)
{
	vckpt_autofree char *data = NULL, *body = NULL;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char here[PATH_MAX], there[PATH_MAX];
	bool same;
	size_t len;

	if (vckpt_cluster_path(from, cluster, name, here, err) < 0 ||
	    vckpt_cluster_path(to, cluster, name, there, err) < 0)
		return -1;
	if (vckpt_seal_read(here, kind, &body, &len, &why) < 0)
		return why.code == VCKPT_ENOTFOUND ? 0 : vckpt_fail(err, why.code, "%s", why.text);
	if (read_both(here, there, &data, &len, &same, err) < 0)
		return -1;
	return same ? 0 : put_file(there, data, len, err);
}

int vckpt_copy_state(const struct vckpt_store *from, const char *cluster,
		     const struct vckpt_store *to, struct vckpt_error *err)
{
	vckpt_auto(vckpt_places_clear) struct vckpt_store_places p = {0};
	struct vckpt_incarnation here, there;

	if (vckpt_store_read_incarnation(from, cluster, &here, err) < 0)
		return -1;
	if (vckpt_store_read_incarnation(to, cluster, &there, NULL) == 0 &&
	    there.number > here.number)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%s is ahead: cluster %s is in incarnation %" PRIu64
				  " there, and in %" PRIu64 " at %s",
				  vckpt_store_path(to), cluster, there.number, here.number,
				  vckpt_store_path(from));
	if (copy_definition(from, cluster, to, err) < 0 ||
	    copy_sealed(from, cluster, to, "incarnation.json", "incarnation", err) < 0 ||
	    copy_sealed(from, cluster, to, "left.json", "left", err) < 0 ||
	    copy_sealed(from, cluster, to, "key.json", "key", err) < 0 ||
	    copy_sealed(from, cluster, to, "pages.json", "page-secret", err) < 0 ||
	    vckpt_places_own(from, cluster, &p, err) < 0)
		return -1;
	return p.n ? vckpt_places_put(to, cluster, &p, err) : 0;
}

/* ---- what is where ---- */

static bool has(const struct vckpt_store *place, const char *cluster, uint64_t epoch,
		const char *guest, const char *kind, uint64_t bytes)
{
	char path[PATH_MAX];
	struct stat st;

	return bytes == 0 ||
	       (vckpt_data_path(place, cluster, epoch, guest, kind, path, NULL) == 0 &&
		stat(path, &st) == 0 && (uint64_t)st.st_size == bytes);
}

static bool has_guest(const struct vckpt_store *place, const char *cluster, uint64_t epoch,
		      const struct vckpt_receipt *r)
{
	char path[PATH_MAX];

	if (!has(place, cluster, epoch, r->guest, "map", r->map.bytes) ||
	    !has(place, cluster, epoch, r->guest, "device", r->device.bytes) ||
	    !has(place, cluster, epoch, r->guest, "xml", r->xml.bytes) ||
	    !has(place, cluster, epoch, r->guest, "pack", r->pack.bytes))
		return false;
	for (size_t i = 0; i < r->n_needs; i++)
		if (vckpt_pack_path(place, cluster, r->needs[i], path, NULL) < 0 ||
		    access(path, F_OK) < 0)
			return false;
	return true;
}

bool vckpt_copy_is_same(const struct vckpt_epoch *a, const struct vckpt_epoch *b)
{
	if (a->epoch != b->epoch || a->incarnation != b->incarnation || a->time_ns != b->time_ns ||
	    a->n_guests != b->n_guests)
		return false;
	for (size_t i = 0; i < a->n_guests; i++)
		if (strcmp(a->guests[i].guest, b->guests[i].guest) != 0 ||
		    !vckpt_digest_equal(&a->guests[i].map.digest, &b->guests[i].map.digest))
			return false;
	return true;
}

struct where {
	const struct vckpt_store *place;
	const char *cluster;
};

static int has_layer(void *arg, const json_t *layer, struct vckpt_error *err)
{
	const struct where *w = arg;

	(void)err;
	return vckpt_layer_copied(w->place, w->cluster, layer, NULL) ? 0 : -1;
}

enum vckpt_copy_state vckpt_copy_look(const struct vckpt_store *place, const char *cluster,
				      uint64_t epoch, const struct vckpt_epoch *is)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (!place)
		return VCKPT_COPY_UNKNOWN;
	if (vckpt_catalogue_get(place, cluster, epoch, &e, &why) < 0)
		return why.code == VCKPT_ENOTFOUND ? VCKPT_COPY_NONE : VCKPT_COPY_PARTLY;
	if (is && !vckpt_copy_is_same(is, &e))
		return VCKPT_COPY_ANOTHER;
	for (size_t i = 0; i < e.n_guests; i++)
		if (!has_guest(place, cluster, epoch, &e.guests[i]))
			return VCKPT_COPY_PARTLY;
	if (vckpt_layers_each(&e, has_layer, &(struct where){place, cluster}, NULL) < 0 &&
	    vckpt_places_check_lead(place, cluster, NULL) < 0)
		return VCKPT_COPY_DISKS;
	return VCKPT_COPY_WHOLE;
}

const char *vckpt_copy_name(enum vckpt_copy_state s)
{
	static const char *const names[] = {[VCKPT_COPY_NONE] = "no",
					    [VCKPT_COPY_WHOLE] = "whole",
					    [VCKPT_COPY_DISKS] = "without disks",
					    [VCKPT_COPY_PARTLY] = "partly",
					    [VCKPT_COPY_ANOTHER] = "another",
					    [VCKPT_COPY_UNKNOWN] = "unreachable",
					    [VCKPT_COPY_SILENT] = "does not answer"};

	return names[s];
}

static json_t *copy_at(struct vckpt_reach *reach, const struct vckpt_store_places *places, size_t i,
		       size_t self, const char *cluster, uint64_t epoch,
		       const struct vckpt_epoch *is)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	const struct vckpt_store *at = i == self ? vckpt_reach_store(reach)
						 : vckpt_reach_open(reach, places->v[i].path, &why);
	enum vckpt_copy_state state = !at && why.code == VCKPT_ETIME
					      ? VCKPT_COPY_SILENT
					      : vckpt_copy_look(at, cluster, epoch, is);

	return json_pack("{s:s, s:b, s:b, s:b, s:s}", "path", places->v[i].path, "lead",
			 i == places->lead, "near", (int)places->v[i].near, "after_commit",
			 (int)places->v[i].after_commit, "state", vckpt_copy_name(state));
}

json_t *vckpt_copies(struct vckpt_reach *reach, const struct vckpt_store_places *places,
		     const char *cluster, uint64_t epoch)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	const struct vckpt_store *store = vckpt_reach_store(reach);
	const struct vckpt_epoch *is = NULL;
	json_t *list = json_array();
	size_t self;

	if (!places->n)
		return list;
	self = vckpt_places_find(places, vckpt_store_path(store));
	if (vckpt_catalogue_get(store, cluster, epoch, &e, NULL) == 0)
		is = &e;
	for (size_t i = 0; i < places->n; i++)
		json_array_append_new(list, copy_at(reach, places, i, self, cluster, epoch, is));
	vckpt_behind_tell(reach, places, cluster, epoch, list);
	return list;
}
