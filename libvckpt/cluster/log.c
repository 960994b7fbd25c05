/* The history of a cluster, and what its catalogue knows beside it. */
#include "cluster/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "store/catalogue.h"
#include "store/history.h"

static void take(json_t *to, const char *key, const json_t *from, const char *member)
{
	json_t *v = json_object_get(from, member);

	if (v)
		json_object_set(to, key, v);
}

/* Files that a restart cut back. */
static void add_rewound(json_t *line, const json_t *record)
{
	const json_t *guest, *file;
	json_t *list = json_array();
	size_t i, k;

	json_array_foreach (json_object_get(record, "guests"), i, guest) {
		const json_t *all = json_object_get(json_object_get(guest, "wake"), "rewound");

		json_array_foreach (json_object_get(all, "files"), k, file) {
			json_t *o = json_copy((json_t *)file);

			json_object_set(o, "guest", json_object_get(guest, "guest"));
			json_array_append_new(list, o);
		}
	}
	if (json_array_size(list))
		json_object_set(line, "rewound", list);
	json_decref(list);
}

static json_t *line_of(const char *cluster, const json_t *deed)
{
	const json_t *r = json_object_get(deed, "record");
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:s}", "cluster", cluster, "action",
			      vckpt_json_text(deed, "action"), "state", vckpt_json_text(r, "state"),
			      "who", vckpt_json_text(r, "who"), "why", vckpt_json_text(r, "why"));

	take(o, "time_ns", r, "began");
	take(o, "epoch", r, "epoch");
	take(o, "incarnation", r, "incarnation");
	take(o, "total_ms", r, "total_ms");
	take(o, "stall_ms", r, "stall_ms");
	take(o, "error", json_object_get(r, "error"), "text");
	take(o, "hooks", r, "hooks");
	add_rewound(o, r);
	return o;
}

static json_t *damaged_line(const char *cluster, const struct vckpt_error *why)
{
	return json_pack("{s:s,s:I,s:s,s:s,s:s,s:s,s:s}", "cluster", cluster, "time_ns",
			 (json_int_t)0, "action", "?", "state", "damaged", "who", "", "why", "",
			 "error", why->text);
}

static bool has_epoch(const json_t *lines, uint64_t epoch)
{
	const json_t *l;
	size_t i;

	json_array_foreach (lines, i, l)
		if (strcmp(vckpt_json_text(l, "state"), "committed") == 0 &&
		    json_integer_value(json_object_get(l, "epoch")) == (json_int_t)epoch)
			return true;
	return false;
}

static json_t *epoch_line(const struct vckpt_store *store, const char *cluster, uint64_t number)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_epoch e;
	const char *deed;
	json_t *o;

	if (vckpt_catalogue_get(store, cluster, number, &e, &why) < 0)
		return damaged_line(cluster, &why);
	deed = json_object_get(e.record, "suspend") ? "suspend" : "checkpoint";
	o = json_pack("{s:s,s:I,s:s,s:s,s:I,s:I,s:s,s:s}", "cluster", cluster, "time_ns",
		      (json_int_t)e.time_ns, "action", deed, "state", "committed", "epoch",
		      (json_int_t)e.epoch, "incarnation", (json_int_t)e.incarnation, "who",
		      e.asked_by, "why", e.why);
	take(o, "total_ms", e.record, "total_ms");
	take(o, "stall_ms", e.record, "stall_ms");
	vckpt_epoch_clear(&e);
	return o;
}

struct timed {
	json_int_t time;
	size_t place; /* keeps what has no time of its own where it was found */
	json_t *line;
};

static int by_time(const void *a, const void *b)
{
	const struct timed *x = a, *y = b;

	if (x->time != y->time)
		return (x->time > y->time) - (x->time < y->time);
	return (x->place > y->place) - (x->place < y->place);
}

/* A new array of the same lines, oldest first. */
static json_t *sorted(const json_t *lines)
{
	size_t n = json_array_size(lines);
	vckpt_autofree struct timed *t = calloc(n + 1, sizeof(*t));
	json_t *out = json_array();

	for (size_t i = 0; t && i < n; i++) {
		t[i].line = json_array_get(lines, i);
		t[i].time = json_integer_value(json_object_get(t[i].line, "time_ns"));
		t[i].place = i;
	}
	if (t)
		qsort(t, n, sizeof(*t), by_time);
	for (size_t i = 0; t && i < n; i++)
		json_array_append(out, t[i].line);
	return out;
}

json_t *vckpt_cluster_log(const struct vckpt_store *store, const char *cluster,
			  struct vckpt_error *err)
{
	vckpt_autofree uint64_t *deeds = NULL, *epochs = NULL;
	json_auto_t *lines = json_array();
	size_t n, n_epochs;

	if (vckpt_catalogue_list(store, cluster, &epochs, &n_epochs, err) < 0 ||
	    vckpt_history_list(store, cluster, &deeds, &n, err) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		struct vckpt_error why = VCKPT_ERROR_NONE;
		json_auto_t *deed = vckpt_history_get(store, cluster, deeds[i], &why);

		json_array_append_new(lines,
				      deed ? line_of(cluster, deed) : damaged_line(cluster, &why));
	}
	for (size_t i = 0; i < n_epochs; i++)
		if (!has_epoch(lines, epochs[i]))
			json_array_append_new(lines, epoch_line(store, cluster, epochs[i]));
	return sorted(lines);
}

/* The newest deed that was an attempt at this epoch. */
static json_t *record_in_history(const struct vckpt_store *store, const char *cluster,
				 uint64_t epoch)
{
	vckpt_autofree uint64_t *deeds = NULL;
	size_t n;

	if (vckpt_history_list(store, cluster, &deeds, &n, NULL) < 0)
		return NULL;
	while (n--) {
		json_auto_t *deed = vckpt_history_get(store, cluster, deeds[n], NULL);
		json_t *r = json_object_get(deed, "record");

		bool epochs = strcmp(vckpt_json_text(deed, "action"), "checkpoint") == 0 ||
			      strcmp(vckpt_json_text(deed, "action"), "suspend") == 0;

		if (epochs && json_integer_value(json_object_get(r, "epoch")) == (json_int_t)epoch)
			return json_incref(r);
	}
	return NULL;
}

json_t *vckpt_cluster_hooks(const struct vckpt_store *store, const char *cluster, uint64_t epoch)
{
	json_auto_t *r = record_in_history(store, cluster, epoch);

	return json_incref(json_object_get(r, "hooks"));
}

json_t *vckpt_cluster_record(const struct vckpt_store *store, const char *cluster, uint64_t epoch,
			     struct vckpt_error *err)
{
	struct vckpt_error why = VCKPT_ERROR_NONE;
	struct vckpt_epoch e;
	json_t *r;

	if (epoch == 0 && vckpt_catalogue_newest(store, cluster, &epoch, err) < 0)
		return NULL;
	if (vckpt_catalogue_get(store, cluster, epoch, &e, &why) == 0) {
		r = json_incref(e.record);
		vckpt_epoch_clear(&e);
		return r;
	}
	r = why.code == VCKPT_ENOTFOUND ? record_in_history(store, cluster, epoch) : NULL;
	if (!r && err)
		*err = why;
	return r;
}

/* A damaged one tells nothing, and is not what one wants to hear of before a new one. */
int vckpt_cluster_estimate(const struct vckpt_store *store, const char *cluster,
			   struct vckpt_estimate *out, struct vckpt_error *err)
{
	vckpt_autofree uint64_t *epochs = NULL;
	struct vckpt_epoch e;
	size_t n;

	memset(out, 0, sizeof(*out));
	if (vckpt_catalogue_list(store, cluster, &epochs, &n, err) < 0)
		return -1;
	while (n-- && out->of < 3) {
		if (vckpt_catalogue_get(store, cluster, epochs[n], &e, NULL) < 0)
			continue;
		if (json_object_get(e.record, "suspend")) { /* nobody went on */
			vckpt_epoch_clear(&e);
			continue;
		}
		out->of++;
		out->total_ms += json_number_value(json_object_get(e.record, "total_ms"));
		out->stall_ms += json_number_value(json_object_get(e.record, "stall_ms"));
		for (size_t i = 0; i < e.n_guests; i++)
			out->stored_bytes += e.guests[i].bytes_out;
		vckpt_epoch_clear(&e);
	}
	if (out->of) {
		out->total_ms /= out->of;
		out->stall_ms /= out->of;
		out->stored_bytes /= out->of;
	}
	return 0;
}
