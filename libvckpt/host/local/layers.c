/* Files of layers that nothing names any more: docs/disks.md. */
#include "host/local/internal.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "base/json.h"
#include "hv/disks.h"
#include "store/catalogue.h"
#include "store/layer.h"
#include "store/layer_copy.h"
#include "store/layer_name.h"

#define MARK VCKPT_LAYER_NAME_MARK

struct walk {
	const struct vckpt_loose *l;
	char key[9];
	json_t *kept; /* a member for each path */
	json_t *gone; /* NULL: nobody wants to know */
};

static void end_walk(struct walk *w)
{
	json_decref(w->kept);
}

/* With all that lies below it. */
static int keep(struct walk *w, const char *path, struct vckpt_error *err)
{
	char below[2][PATH_MAX];
	unsigned at = 0;

	while (*path && !json_object_get(w->kept, path)) {
		json_object_set_new(w->kept, path, json_true());
		if (!strstr(path, MARK) || access(path, F_OK) < 0)
			return 0;
		if (vckpt_layer_backing(path, below[at], err) < 0)
			return -1;
		path = below[at];
		at = !at;
	}
	return 0;
}

static int keep_layer(void *arg, const json_t *layer, struct vckpt_error *err)
{
	return keep(arg, vckpt_json_text(layer, "path"), err);
}

static int keep_epochs_of(struct walk *w, const char *cluster, struct vckpt_error *err)
{
	const struct vckpt_loose *l = w->l;
	vckpt_autofree uint64_t *all = NULL;
	size_t n;

	if (vckpt_catalogue_list(l->store, cluster, &all, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};

		if (vckpt_catalogue_get(l->store, cluster, all[i], &e, err) < 0 ||
		    vckpt_layers_each(&e, keep_layer, w, err) < 0)
			return -1;
	}
	return 0;
}

/* A guest that went over to another cluster took its layers along. */
static int keep_epochs(struct walk *w, struct vckpt_error *err)
{
	char **names;
	size_t n;
	int rc = 0;

	if (!w->l->all)
		return keep_epochs_of(w, w->l->cluster, err);
	if (vckpt_store_clusters(w->l->store, &names, &n, err) < 0)
		return -1;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = keep_epochs_of(w, names[i], err);
	vckpt_store_free_names(names, n);
	return rc;
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

typedef int each_fn(struct walk *w, const char *path, bool ours, struct vckpt_error *err);

/* Calls `each` for every layer of the disk whose source this is; `ours`: made for this guest. */
static int walk_layers(struct walk *w, const char *source, each_fn *each, struct vckpt_error *err)
{
	vckpt_auto(close_dir) DIR *d = NULL;
	char dir[PATH_MAX], stem[PATH_MAX], path[2 * PATH_MAX];
	char *base;
	struct dirent *de;
	size_t len;

	snprintf(dir, sizeof(dir), "%.*s", vckpt_layer_stem(source), source);
	base = strrchr(dir, '/');
	if (!base)
		return 0;
	len = (size_t)snprintf(stem, sizeof(stem), "%.*s" MARK, (int)(PATH_MAX - sizeof(MARK)),
			       base + 1);
	base[1] = '\0';
	d = opendir(dir);
	if (!d)
		return vckpt_fail_errno(err, "cannot read the folder %s", dir);
	while ((de = readdir(d))) {
		if (strncmp(de->d_name, stem, len) != 0)
			continue;
		snprintf(path, sizeof(path), "%s%s", dir, de->d_name);
		if (each(w, path, strncmp(de->d_name + len, w->key, strlen(w->key)) == 0, err) < 0)
			return -1;
	}
	return 0;
}

static int walk_all(struct walk *w, each_fn *each, struct vckpt_error *err)
{
	json_t *one;
	size_t i;

	json_array_foreach (w->l->disks, i, one)
		if (walk_layers(w, vckpt_json_text(one, "source"), each, err) < 0)
			return -1;
	return 0;
}

static int keep_foreign(struct walk *w, const char *path, bool ours, struct vckpt_error *err)
{
	return ours ? 0 : keep(w, path, err);
}

/* Two disks can lie beside the same image: then it comes by twice. */
static int drop_unkept(struct walk *w, const char *path, bool ours, struct vckpt_error *err)
{
	struct stat st;

	if (!ours || json_object_get(w->kept, path))
		return 0;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : vckpt_fail_errno(err, "cannot look at %s", path);
	if (!w->l->look && vckpt_fault_point("host.disk.drop", NULL, err) < 0)
		return -1;
	if (!w->l->look && unlink(path) < 0 && errno != ENOENT)
		return vckpt_fail_errno(err, "cannot remove %s", path);
	json_object_set_new(w->kept, path, json_true());
	if (w->gone)
		json_array_append_new(w->gone, json_pack("{s:s, s:I}", "path", path, "bytes",
							 (json_int_t)st.st_blocks * 512));
	return 0;
}

int vckpt_loose_layers(const struct vckpt_loose *l, json_t *gone, struct vckpt_error *err)
{
	vckpt_auto(end_walk) struct walk w = {.l = l, .kept = json_object(), .gone = gone};
	json_t *one;
	size_t i;

	vckpt_layer_key(l->store, l->cluster, l->guest, w.key);
	if (!l->look && keep_epochs(&w, err) < 0)
		return -1;
	json_array_foreach (l->named, i, one)
		if (keep(&w, json_string_value(one), err) < 0)
			return -1;
	if (walk_all(&w, keep_foreign, err) < 0)
		return -1;
	return walk_all(&w, drop_unkept, err);
}

int vckpt_guest_layers_sweep(struct vckpt_guest *g, struct vckpt_error *err)
{
	struct vckpt_loose l = {.store = g->s->store,
				.cluster = g->s->cluster,
				.guest = g->name,
				.disks = g->disks};
	json_auto_t *named = NULL;

	if (vckpt_disks_named(g->s->local->hv, g->domain_name, &named, err) < 0)
		return -1;
	l.named = named;
	return vckpt_loose_layers(&l, NULL, err);
}

/* ---- TIDY ---- */

/* What a guest that does not run here writes to elsewhere no definition of this host names. */
static int must_run(struct vckpt_guest *g, struct vckpt_error *err)
{
	struct vckpt_domain_status st;

	if (vckpt_domain_status(g->dom, &st, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	if (st.state != VCKPT_DOMAIN_OFF && st.state != VCKPT_DOMAIN_BUSY)
		return 0;
	return vckpt_fail(err, st.state == VCKPT_DOMAIN_BUSY ? VCKPT_EBUSY : VCKPT_EREFUSED,
			  "guest %s: domain %s is %s, and only beside a running one is it known "
			  "which layers are in use",
			  g->name, g->domain_name, st.reason);
}

/* Under the lease of one who knows the present incarnation: nothing older is committed any more. */
static int must_be_now(struct vckpt_guest *g, const struct vckpt_host_request *req,
		       struct vckpt_error *err)
{
	struct vckpt_session *s = g->s;
	struct vckpt_incarnation is;
	bool open;

	pthread_mutex_lock(&s->lock);
	open = s->cluster[0] && strcmp(s->cluster, req->cluster) == 0;
	pthread_mutex_unlock(&s->lock);
	if (!open)
		return vckpt_fail(err, VCKPT_EUSAGE, "cluster %s was not opened in this session",
				  req->cluster);
	if (vckpt_store_read_incarnation(s->store, s->cluster, &is, err) < 0)
		return -1;
	if (is.number == req->incarnation)
		return 0;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "cluster %s was restarted meanwhile: its layers are another's matter",
			  req->cluster);
}

static int tidy(struct vckpt_guest *g, struct vckpt_loose *l, json_t *gone, struct vckpt_error *err)
{
	json_auto_t *disks = NULL, *named = NULL;

	if (must_run(g, err) < 0 || vckpt_fault_point("host.disk.tidy", NULL, err) < 0)
		return -1;
	if (vckpt_disks_look(g->dom, &disks, err) < 0 ||
	    vckpt_disks_named(g->s->local->hv, g->domain_name, &named, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	l->disks = disks;
	l->named = named;
	if (vckpt_loose_layers(l, gone, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	return 0;
}

static void close_store(struct vckpt_store **store)
{
	vckpt_store_close(*store);
}

int vckpt_guest_tidy(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err)
{
	const bool look = (req->how & VCKPT_HOW_LOOK) != 0;
	vckpt_auto(close_store) struct vckpt_store *own = NULL;
	struct vckpt_loose l = {
		.cluster = req->cluster, .guest = g->name, .look = look, .all = true};
	int rc;

	if (g->stream || g->rebuilt || g->rebuilding)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guest %s: an epoch is under way; end it first", g->name);
	if (look && vckpt_session_store(g->s, req, &own, err) < 0)
		return -1;
	if (!look && must_be_now(g, req, err) < 0)
		return -1;
	l.store = look ? own : g->s->store;
	if (vckpt_guest_open(g, req, err) < 0)
		return -1;
	if (!look && vckpt_claim_take(g->s, VCKPT_CLAIM_DOMAIN, g->domain_name, VCKPT_S, err) < 0)
		return -1;
	/* Told also of what was done before it failed. */
	out->detail = json_pack("{s:[]}", "layers");
	rc = tidy(g, &l, json_object_get(out->detail, "layers"), err);
	if (!look)
		vckpt_claim_drop(g->s, VCKPT_CLAIM_DOMAIN, g->domain_name);
	return rc;
}
