#include "store/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/behind.h"
#include "store/examine.h"
#include "store/history.h"
#include "store/keys.h"
#include "store/lease.h"
#include "store/left.h"
#include "store/places.h"
#include "store/reports.h"
#include "store/seal.h"
#include "store/secret.h"
#include "store/sweep.h"
#include "store/used.h"

#define CURE_ENTRY                                                                                 \
	"put the file back from a copy, or restart another epoch; `vckpt repair` takes this one "  \
	"out of the list"
#define CURE_COPY "put the file back from a copy of the store"

static const char *const levels[] = {"lost", "harm", "note"};

/* ---- findings ---- */

json_t *vckpt_check_found(struct vckpt_check *c, enum vckpt_level level,
			  const struct vckpt_error *why, const char *file, const char *cure)
{
	json_t *f = json_pack("{s:s, s:s, s:s, s:s, s:s, s:[]}", "level", levels[level], "code",
			      vckpt_code_name(why->code), "file", file, "text", why->text, "cure",
			      cure, "hurts");

	json_array_append_new(c->findings, f);
	return f;
}

static bool has_text(const json_t *list, const char *text)
{
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one)
		if (strcmp(json_string_value(one), text) == 0)
			return true;
	return false;
}

void vckpt_check_hurts(json_t *finding, uint64_t epoch, const char *guest)
{
	json_t *hurts = json_object_get(finding, "hurts"), *one;
	size_t i;

	json_array_foreach (hurts, i, one)
		if (json_integer_value(json_object_get(one, "epoch")) == (json_int_t)epoch) {
			if (!has_text(json_object_get(one, "guests"), guest))
				json_array_append_new(json_object_get(one, "guests"),
						      json_string(guest));
			return;
		}
	json_array_append_new(
		hurts, json_pack("{s:I, s:[s]}", "epoch", (json_int_t)epoch, "guests", guest));
}

void vckpt_check_lost(struct vckpt_check *c, const struct vckpt_epoch *e,
		      const struct vckpt_receipt *r, const struct vckpt_error *why,
		      const char *file)
{
	vckpt_check_hurts(vckpt_check_found(c, VCKPT_LEVEL_LOST, why, file, CURE_ENTRY), e->epoch,
			  r->guest);
}

bool vckpt_check_count(struct vckpt_check *c, uint64_t bytes)
{
	bool go_on = true;

	pthread_mutex_lock(&c->lock);
	c->done += bytes;
	if (c->options->tick && !c->stop)
		go_on = c->options->tick(c->options->arg, c->done, c->total);
	if (!go_on && !c->stop) {
		c->stop = true;
		vckpt_fail(&c->failed, VCKPT_ECANCELED, "the check of cluster %s was given up",
			   c->cluster);
	}
	go_on = !c->stop;
	pthread_mutex_unlock(&c->lock);
	return go_on;
}

/* ---- the cluster as a whole ---- */

static void hurts_all(struct vckpt_check *c, json_t *finding)
{
	for (size_t i = 0; i < c->n_epochs; i++)
		for (size_t k = 0; k < c->epochs[i].n_guests; k++)
			vckpt_check_hurts(finding, c->epochs[i].epoch,
					  c->epochs[i].guests[k].guest);
}

static void of_cluster(struct vckpt_check *c, const char *inside, const struct vckpt_error *why,
		       enum vckpt_level level, const char *cure)
{
	char path[PATH_MAX] = "";
	json_t *f;

	vckpt_cluster_path(c->store, c->cluster, inside, path, NULL);
	f = vckpt_check_found(c, level, why, path, cure);
	if (level == VCKPT_LEVEL_LOST)
		hurts_all(c, f);
}

static void check_reports(struct vckpt_check *c, const char *name)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (vckpt_store_check_reports(c->store, c->cluster, name, &why) == 0)
		return;
	if (why.code == VCKPT_EREFUSED)
		of_cluster(c, name, &why, VCKPT_LEVEL_NOTE, "nothing: it is taken as it is");
	else
		of_cluster(
			c, name, &why, VCKPT_LEVEL_HARM,
			"`vckpt repair` puts it aside; faults are foreseen without it until more "
			"is reported");
}

static void check_leases(struct vckpt_check *c)
{
	for (enum vckpt_lease_role role = 0; role < VCKPT_LEASE_ROLES; role++) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		struct vckpt_lease_info info;

		if (vckpt_lease_inspect_as(role, c->store, c->cluster, &info, &why) < 0)
			of_cluster(c, vckpt_lease_folder(role), &why, VCKPT_LEVEL_HARM,
				   "if surely nobody works on the cluster, remove the file");
	}
}

static void check_history(struct vckpt_check *c)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree uint64_t *all = NULL;
	char inside[48];
	size_t n;

	if (vckpt_history_list(c->store, c->cluster, &all, &n, &why) < 0) {
		of_cluster(c, "history", &why, VCKPT_LEVEL_HARM, CURE_COPY);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		json_t *deed;

		why.code = VCKPT_OK;
		deed = vckpt_history_get(c->store, c->cluster, all[i], &why);
		snprintf(inside, sizeof(inside), "history/%06" PRIu64 ".json", all[i]);
		if (!deed && why.code != VCKPT_ENOTFOUND)
			of_cluster(c, inside, &why, VCKPT_LEVEL_HARM,
				   "`vckpt repair` puts it aside; only `vckpt log` reads it");
		json_decref(deed);
	}
}

/* Left-overs, tickets of suspensions that came to nothing: no damage.  Of who is at the cluster now
 * they may be work. */
static void note_strays(struct vckpt_check *c)
{
	const struct vckpt_sweep dry = {.dry = true};
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_lease_info info;
	struct vckpt_swept strays = {0};

	if (c->options->epochs || json_array_size(c->damaged) ||
	    vckpt_lease_inspect(c->store, c->cluster, &info, NULL) < 0 || info.live ||
	    vckpt_sweep_run(c->store, c->cluster, &dry, &strays, NULL) < 0 || !strays.files)
		return;
	vckpt_fail(&why, VCKPT_OK, "%" PRIu64 " files (%" PRIu64 " bytes) that no epoch needs",
		   strays.files, strays.bytes);
	of_cluster(c, "data", &why, VCKPT_LEVEL_NOTE,
		   "the next checkpoint removes them, or `vckpt prune`");
}

void vckpt_check_cluster(struct vckpt_check *c)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	vckpt_autofree char *text = NULL;
	struct vckpt_incarnation inc;
	struct vckpt_cluster_key key;
	struct vckpt_store_places places;
	json_auto_t *left = NULL;
	size_t len;

	if (vckpt_store_read_definition(c->store, c->cluster, &text, &len, &why) < 0)
		of_cluster(c, "cluster.json", &why, VCKPT_LEVEL_LOST,
			   "put it back from a copy, or move it aside and `vckpt adopt` the same "
			   "guests under the same name: the epochs stay");
	why.code = VCKPT_OK;
	if (vckpt_store_read_incarnation(c->store, c->cluster, &inc, &why) < 0)
		of_cluster(c, "incarnation.json", &why, VCKPT_LEVEL_LOST,
			   "put it back from a copy: without it nobody knows whether a guest that "
			   "runs is of this job or of an earlier life of it");
	why.code = VCKPT_OK;
	if (vckpt_cluster_key_get(c->store, c->cluster, &key, &why) < 0)
		of_cluster(c, "key.json", &why, VCKPT_LEVEL_LOST,
			   "move it aside and `vckpt key use` the same key again");
	why.code = VCKPT_OK;
	if (vckpt_page_secret_check(c->store, c->cluster, &why) < 0)
		of_cluster(c, "pages.json", &why, VCKPT_LEVEL_HARM,
			   "`vckpt repair` puts it aside; the next checkpoint writes all pages");
	why.code = VCKPT_OK;
	left = vckpt_left_read(c->store, c->cluster, &why);
	if (!left)
		of_cluster(c, "left.json", &why, VCKPT_LEVEL_HARM,
			   "move it aside when no host that was said to be off runs its guests");
	why.code = VCKPT_OK;
	if (vckpt_places_own(c->store, c->cluster, &places, &why) < 0)
		of_cluster(c, "places.json", &why, VCKPT_LEVEL_HARM,
			   "copy it from any of the places: each has the list");
	vckpt_places_clear(&places);
	why.code = VCKPT_OK;
	if (vckpt_behind_check(c->store, c->cluster, &why) < 0)
		of_cluster(c, "behind.json", &why, VCKPT_LEVEL_HARM,
			   "`vckpt repair` puts it aside; the next copy behind a checkpoint writes "
			   "it anew");
	check_reports(c, VCKPT_REPORTS);
	check_reports(c, VCKPT_REPORTS_OLD);
	check_leases(c);
	check_history(c);
	note_strays(c);
}

/* ---- which epochs ---- */

static bool is_wanted(const struct vckpt_check_options *o, uint64_t epoch)
{
	for (size_t i = 0; i < o->n_epochs; i++)
		if (o->epochs[i] == epoch)
			return true;
	return !o->epochs;
}

static int read_entry(struct vckpt_check *c, uint64_t epoch, struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	char path[PATH_MAX];
	json_t *f;

	if (vckpt_catalogue_get(c->store, c->cluster, epoch, &c->epochs[c->n_epochs], &why) == 0) {
		c->n_epochs++;
		return 0;
	}
	if (why.code == VCKPT_ENOTFOUND && !c->options->epochs)
		return 0; /* removed since we looked */
	if (why.code != VCKPT_EDAMAGED && why.code != VCKPT_EREFUSED)
		return vckpt_fail(err, why.code, "%s", why.text);
	if (vckpt_entry_path(c->store, c->cluster, epoch, path, err) < 0)
		return -1;
	if (why.code == VCKPT_EREFUSED) {
		vckpt_check_found(c, VCKPT_LEVEL_HARM, &why, path,
				  "check it with the newer vckpt that wrote it");
		return 0;
	}
	f = vckpt_check_found(c, VCKPT_LEVEL_LOST, &why, path, CURE_ENTRY);
	vckpt_check_hurts(f, epoch, "*");
	json_array_append_new(c->damaged, json_integer((json_int_t)epoch));
	return 0;
}

static bool is_missing(uint64_t epoch, const uint64_t *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (all[i] == epoch)
			return false;
	return true;
}

static int read_entries(struct vckpt_check *c, struct vckpt_error *err)
{
	const struct vckpt_check_options *o = c->options;
	vckpt_autofree uint64_t *all = NULL;
	size_t n;

	if (vckpt_catalogue_list(c->store, c->cluster, &all, &n, err) < 0)
		return -1;
	for (size_t i = 0; i < o->n_epochs; i++)
		if (is_missing(o->epochs[i], all, n))
			return vckpt_fail(err, VCKPT_ENOTFOUND,
					  "cluster %s has no committed epoch %" PRIu64
					  ": `vckpt ls %s` lists those it has",
					  c->cluster, o->epochs[i], c->cluster);
	c->epochs = calloc(n + 1, sizeof(*c->epochs));
	if (!c->epochs)
		return vckpt_fail_errno(err, "no memory to check cluster %s", c->cluster);
	for (size_t i = 0; i < n; i++)
		if (is_wanted(o, all[i]) && read_entry(c, all[i], err) < 0)
			return -1;
	return 0;
}

/* ---- which packs ---- */

struct vckpt_check_pack *vckpt_check_pack_of(struct vckpt_check *c, const char *name)
{
	size_t low = 0, high = c->n_packs;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int d = strcmp(name, c->packs[mid].name);

		if (d == 0)
			return &c->packs[mid];
		if (d < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static int list_packs(struct vckpt_check *c, struct vckpt_error *err)
{
	vckpt_autofree const char **names = NULL;
	size_t n;

	if (vckpt_needed_packs(c->epochs, c->n_epochs, &names, &n, err) < 0)
		return -1;
	c->packs = calloc(n + 1, sizeof(*c->packs));
	if (!c->packs)
		return vckpt_fail_errno(err, "no memory to check cluster %s", c->cluster);
	for (; c->n_packs < n; c->n_packs++)
		snprintf(c->packs[c->n_packs].name, VCKPT_PACK_NAME, "%s", names[c->n_packs]);
	return 0;
}

/* ---- the report ---- */

/* Of an epoch that was taken out of the catalogue since nothing is said. */
static void forget_removed(struct vckpt_check *c)
{
	char path[PATH_MAX];
	json_t *f, *hurt;
	size_t i, k;

	for (i = json_array_size(c->findings); i-- > 0;) {
		json_t *hurts;
		bool any;

		f = json_array_get(c->findings, i);
		hurts = json_object_get(f, "hurts");
		any = json_array_size(hurts);
		for (k = json_array_size(hurts); k-- > 0;) {
			hurt = json_array_get(hurts, k);
			if (vckpt_entry_path(
				    c->store, c->cluster,
				    (uint64_t)json_integer_value(json_object_get(hurt, "epoch")),
				    path, NULL) == 0 &&
			    access(path, F_OK) < 0 && errno == ENOENT)
				json_array_remove(hurts, k);
		}
		if (any && !json_array_size(hurts))
			json_array_remove(c->findings, i);
	}
}

static json_t *lost_of(const struct vckpt_check *c, uint64_t epoch)
{
	json_t *lost = json_array(), *f, *hurt, *guest;
	size_t i, k, m;

	json_array_foreach (c->findings, i, f) {
		if (strcmp(json_string_value(json_object_get(f, "level")), "lost") != 0)
			continue;
		json_array_foreach (json_object_get(f, "hurts"), k, hurt) {
			if (json_integer_value(json_object_get(hurt, "epoch")) != (json_int_t)epoch)
				continue;
			json_array_foreach (json_object_get(hurt, "guests"), m, guest)
				if (!has_text(lost, json_string_value(guest)))
					json_array_append(lost, guest);
		}
	}
	return lost;
}

static void add_epoch(const struct vckpt_check *c, json_t *list, uint64_t epoch, size_t guests)
{
	char path[PATH_MAX];

	if (vckpt_entry_path(c->store, c->cluster, epoch, path, NULL) == 0 &&
	    access(path, F_OK) == 0)
		json_array_append_new(list, json_pack("{s:I, s:I, s:o}", "epoch", (json_int_t)epoch,
						      "guests", (json_int_t)guests, "lost",
						      lost_of(c, epoch)));
}

static json_t *report_of(struct vckpt_check *c)
{
	json_t *epochs = json_array(), *number;
	size_t i;

	forget_removed(c);
	for (i = 0; i < c->n_epochs; i++)
		add_epoch(c, epochs, c->epochs[i].epoch, c->epochs[i].n_guests);
	json_array_foreach (c->damaged, i, number)
		add_epoch(c, epochs, (uint64_t)json_integer_value(number), 0);
	return json_pack("{s:s, s:b, s:I, s:o, s:O}", "cluster", c->cluster, "read_data",
			 c->options->read_data, "bytes_read", (json_int_t)c->done, "epochs", epochs,
			 "findings", c->findings);
}

bool vckpt_report_is_clean(const json_t *report)
{
	const json_t *f;
	size_t i;

	json_array_foreach (json_object_get(report, "findings"), i, f)
		if (strcmp(json_string_value(json_object_get(f, "level")), "note") != 0)
			return false;
	return true;
}

static void end_check(struct vckpt_check *c)
{
	for (size_t i = 0; i < c->n_epochs; i++)
		vckpt_epoch_clear(&c->epochs[i]);
	for (size_t i = 0; i < c->n_packs; i++) {
		free(c->packs[i].bad.at);
		free(c->packs[i].dropped.at);
	}
	free(c->epochs);
	free(c->packs);
	json_decref(c->findings);
	json_decref(c->damaged);
	json_decref(c->layers);
	pthread_mutex_destroy(&c->lock);
}

int vckpt_store_examine(const struct vckpt_store *store, const char *cluster,
			const struct vckpt_check_options *options, json_t **report,
			struct vckpt_error *err)
{
	vckpt_auto(end_check) struct vckpt_check c = {
		.store = store, .cluster = cluster, .options = options};

	pthread_mutex_init(&c.lock, NULL);
	c.findings = json_array();
	c.damaged = json_array();
	c.layers = json_object();
	if (vckpt_store_check_name("cluster", cluster, err) < 0 || read_entries(&c, err) < 0 ||
	    list_packs(&c, err) < 0)
		return -1;
	vckpt_check_cluster(&c);
	vckpt_check_guests(&c);
	if (vckpt_check_data(&c) < 0) {
		if (err)
			*err = c.failed;
		return -1;
	}
	*report = report_of(&c);
	return *report ? 0
		       : vckpt_fail(err, VCKPT_EFAIL, "no memory for the report of cluster %s",
				    cluster);
}
