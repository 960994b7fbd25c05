#include "cluster/outside.h"

#include <string.h>

#include "base/json.h"

static const char *const names[VCKPT_OUTSIDE_KINDS] = {
	[VCKPT_OUTSIDE_FILE] = "network-file",   [VCKPT_OUTSIDE_CONNECTION] = "outside-connection",
	[VCKPT_OUTSIDE_LAUNCHER] = "launcher",   [VCKPT_OUTSIDE_RANKS] = "job-hosts",
	[VCKPT_OUTSIDE_LEASE] = "address-lease", [VCKPT_OUTSIDE_DEVICE] = "host-device",
};

const char *vckpt_outside_name(unsigned kind)
{
	return kind < VCKPT_OUTSIDE_KINDS ? names[kind] : NULL;
}

/* Its kind, or VCKPT_OUTSIDE_KINDS if the cut contains it or it does not matter. */
static unsigned kind_of(const json_t *finding)
{
	const char *level = vckpt_json_text(finding, "level");
	unsigned kind = 0;

	if (strcmp(level, "warn") != 0 && strcmp(level, "bad") != 0)
		return VCKPT_OUTSIDE_KINDS;
	while (kind < VCKPT_OUTSIDE_KINDS &&
	       strcmp(vckpt_json_text(finding, "id"), names[kind]) != 0)
		kind++;
	return kind;
}

int vckpt_outside_judge(const json_t *prepare, const char *guest,
			const enum vckpt_outside_policy policy[VCKPT_OUTSIDE_KINDS],
			struct vckpt_error *err)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(prepare, "findings"), i, one) {
		unsigned kind = kind_of(one);

		if (kind == VCKPT_OUTSIDE_KINDS || policy[kind] != VCKPT_OUTSIDE_REFUSE)
			continue;
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "%.70s: %.60s: %.180s; %.110s; or go on all the same with "
				  "--warn=%s",
				  guest, vckpt_json_text(one, "object"),
				  vckpt_json_text(one, "text"), vckpt_json_text(one, "cure"),
				  names[kind]);
	}
	return 0;
}

void vckpt_outside_gather(const json_t *prepare, const char *guest, json_t *list)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(prepare, "findings"), i, one) {
		json_t *o;

		if (kind_of(one) == VCKPT_OUTSIDE_KINDS)
			continue;
		o = json_copy((json_t *)one);
		json_object_set_new(o, "guest", json_string(guest));
		json_array_append_new(list, o);
	}
}
