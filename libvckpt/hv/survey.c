#include "hv/survey.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <stdlib.h>
#include <string.h>

#include "hv/private.h"

static void put_doc(xmlDocPtr *doc)
{
	if (*doc)
		xmlFreeDoc(*doc);
}

static void put_context(xmlXPathContextPtr *x)
{
	if (*x)
		xmlXPathFreeContext(*x);
}

static void put_found(xmlXPathObjectPtr *o)
{
	if (*o)
		xmlXPathFreeObject(*o);
}

#define auto_found vckpt_auto(put_found) xmlXPathObjectPtr

/* The string value of `path` seen from `node`; JSON null where there is none. */
static json_t *text_at(xmlXPathContextPtr x, xmlNodePtr node, const char *path)
{
	auto_found found = NULL;
	xmlChar *value;
	json_t *text;

	x->node = node;
	found = xmlXPathEvalExpression(BAD_CAST path, x);
	if (!found || xmlXPathNodeSetIsEmpty(found->nodesetval))
		return json_null();
	value = xmlXPathCastNodeToString(found->nodesetval->nodeTab[0]);
	text = json_string(value ? (const char *)value : "");
	xmlFree(value);
	return text ? text : json_null();
}

static bool exists(xmlXPathContextPtr x, xmlNodePtr node, const char *path)
{
	auto_found found = NULL;

	x->node = node;
	found = xmlXPathEvalExpression(BAD_CAST path, x);
	return found && !xmlXPathNodeSetIsEmpty(found->nodesetval);
}

/* Calls `each` for every node that `path` finds in the document. */
static void for_each(xmlXPathContextPtr x, const char *path,
		     void (*each)(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey),
		     json_t *survey)
{
	auto_found found = NULL;

	x->node = xmlDocGetRootElement(x->doc);
	found = xmlXPathEvalExpression(BAD_CAST path, x);
	if (!found || xmlXPathNodeSetIsEmpty(found->nodesetval))
		return;
	for (int i = 0; i < found->nodesetval->nodeNr; i++)
		each(x, found->nodesetval->nodeTab[i], survey);
}

static void add_finding(json_t *survey, const char *list, const char *id, const char *level,
			const char *object, const char *text, const char *cure)
{
	json_array_append_new(json_object_get(survey, list),
			      json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "level", level,
					"object", object, "text", text, "cure", cure));
}

static void add_problem(json_t *survey, const char *id, const char *kind, const json_t *which,
			const char *what, const char *cure)
{
	const char *name = json_is_string(which) ? json_string_value(which) : "";
	char object[160], text[320];

	snprintf(object, sizeof(object), "%s%s%.120s", kind, *name ? " " : "", name);
	snprintf(text, sizeof(text), "%s %s", object, what);
	add_finding(survey, "problems", id, "bad", object, text, cure);
}

/* Why a disk that can be written cannot be cut; NULL: it can. */
static const char *uncut(xmlXPathContextPtr x, xmlNodePtr node, const json_t *disk)
{
	const char *type = json_string_value(json_object_get(disk, "type"));
	const char *format = json_string_value(json_object_get(disk, "format"));

	if (strcmp(json_string_value(json_object_get(disk, "device")), "disk") || !type ||
	    strcmp(type, "file"))
		return "can be written, and only disks that are files can be cut";
	if (format && strcmp(format, "qcow2") && strcmp(format, "raw"))
		return "can be written, and only the formats qcow2 and raw can be cut";
	if (exists(x, node, "shareable"))
		return "is shared with other guests, and no instant is the end of what all of them "
		       "wrote";
	if (exists(x, node, "transient"))
		return "is transient: what it holds is not there any more at the restore";
	if (exists(x, node, "encryption|source/encryption"))
		return "is encrypted, and a layer on it could not be made";
	if (exists(x, node, "source/slices"))
		return "is a slice of a file, which a layer cannot lie on";
	return NULL;
}

static void one_disk(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_t *disk = json_object(), *device = text_at(x, node, "@device");
	json_t *type = text_at(x, node, "@type");
	const char *kind = json_is_string(device) ? json_string_value(device) : "disk", *why;
	/* A CD cannot be written, whether its definition says so or not. */
	bool readonly = exists(x, node, "readonly") || !strcmp(kind, "cdrom");
	bool empty = !exists(x, node, "source");
	json_t *target = text_at(x, node, "target/@dev");

	json_object_set(disk, "target", target);
	json_object_set_new(disk, "device", json_string(kind));
	json_object_set(disk, "type", type);
	json_object_set_new(disk, "source",
			    text_at(x, node,
				    "source/@file|source/@dev|source/@name|source/@volume|source/"
				    "@path"));
	json_object_set_new(disk, "format", text_at(x, node, "driver/@type"));
	json_object_set_new(disk, "readonly", json_boolean(readonly));
	json_array_append_new(json_object_get(survey, "disks"), disk);
	why = uncut(x, node, disk);
	if (json_is_string(type) && !strcmp(json_string_value(type), "vhostuser"))
		add_problem(survey, "vhost-user", "disk", target,
			    "is served by another process that a checkpoint cannot see into",
			    "give the guest a disk that QEMU itself serves");
	else if (!readonly && why && (!empty || strcmp(kind, "floppy")))
		add_problem(survey, "disk-writable", "disk", target, why,
			    "give the guest a qcow2 or raw file of its own in its place, make it "
			    "<readonly/>, or detach it");
	json_decref(device);
	json_decref(type);
	json_decref(target);
}

/* Address of a PCI device as lspci writes it, from <address/> in `node`; "" if it has none. */
static void pci_address(xmlXPathContextPtr x, xmlNodePtr node, char out[32])
{
	static const char *const parts[] = {"source/address/@domain", "source/address/@bus",
					    "source/address/@slot", "source/address/@function"};
	unsigned long v[4] = {0};

	out[0] = '\0';
	for (size_t i = 0; i < 4; i++) {
		json_auto_t *t = text_at(x, node, parts[i]);

		if (json_is_string(t))
			v[i] = strtoul(json_string_value(t), NULL, 0);
		else if (i)
			return;
	}
	snprintf(out, 32, "%04lx:%02lx:%02lx.%lx", v[0] & 0xffff, v[1] & 0xff, v[2] & 0xff,
		 v[3] & 7);
}

static void one_nic(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_t *nic = json_object(), *mac = text_at(x, node, "mac/@address");
	json_t *type = text_at(x, node, "@type");
	const char *kind = json_is_string(type) ? json_string_value(type) : "";

	json_object_set(nic, "mac", mac);
	json_object_set(nic, "type", type);
	json_object_set_new(nic, "source",
			    text_at(x, node, "source/@bridge|source/@network|source/@dev"));
	json_object_set_new(nic, "target", text_at(x, node, "target/@dev"));
	json_object_set_new(nic, "model", text_at(x, node, "model/@type"));
	json_array_append_new(json_object_get(survey, "nics"), nic);
	if (!strcmp(kind, "hostdev") || !strcmp(kind, "vdpa"))
		add_problem(survey, "passthrough", "network interface", mac,
			    "is hardware of this host given to the guest",
			    "use a virtio interface on a bridge or macvtap");
	else if (!strcmp(kind, "vhostuser"))
		add_problem(survey, "vhost-user", "network interface", mac,
			    "is served by another process that a checkpoint cannot see into",
			    "use a virtio interface on a bridge or macvtap");
	json_decref(mac);
	json_decref(type);
}

/* QEMU takes the guest's side of it along, and connects it anew: the guest sees it plugged out and
 * in again. */
static void one_usb(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_auto_t *vendor = text_at(x, node, "source/vendor/@id");
	json_auto_t *product = text_at(x, node, "source/product/@id");
	json_auto_t *bus = text_at(x, node, "source/address/@bus");
	json_auto_t *device = text_at(x, node, "source/address/@device");
	char object[160] = "USB device";

	if (json_is_string(vendor) && json_is_string(product))
		snprintf(object, sizeof(object), "USB device %04lx:%04lx",
			 strtoul(json_string_value(vendor), NULL, 16) & 0xffff,
			 strtoul(json_string_value(product), NULL, 16) & 0xffff);
	else if (json_is_string(bus) && json_is_string(device))
		snprintf(object, sizeof(object), "USB device %.20s on bus %.20s",
			 json_string_value(device), json_string_value(bus));
	add_finding(survey, "outside", "host-device", "warn", object,
		    "the host's, given to the guest: no restart brings back what it was doing, and "
		    "the guest sees it plugged out and in again",
		    "detach it before a checkpoint, or see that hosts where it is restarted have "
		    "one");
}

static void one_hostdev(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_auto_t *type = text_at(x, node, "@type"), *which = NULL;
	const char *kind = json_is_string(type) ? json_string_value(type) : "";
	char what[64] = "host device", address[32];

	if (!strcmp(kind, "usb")) {
		one_usb(x, node, survey);
		return;
	}
	pci_address(x, node, address);
	if (!strcmp(kind, "pci") && address[0])
		which = json_string(address);
	else
		which = text_at(x, node,
				"source/address/@uuid|source/adapter/@name|source/@wwpn|source/"
				"block|source/char|source/interface");
	snprintf(what, sizeof(what), "host device%s%.40s", *kind ? " " : "", kind);
	add_problem(survey, "passthrough", what, which, "is given to the guest",
		    "detach it: the state of real hardware cannot be captured");
}

static void one_filesystem(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_t *dir = text_at(x, node, "target/@dir");

	add_problem(survey, "filesystem", "shared folder", dir, "is served from the host",
		    "detach it and mount a network file system in the guest");
	json_decref(dir);
}

static void one_shmem(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_t *name = text_at(x, node, "@name");

	add_problem(survey, "shared-memory", "shared memory", name,
		    "can be changed by others during a capture", "detach it");
	json_decref(name);
}

static void one_tpm(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_t *type = text_at(x, node, "backend/@type");

	add_problem(survey, "tpm", "TPM", type,
		    "keeps its state outside of the guest, where a restore cannot take it back",
		    "remove it");
	json_decref(type);
}

static void one_sealed(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_t *type = text_at(x, node, "@type");

	add_problem(survey, "encrypted-memory", "launch security", type,
		    "encrypts the guest's memory", "remove it: such memory cannot be restored");
	json_decref(type);
}

static void one_memory(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_t *model = text_at(x, node, "@model");

	add_problem(survey, "host-memory", "memory device", model,
		    "keeps its contents in a file or device of the host", "detach it");
	json_decref(model);
}

static void one_vhost_user(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_t *name = json_string((const char *)node->name);

	(void)x;
	add_problem(survey, "vhost-user", "device", name,
		    "is served by another process that a checkpoint cannot see into",
		    "detach it, or use a device that QEMU itself serves");
	json_decref(name);
}

static void one_channel(xmlXPathContextPtr x, xmlNodePtr node, json_t *survey)
{
	json_object_set_new(survey, "channel",
			    json_pack("{s:o, s:o}", "path", text_at(x, node, "source/@path"),
				      "state", text_at(x, node, "target/@state")));
}

/* libvirt writes <memory> in KiB; what a person wrote may have another unit. */
static json_t *memory_kib(xmlXPathContextPtr x, xmlNodePtr root)
{
	static const struct {
		const char *unit;
		double kib;
	} units[] = {{"b", 1.0 / 1024},
		     {"bytes", 1.0 / 1024},
		     {"KB", 1000.0 / 1024},
		     {"k", 1},
		     {"KiB", 1},
		     {"MB", 1e6 / 1024},
		     {"M", 1024},
		     {"MiB", 1024},
		     {"GB", 1e9 / 1024},
		     {"G", 1024 * 1024},
		     {"GiB", 1024 * 1024},
		     {"T", 1024.0 * 1024 * 1024},
		     {"TiB", 1024.0 * 1024 * 1024}};
	json_auto_t *text = text_at(x, root, "memory"), *unit = NULL;
	const char *name;
	double n;

	unit = text_at(x, root, "memory/@unit");
	if (!json_is_string(text))
		return json_null();
	n = strtod(json_string_value(text), NULL);
	name = json_is_string(unit) ? json_string_value(unit) : "KiB";
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strcmp(units[i].unit, name))
			return json_integer((json_int_t)(n * units[i].kib));
	return json_null();
}

static json_t *vcpus(xmlXPathContextPtr x, xmlNodePtr root)
{
	json_auto_t *text = text_at(x, root, "vcpu");

	return json_is_string(text) ? json_integer(strtoll(json_string_value(text), NULL, 10))
				    : json_null();
}

static void read_domain(xmlXPathContextPtr x, xmlNodePtr root, json_t *survey)
{
	json_object_set_new(survey, "name", text_at(x, root, "name"));
	json_object_set_new(survey, "uuid", text_at(x, root, "uuid"));
	json_object_set_new(survey, "type", text_at(x, root, "@type"));
	json_object_set_new(survey, "memory_kib", memory_kib(x, root));
	json_object_set_new(survey, "vcpus", vcpus(x, root));
	json_object_set_new(survey, "machine", text_at(x, root, "os/type/@machine"));
	json_object_set_new(survey, "emulator", text_at(x, root, "devices/emulator"));
	json_object_set_new(survey, "cpu", text_at(x, root, "cpu/@mode"));
	json_object_set_new(survey, "channel", json_null());
	json_object_set_new(survey, "nics", json_array());
	json_object_set_new(survey, "disks", json_array());
	json_object_set_new(survey, "problems", json_array());
	json_object_set_new(survey, "outside", json_array());
	for_each(x,
		 "devices/channel[@type='unix'][target/@type='virtio'][target/@name='" VCKPT_CHANNEL
		 "']",
		 one_channel, survey);
	for_each(x, "devices/interface", one_nic, survey);
	for_each(x, "devices/disk", one_disk, survey);
	for_each(x, "devices/hostdev", one_hostdev, survey);
	for_each(x, "devices/filesystem", one_filesystem, survey);
	for_each(x, "devices/shmem", one_shmem, survey);
	for_each(x, "devices/tpm", one_tpm, survey);
	for_each(x, "launchSecurity", one_sealed, survey);
	for_each(x, "devices/memory[@model='nvdimm' or @model='virtio-pmem' or @model='sgx-epc']",
		 one_memory, survey);
	for_each(x, "devices/video[driver/@name='vhostuser']", one_vhost_user, survey);
	for_each(x, "devices/crypto[backend/@model='vhost-user']", one_vhost_user, survey);
}

int vckpt_survey_parse(const char *xml, json_t **out, struct vckpt_error *err)
{
	vckpt_auto(put_context) xmlXPathContextPtr x = NULL;
	vckpt_auto(put_doc) xmlDocPtr doc = NULL;
	json_auto_t *survey = NULL;
	size_t len = strlen(xml);
	xmlNodePtr root;

	if (len > 16u << 20)
		return vckpt_fail(err, VCKPT_EDAMAGED, "a domain definition of %zu bytes", len);
	doc = xmlReadMemory(xml, (int)len, "domain", NULL,
			    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	root = doc ? xmlDocGetRootElement(doc) : NULL;
	if (!root || xmlStrcmp(root->name, BAD_CAST "domain"))
		return vckpt_fail(err, VCKPT_EDAMAGED, "this is not a definition of a domain");
	x = xmlXPathNewContext(doc);
	survey = json_object();
	if (!x || !survey)
		return vckpt_fail(err, VCKPT_EFAIL, "no memory for a domain definition");
	read_domain(x, root, survey);
	*out = vckpt_steal_ptr(&survey);
	return 0;
}

int vckpt_survey_refuse(const json_t *survey, struct vckpt_error *err)
{
	const json_t *problems = json_object_get(survey, "problems");
	const json_t *first = json_array_get(problems, 0);
	size_t n = json_array_size(problems);
	char more[48] = "";

	if (!first)
		return 0;
	if (n > 1)
		snprintf(more, sizeof(more), " (and %zu more like this)", n - 1);
	return vckpt_fail(err, VCKPT_EREFUSED, "%s: %s%s",
			  json_string_value(json_object_get(first, "text")),
			  json_string_value(json_object_get(first, "cure")), more);
}

int vckpt_domain_survey(struct vckpt_domain *dom, char **json, struct vckpt_error *err)
{
	vckpt_autodom virDomainPtr ptr = NULL;
	json_auto_t *survey = NULL;
	vckpt_autofree char *xml = NULL;
	struct vckpt_domain_status st;
	int autostart = 0;

	if (vckpt_domain_ref(dom, &ptr, err) < 0 || vckpt_domain_status(dom, &st, err) < 0)
		return -1;
	xml = virDomainGetXMLDesc(ptr, 0);
	if (!xml)
		return vckpt_virt_fail(err, "definition of domain %s", dom->name);
	if (vckpt_survey_parse(xml, &survey, err) < 0)
		return vckpt_error_prefix(err, "domain %s", dom->name);
	virDomainGetAutostart(ptr, &autostart);
	json_object_set_new(survey, "state", json_string(st.reason));
	json_object_set_new(survey, "running", json_boolean(st.state != VCKPT_DOMAIN_OFF));
	json_object_set_new(survey, "persistent", json_boolean(virDomainIsPersistent(ptr) == 1));
	json_object_set_new(survey, "autostart", json_boolean(autostart));
	*json = json_dumps(survey, JSON_COMPACT);
	return *json ? 0 : vckpt_fail(err, VCKPT_EFAIL, "no memory for a survey");
}
