/*
 * The disks of a guest, from epoch to epoch.  docs/disks.md has the whole story.  Two rules keep it
 * safe whoever dies: no layer but the topmost is ever written to, unless it is known that no epoch
 * needs it; and no file is removed that a definition, an epoch or another layer still names.
 */
#include "host/local/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "base/json.h"
#include "hv/disks.h"
#include "store/catalogue.h"
#include "store/layer_copy.h"
#include "store/layer_name.h"

/* Layers of a disk, the one in use included: with more of them the guest's reads get slow, and
 * every epoch's record longer. */
#define CHAIN_MOST 8
/* So many are let come together while the copying is behind. */
#define CHAIN_HARD  24
#define SETTLE_TIME (2 * VCKPT_S)
#define MERGE_TIME  (40 * VCKPT_S)

void vckpt_guest_disks_forget(struct vckpt_guest *g)
{
	json_decref(g->disks);
	g->disks = NULL;
	g->disks_cut = false;
}

/* ---- names ---- */

static void key_of(const struct vckpt_guest *g, char key[9])
{
	vckpt_layer_key(g->s->store, g->s->cluster, g->name, key);
}

static int name_overlay(struct vckpt_guest *g, json_t *disk, struct vckpt_error *err)
{
	char path[PATH_MAX], key[9];

	key_of(g, key);
	if (vckpt_layer_name(vckpt_json_text(disk, "source"), key, g->epoch, path, err) < 0)
		return vckpt_error_prefix(err, "guest %s: disk %s", g->name,
					  vckpt_json_text(disk, "target"));
	json_object_set_new(disk, "overlay", json_string(path));
	return 0;
}

/* Into the journal's entry, which the caller writes. */
static int name_overlays(struct vckpt_guest *g, struct vckpt_error *err)
{
	char *all = g->entry.overlays;
	size_t room = sizeof(g->entry.overlays), used = 0, i;
	json_t *one;

	json_array_foreach (g->disks, i, one) {
		if (name_overlay(g, one, err) < 0)
			return -1;
		used += (size_t)snprintf(all + used, room - used, "%s\n",
					 vckpt_json_text(one, "overlay"));
		if (used >= room) {
			all[0] = '\0';
			return vckpt_fail(err, VCKPT_EREFUSED,
					  "guest %s: the paths of its disks are too long together",
					  g->name);
		}
	}
	return 0;
}

static int make_overlays(struct vckpt_guest *g, struct vckpt_error *err)
{
	json_t *one;
	size_t i;

	json_array_foreach (g->disks, i, one) {
		json_int_t bytes = json_integer_value(json_object_get(one, "bytes"));

		if (vckpt_overlay_make(vckpt_json_text(one, "overlay"),
				       vckpt_json_text(one, "source"),
				       vckpt_json_text(one, "format"), (uint64_t)bytes, err) < 0)
			return vckpt_error_prefix(err, "guest %s", g->name);
	}
	return 0;
}

/* ---- an epoch ---- */

int vckpt_guest_disks_look(struct vckpt_guest *g, struct vckpt_error *err)
{
	json_auto_t *before = NULL;
	int begun;

	vckpt_guest_disks_forget(g);
	g->entry.overlays[0] = '\0';
	if (vckpt_disks_look(g->dom, &before, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	if (json_array_size(before) == 0)
		return 0;
	if (vckpt_disks_settle(g->dom, before, SETTLE_TIME, CHAIN_HARD, err) < 0 ||
	    vckpt_disks_look(g->dom, &g->disks, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	/* After many epochs in a row that nobody committed. */
	begun = vckpt_disks_shorten(g->dom, g->disks, CHAIN_HARD, err);
	if (begun != 0)
		return begun < 0 ? -1
				 : vckpt_fail(err, VCKPT_ENOTNOW,
					      "guest %s: the layers of its disks are being put "
					      "together first",
					      g->name);
	if (vckpt_disks_measure(g->dom, g->disks, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	return name_overlays(g, err);
}

int vckpt_guest_disks_make(struct vckpt_guest *g, struct vckpt_error *err)
{
	if (!g->disks)
		return 0;
	return make_overlays(g, err) < 0 ? -1 : vckpt_fault_point("host.disk.made", NULL, err);
}

int vckpt_guest_disk(struct vckpt_guest *g, const struct vckpt_host_request *req,
		     struct vckpt_outcome *out, struct vckpt_error *err)
{
	(void)out;
	if (!g->stream || g->epoch != req->epoch || !g->paused || g->disks_cut)
		return vckpt_fail(err, VCKPT_EUSAGE,
				  "guest %s is not prepared and paused: its disks are not cut",
				  g->name);
	if (!g->disks)
		return 0;
	g->disks_cut = true; /* also if the call fails: then it is not known */
	if (vckpt_disks_cut(g->dom, g->disks, err) < 0 ||
	    vckpt_fault_point("host.disk.cut", NULL, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	return 0;
}

/* The layers of the newest epoch, whose digests are good for all that did not change. */
static json_t *known_layers(struct vckpt_guest *g)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	uint64_t newest;

	if (vckpt_catalogue_newest(g->s->store, g->s->cluster, &newest, NULL) < 0 ||
	    vckpt_catalogue_get(g->s->store, g->s->cluster, newest, &e, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < e.n_guests; i++)
		if (strcmp(e.guests[i].guest, g->name) == 0)
			return json_incref(e.guests[i].disks);
	return NULL;
}

int vckpt_guest_disks_sum(struct vckpt_guest *g, bool (*tick)(void *arg, uint64_t bytes), void *arg,
			  json_t **layers, struct vckpt_error *err)
{
	json_auto_t *known = NULL;

	*layers = NULL;
	if (!g->disks)
		return 0;
	known = known_layers(g);
	return vckpt_layers_sum(g->disks, known, tick, arg, layers, err);
}

/* ---- the way out ---- */

static bool has_path(const json_t *paths, const char *path, size_t len)
{
	json_t *one;
	size_t i;

	json_array_foreach (paths, i, one)
		if (strncmp(json_string_value(one), path, len) == 0 &&
		    json_string_value(one)[len] == '\0')
			return true;
	return false;
}

int vckpt_overlays_drop(struct vckpt_local *l, const struct vckpt_journal_entry *e,
			struct vckpt_error *err)
{
	bool never_used = e->stage != VCKPT_STAGE_PAUSED && e->stage != VCKPT_STAGE_RUNNING;
	struct vckpt_error why = VCKPT_ERROR_NONE;
	json_auto_t *named = NULL;
	const char *at = e->overlays;

	if (!*at)
		return 0;
	if (vckpt_disks_named(l->hv, e->domain, &named, &why) < 0) {
		/* A domain that libvirt has forgotten may have written to them. */
		if (why.code != VCKPT_ENOTFOUND)
			return vckpt_fail(err, why.code, "%s", why.text);
		if (!never_used)
			return 0;
	}
	for (size_t len; *at; at += len + 1) {
		char path[PATH_MAX];

		len = strcspn(at, "\n");
		if (!at[len] || len >= sizeof(path) || has_path(named, at, len))
			continue;
		snprintf(path, sizeof(path), "%.*s", (int)len, at);
		if (unlink(path) < 0 && errno != ENOENT)
			return vckpt_fail_errno(err, "cannot remove %s", path);
	}
	return 0;
}

int vckpt_guest_disks_undo(struct vckpt_guest *g, struct vckpt_error *err)
{
	if (vckpt_overlays_drop(g->s->local, &g->entry, err) < 0)
		return vckpt_error_prefix(err, "guest %s", g->name);
	g->entry.overlays[0] = '\0';
	if (!g->disks_cut)
		vckpt_guest_disks_forget(g);
	return 0;
}

/* No entry of that number is in the catalogue, and none can come: its coordinator gave up. */
static bool never_committed(struct vckpt_guest *g)
{
	vckpt_auto(vckpt_epoch_clear) struct vckpt_epoch e = {0};
	struct vckpt_error why = VCKPT_ERROR_NONE;

	return vckpt_catalogue_get(g->s->store, g->s->cluster, g->epoch, &e, &why) < 0 &&
	       why.code == VCKPT_ENOTFOUND;
}

void vckpt_guest_disks_merge(struct vckpt_guest *g)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_domain_status st;

	if (g->disks && g->disks_cut && g->dom && never_committed(g) &&
	    vckpt_domain_status(g->dom, &st, NULL) == 0 && st.state == VCKPT_DOMAIN_RUNNING) {
		struct vckpt_journal_entry e = g->entry;
		json_t *one;
		size_t i, used = 0;

		json_array_foreach (g->disks, i, one)
			used += (size_t)snprintf(e.overlays + used, sizeof(e.overlays) - used,
						 "%s\n", vckpt_json_text(one, "overlay"));
		if (vckpt_fault_point("host.disk.merge", NULL, &err) < 0 ||
		    vckpt_disks_merge(g->dom, g->disks, vckpt_now() + MERGE_TIME, &err) < 0 ||
		    vckpt_overlays_drop(g->s->local, &e, &err) < 0)
			vckpt_session_log(g, VCKPT_WARN, "a layer of its disks stays: %s",
					  err.text);
	}
	vckpt_guest_disks_forget(g);
}

/* ---- short chains, no litter ---- */

/* Nothing of this is worth a failure: what is not done now is done after the next epoch. */
void vckpt_guest_disks_settled(struct vckpt_guest *g)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	json_auto_t *now = NULL;

	if (!g->disks)
		return;
	g->entry.overlays[0] = '\0';
	if (vckpt_fault_point("host.disk.settle", NULL, &err) < 0 ||
	    vckpt_disks_follow(g->dom, g->disks, &err) < 0 ||
	    vckpt_guest_layers_sweep(g, &err) < 0 || vckpt_disks_look(g->dom, &now, &err) < 0 ||
	    vckpt_disks_shorten(g->dom, now, CHAIN_MOST, &err) < 0)
		vckpt_session_log(g, VCKPT_WARN, "its disks' layers are not tidied up: %s",
				  err.text);
	vckpt_guest_disks_forget(g);
}

/* ---- a restart ---- */

/* Each disk gets a fresh layer on the one that the epoch froze, which nobody may be writing to. */
static int lay_fresh(struct vckpt_guest *g, const json_t *record, struct vckpt_error *err)
{
	json_t *one, *top;
	size_t i;

	vckpt_guest_disks_forget(g);
	g->disks = json_array();
	json_array_foreach (record, i, one) {
		top = json_array_get(json_object_get(one, "layers"), 0);
		json_array_append_new(g->disks, json_pack("{s:s, s:s, s:s}", "target",
							  vckpt_json_text(one, "target"), "source",
							  vckpt_json_text(top, "path"), "format",
							  vckpt_json_text(top, "format")));
	}
	if (name_overlays(g, err) < 0 || vckpt_guest_note(g, VCKPT_STAGE_REBUILDING, err) < 0)
		return -1;
	return make_overlays(g, err);
}

int vckpt_guest_disks_restore(struct vckpt_guest *g, const json_t *record,
			      bool (*tick)(void *arg, uint64_t bytes), void *arg, const char *xml,
			      char **changed, struct vckpt_error *err)
{
	unsigned brought;

	*changed = NULL;
	if (json_array_size(record) == 0)
		return 0;
	if (vckpt_layers_bring(g->s->reach, g->s->cluster, record, tick, arg, &brought, err) < 0)
		return -1;
	if (brought)
		vckpt_session_log(g, VCKPT_WARN,
				  "%u layers of its disks were gone: put back from copies",
				  brought);
	if (vckpt_layers_verify(record, tick, arg, err) < 0 || lay_fresh(g, record, err) < 0)
		return -1;
	return vckpt_disks_put(xml, g->disks, changed, err);
}

int vckpt_guest_disks_follow(struct vckpt_guest *g, struct vckpt_error *err)
{
	if (!g->disks)
		return 0;
	if (vckpt_fault_point("host.disk.follow", NULL, err) < 0)
		return -1;
	return vckpt_disks_follow(g->dom, g->disks, err);
}
