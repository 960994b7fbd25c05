#include "hv/disks.h"

#include <libvirt/virterror.h>
#include <string.h>

#include "base/json.h"
#include "hv/layers_xml.h"
#include "hv/private.h"

/* Between two looks at a job of QEMU's. */
#define LOOK_EVERY (20 * VCKPT_MS)

int vckpt_disks_look(struct vckpt_domain *dom, json_t **disks, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	vckpt_autofree char *xml = NULL;

	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	xml = virDomainGetXMLDesc(ptr, 0);
	if (!xml)
		return vckpt_virt_fail(err, "definition of domain %s", dom->name);
	if (vckpt_disks_parse(xml, disks, err) < 0)
		return vckpt_error_prefix(err, "domain %s", dom->name);
	return 0;
}

int vckpt_disks_measure(struct vckpt_domain *dom, json_t *disks, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	virDomainBlockInfo info;
	json_t *one;
	size_t i;

	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	json_array_foreach (disks, i, one) {
		if (virDomainGetBlockInfo(ptr, vckpt_json_text(one, "target"), &info, 0) < 0)
			return vckpt_virt_fail(err, "disk %s of domain %s",
					       vckpt_json_text(one, "target"), dom->name);
		json_object_set_new(one, "bytes", json_integer((json_int_t)info.capacity));
	}
	return 0;
}

/* QEMU's own word for it comes in one transaction: all disks or none. */
int vckpt_disks_cut(struct vckpt_domain *dom, const json_t *disks, struct vckpt_error *err)
{
	const unsigned flags =
		VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC |
		VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA | VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT;
	vckpt_autodom virDomainPtr ptr = NULL;
	vckpt_autofree char *live = NULL, *xml = NULL;
	virDomainSnapshotPtr snapshot;

	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	live = virDomainGetXMLDesc(ptr, 0);
	if (!live)
		return vckpt_virt_fail(err, "definition of domain %s", dom->name);
	if (vckpt_snapshot_xml(live, disks, &xml, err) < 0)
		return vckpt_error_prefix(err, "domain %s", dom->name);
	snapshot = virDomainSnapshotCreateXML(ptr, xml, flags);
	if (!snapshot)
		return vckpt_virt_fail(err, "cannot cut the disks of domain %s", dom->name);
	virDomainSnapshotFree(snapshot);
	return 0;
}

/* A job of ours on that disk: 1; none: 0; somebody else's: VCKPT_EBUSY. */
static int job_of(virDomainPtr ptr, const struct vckpt_domain *dom, const json_t *disk,
		  virDomainBlockJobInfo *info, struct vckpt_error *err)
{
	int n = virDomainGetBlockJobInfo(ptr, vckpt_json_text(disk, "target"), info, 0);

	if (n < 0)
		return vckpt_virt_fail(err, "jobs of disk %s of domain %s",
				       vckpt_json_text(disk, "target"), dom->name);
	if (n == 0)
		return 0;
	if ((info->type == VIR_DOMAIN_BLOCK_JOB_TYPE_PULL ||
	     info->type == VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT) &&
	    strstr(vckpt_json_text(disk, "source"), VCKPT_LAYER_MARK))
		return 1;
	return vckpt_fail(
		err, VCKPT_EBUSY,
		"disk %s of domain %s is being copied or committed by somebody (see virsh "
		"blockjob); wait for its end",
		vckpt_json_text(disk, "target"), dom->name);
}

static void nap(void)
{
	const struct timespec t = {.tv_nsec = LOOK_EVERY};

	nanosleep(&t, NULL);
}

int vckpt_disks_settle(struct vckpt_domain *dom, const json_t *disks, uint64_t patience,
		       size_t most, struct vckpt_error *err)
{
	uint64_t until = vckpt_now() + patience;
	vckpt_autodom virDomainPtr ptr = NULL;
	virDomainBlockJobInfo info;
	json_t *one;
	size_t i;
	int n;

	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	json_array_foreach (disks, i, one) {
		const char *target = vckpt_json_text(one, "target");

		while ((n = job_of(ptr, dom, one, &info, err)) > 0 && vckpt_now() < until)
			nap();
		if (n < 0)
			return -1;
		if (n == 0)
			continue;
		if (json_array_size(json_object_get(one, "layers")) > most)
			return vckpt_fail(
				err, VCKPT_ENOTNOW,
				"the layers of disk %s of domain %s are being put together "
				"(%llu of %llu bytes)",
				target, dom->name, info.cur, info.end);
		/* It may just have come to its end. */
		if (virDomainBlockJobAbort(ptr, target, 0) < 0 &&
		    job_of(ptr, dom, one, &info, NULL) != 0)
			return vckpt_virt_fail(err, "cannot end the job of disk %s of domain %s",
					       target, dom->name);
	}
	return 0;
}

/* The one with the longest chain; NULL if none has more than `most` layers. */
static const json_t *longest(const json_t *disks, size_t most)
{
	const json_t *found = NULL;
	json_t *one;
	size_t i;

	json_array_foreach (disks, i, one) {
		size_t n = json_array_size(json_object_get(one, "layers"));

		if (n <= most || n < 3)
			continue;
		found = one;
		most = n;
	}
	return found;
}

int vckpt_disks_shorten(struct vckpt_domain *dom, const json_t *disks, size_t most,
			struct vckpt_error *err)
{
	const json_t *disk = longest(disks, most), *layers;
	json_t *one;
	vckpt_autodom virDomainPtr ptr = NULL;
	virDomainBlockJobInfo info;
	const char *bottom;
	size_t i;

	if (!disk)
		return 0;
	if (vckpt_domain_ref(dom, &ptr, err) < 0)
		return -1;
	json_array_foreach (disks, i, one) {
		int busy = job_of(ptr, dom, one, &info, err);

		if (busy != 0)
			return busy;
	}
	layers = json_object_get(disk, "layers");
	bottom = vckpt_json_text(json_array_get(layers, json_array_size(layers) - 1), "path");
	if (virDomainBlockRebase(ptr, vckpt_json_text(disk, "target"), bottom, 0, 0) < 0)
		return vckpt_virt_fail(err, "cannot shorten disk %s of domain %s",
				       vckpt_json_text(disk, "target"), dom->name);
	return 1;
}

/* QEMU has copied all, and copies what comes. */
static int wait_ready(virDomainPtr ptr, struct vckpt_domain *dom, const json_t *disk,
		      uint64_t deadline, struct vckpt_error *err)
{
	virDomainBlockJobInfo info;
	int n;

	while ((n = virDomainGetBlockJobInfo(ptr, vckpt_json_text(disk, "target"), &info, 0)) > 0) {
		if (info.end > 0 && info.cur == info.end)
			return 0;
		if (vckpt_now() >= deadline)
			return vckpt_fail(err, VCKPT_ETIME,
					  "disk %s of domain %s is not merged in time",
					  vckpt_json_text(disk, "target"), dom->name);
		nap();
	}
	if (n < 0)
		return vckpt_virt_fail(err, "disk %s of domain %s", vckpt_json_text(disk, "target"),
				       dom->name);
	return vckpt_fail(err, VCKPT_EVIRT, "the merge of disk %s of domain %s has ended by itself",
			  vckpt_json_text(disk, "target"), dom->name);
}

static int merge_one(virDomainPtr ptr, struct vckpt_domain *dom, const json_t *disk,
		     uint64_t deadline, struct vckpt_error *err)
{
	const unsigned how = VIR_DOMAIN_BLOCK_COMMIT_ACTIVE | VIR_DOMAIN_BLOCK_COMMIT_SHALLOW;
	const char *target = vckpt_json_text(disk, "target");
	struct vckpt_error why = VCKPT_ERROR_NONE;

	if (virDomainBlockCommit(ptr, target, NULL, NULL, 0, how) < 0)
		return vckpt_virt_fail(err, "cannot merge disk %s of domain %s", target, dom->name);
	/* "Ready" is told a moment before the pivot may be asked for. */
	for (int rc = wait_ready(ptr, dom, disk, deadline, &why); rc == 0; nap()) {
		if (virDomainBlockJobAbort(ptr, target, VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT) == 0)
			return 0;
		vckpt_virt_fail(&why, "cannot merge disk %s of domain %s", target, dom->name);
		if (vckpt_now() >= deadline)
			break;
	}
	virDomainBlockJobAbort(ptr, target, 0);
	return vckpt_fail(err, why.code, "%s", why.text);
}

int vckpt_disks_merge(struct vckpt_domain *dom, const json_t *disks, uint64_t deadline,
		      struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	json_auto_t *now = NULL;
	json_t *one, *is;
	size_t i, k;

	if (vckpt_domain_ref(dom, &ptr, err) < 0 || vckpt_disks_look(dom, &now, err) < 0)
		return -1;
	json_array_foreach (disks, i, one)
		json_array_foreach (now, k, is) {
			if (strcmp(vckpt_json_text(is, "target"), vckpt_json_text(one, "target")) !=
				    0 ||
			    strcmp(vckpt_json_text(is, "source"),
				   vckpt_json_text(one, "overlay")) != 0)
				continue;
			if (merge_one(ptr, dom, is, deadline, err) < 0)
				return -1;
		}
	return 0;
}

/* Those of `disks` that a definition has, too: one that was plugged in for now only is not there.
 */
static json_t *also_in(const char *xml, const json_t *disks, struct vckpt_error *err)
{
	json_t *both = json_array(), *one, *is;
	json_auto_t *defined = NULL;
	size_t i, k;

	if (vckpt_disks_parse(xml, &defined, err) < 0) {
		json_decref(both);
		return NULL;
	}
	json_array_foreach (disks, i, one)
		json_array_foreach (defined, k, is)
			if (strcmp(vckpt_json_text(is, "target"), vckpt_json_text(one, "target")) ==
			    0)
				json_array_append(both, one);
	return both;
}

int vckpt_disks_follow(struct vckpt_domain *dom, const json_t *disks, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL, defined = NULL;
	vckpt_autofree char *xml = NULL, *changed = NULL;
	vckpt_autoconn virConnectPtr conn = NULL;
	json_auto_t *both = NULL;

	if (vckpt_domain_ref(dom, &ptr, err) < 0 || vckpt_hv_conn(dom->hv, &conn, err) < 0)
		return -1;
	if (virDomainIsPersistent(ptr) != 1)
		return 0;
	xml = virDomainGetXMLDesc(ptr, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
	if (!xml)
		return vckpt_virt_fail(err, "definition of domain %s", dom->name);
	both = also_in(xml, disks, err);
	if (!both || vckpt_disks_put(xml, both, &changed, err) < 0)
		return vckpt_error_prefix(err, "domain %s", dom->name);
	if (strcmp(xml, changed) == 0)
		return 0;
	defined = virDomainDefineXML(conn, changed);
	return defined ? 0
		       : vckpt_virt_fail(err, "cannot change the definition of domain %s",
					 dom->name);
}

static int add_named(virDomainPtr ptr, unsigned flags, json_t *paths, struct vckpt_error *err)
{
	vckpt_autofree char *xml = virDomainGetXMLDesc(ptr, flags);

	if (!xml)
		return vckpt_virt_fail(err, "definition of domain %s", virDomainGetName(ptr));
	return vckpt_xml_files(xml, paths, err);
}

int vckpt_disks_named(struct vckpt_hv *hv, const char *domain, json_t **out,
		      struct vckpt_error *err)
{
	vckpt_autoconn virConnectPtr conn = NULL;
	vckpt_autodom virDomainPtr ptr = NULL;
	json_auto_t *paths = json_array();

	if (vckpt_hv_conn(hv, &conn, err) < 0)
		return -1;
	ptr = virDomainLookupByName(conn, domain);
	if (!ptr)
		return vckpt_virt_fail(err, "domain %s", domain);
	if (add_named(ptr, 0, paths, err) < 0 ||
	    add_named(ptr, VIR_DOMAIN_XML_INACTIVE, paths, err) < 0)
		return -1;
	*out = vckpt_steal_ptr(&paths);
	return 0;
}
