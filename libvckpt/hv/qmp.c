#include "hv/qmp.h"

#include <libvirt/libvirt-qemu.h>
#include <string.h>

#include "hv/private.h"

int vckpt_qmp_parse(const char *text, const char *command, json_t **ret, struct vckpt_error *err)
{
	json_auto_t *reply = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *desc = NULL;
	json_t *value;

	if (reply && json_unpack(reply, "{s:{s:s}}", "error", "desc", &desc) == 0)
		return vckpt_fail(err, VCKPT_EVIRT, "%s: %s", command, desc);
	value = json_object_get(reply, "return");
	if (!value)
		return vckpt_fail(err, VCKPT_EVIRT, "%s: QEMU's answer is not understood", command);
	if (ret)
		*ret = json_incref(value);
	return 0;
}

static int execute(struct vckpt_domain *dom, const char *text, int fd, char **reply,
		   struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	int rc;

	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	if (fd >= 0)
		rc = virDomainQemuMonitorCommandWithFiles(ptr, text, 1, &fd, NULL, NULL, reply, 0);
	else
		rc = virDomainQemuMonitorCommand(ptr, text, reply, 0);
	return rc < 0 ? vckpt_virt_fail(err, "domain %s", dom->name) : 0;
}

int vckpt_qmp(struct vckpt_domain *dom, const char *command, json_t *args, int fd, json_t **ret,
	      struct vckpt_error *err)
{
	json_auto_t *call = json_pack("{s:s}", "execute", command);
	vckpt_autofree char *text = NULL, *reply = NULL;

	if (args)
		json_object_set_new(call, "arguments", args);
	text = call ? json_dumps(call, JSON_COMPACT) : NULL;
	if (!text)
		return vckpt_fail(err, VCKPT_EFAIL, "no memory for the QEMU command %s", command);
	if (execute(dom, text, fd, &reply, err) < 0)
		return -1;
	if (vckpt_qmp_parse(reply, command, ret, err) < 0)
		return vckpt_error_prefix(err, "domain %s", dom->name);
	return 0;
}

void vckpt_qmp_migration(const json_t *ret, struct vckpt_migration *m)
{
	const char *status = json_string_value(json_object_get(ret, "status"));
	const char *desc = json_string_value(json_object_get(ret, "error-desc"));
	const char *blocked =
		json_string_value(json_array_get(json_object_get(ret, "blocked-reasons"), 0));

	memset(m, 0, sizeof(*m));
	snprintf(m->blocked, sizeof(m->blocked), "%s", blocked ? blocked : "");
	if (!status || !strcmp(status, "none")) {
		m->state = VCKPT_MIGRATION_NONE;
	} else if (!strcmp(status, "completed")) {
		m->state = VCKPT_MIGRATION_COMPLETED;
	} else if (!strcmp(status, "failed") || !strcmp(status, "cancelled")) {
		m->state = VCKPT_MIGRATION_FAILED;
		snprintf(m->text, sizeof(m->text), "%s", desc ? desc : status);
	} else {
		m->state = VCKPT_MIGRATION_ACTIVE;
	}
}

int vckpt_qmp_query_migrate(struct vckpt_domain *dom, struct vckpt_migration *m,
			    struct vckpt_error *err)
{
	json_auto_t *ret = NULL;

	if (vckpt_qmp(dom, "query-migrate", NULL, -1, &ret, err) < 0)
		return -1;
	vckpt_qmp_migration(ret, m);
	return 0;
}

int vckpt_qmp_background(struct vckpt_domain *dom, bool on, struct vckpt_error *err)
{
	return vckpt_qmp(dom, "migrate-set-capabilities",
			 json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability",
				   "background-snapshot", "state", (int)on),
			 -1, NULL, err);
}

int vckpt_qmp_is_background(struct vckpt_domain *dom, struct vckpt_error *err)
{
	json_auto_t *ret = NULL;
	json_t *cap;
	size_t i;

	if (vckpt_qmp(dom, "query-migrate-capabilities", NULL, -1, &ret, err) < 0)
		return -1;
	json_array_foreach (ret, i, cap) {
		const char *name = json_string_value(json_object_get(cap, "capability"));

		if (name && !strcmp(name, "background-snapshot"))
			return json_is_true(json_object_get(cap, "state"));
	}
	return 0;
}
