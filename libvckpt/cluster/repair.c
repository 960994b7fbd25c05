#include "cluster/repair.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "cluster/record.h"
#include "store/history.h"
#include "store/lease.h"
#include "store/repair.h"
#include "store/reports.h"

#define LEASE (30 * VCKPT_S)
#define RENEW (5 * VCKPT_S)

struct watched {
	const struct vckpt_repair_request *q;
	struct vckpt_lease *lease;
	uint64_t renewed;
};

/* Reading takes longer than a lease lasts. */
static bool tick(void *arg, uint64_t done, uint64_t total)
{
	struct watched *w = arg;

	if (w->lease && vckpt_now() - w->renewed >= RENEW) {
		w->renewed = vckpt_now();
		vckpt_lease_renew(w->lease, NULL);
		if (vckpt_lease_check(w->lease, NULL) < 0)
			return false;
	}
	return !w->q->tick || w->q->tick(w->q->arg, done, total);
}

static void note(struct vckpt_lease *lease, const struct vckpt_repair_request *q, uint64_t began,
		 const json_t *report, const struct vckpt_error *failed)
{
	json_t *record =
		json_pack("{s:s, s:s, s:s, s:I, s:O}", "cluster", vckpt_lease_cluster(lease),
			  "state", failed ? "failed" : "repaired", "who", q->who, "began",
			  (json_int_t)began, "deeds", json_object_get(report, "deeds"));

	vckpt_history_deed(lease, "repair", record, failed, NULL);
}

/* Who looks after the cluster may restart from them again (supervise/report.h). */
static int tell_fetched(const struct vckpt_store *store, const char *cluster, const json_t *deeds,
			struct vckpt_error *err)
{
	const json_t *one;
	size_t i;

	json_array_foreach (deeds, i, one) {
		vckpt_autofree char *line = NULL;
		json_auto_t *j = NULL;

		if (strcmp(vckpt_json_text(one, "what"), "fetched") != 0 ||
		    !json_object_get(one, "epoch"))
			continue;
		j = json_pack("{s:s, s:I, s:O}", "event", "mended", "time",
			      (json_int_t)vckpt_wallclock(), "epoch",
			      json_object_get(one, "epoch"));
		line = json_dumps(j, JSON_COMPACT);
		if (!line)
			return vckpt_fail_errno(err, "no memory to tell what was fetched");
		if (vckpt_store_add_report(store, cluster, line, err) < 0)
			return -1;
	}
	return 0;
}

static int look_and_do(const struct vckpt_store *store, const char *cluster,
		       const struct vckpt_repair_request *q, struct vckpt_lease *lease,
		       json_t **report, struct vckpt_error *err)
{
	struct watched w = {q, lease, vckpt_now()};
	const struct vckpt_check_options o = {
		.read_data = true, .threads = q->threads, .tick = tick, .arg = &w};
	json_t *is = NULL, *deeds = NULL;
	int rc;

	rc = vckpt_store_examine(store, cluster, &o, &is, err);
	/* Who gave it up: the lease says more. */
	if (rc < 0 && lease && vckpt_lease_check(lease, NULL) < 0)
		rc = vckpt_lease_check(lease, err);
	if (rc == 0)
		rc = vckpt_store_repair(store, cluster, lease, is, &deeds, err);
	if (deeds && lease && tell_fetched(store, cluster, deeds, rc < 0 ? NULL : err) < 0)
		rc = -1;
	if (deeds) {
		json_object_set_new(is, "applied", json_boolean(q->apply));
		json_object_set_new(is, "deeds", deeds);
		*report = json_incref(is);
	}
	json_decref(is);
	return rc;
}

int vckpt_cluster_repair(const struct vckpt_store *store, const char *cluster,
			 const struct vckpt_repair_request *q, json_t **report,
			 struct vckpt_error *err)
{
	uint64_t began = vckpt_wallclock();
	struct vckpt_lease *lease = NULL;
	struct vckpt_error own;
	int rc;

	*report = NULL;
	if (!err)
		err = &own;
	if (q->apply) {
		lease = vckpt_lease_acquire(store, cluster, q->who, NULL, "repair", LEASE, err);
		if (!lease)
			return -1;
	}
	rc = look_and_do(store, cluster, q, lease, report, err);
	if (lease && *report)
		note(lease, q, began, *report, rc < 0 ? err : NULL);
	vckpt_lease_release(lease);
	return rc;
}
