/* What this host is, and whether a domain that was captured elsewhere can be rebuilt on it. */
#include "hv/private.h"

#include <dirent.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libvirt/virterror.h>
#include <libxml/xpath.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

#define USB_DEVICES "/sys/bus/usb/devices"

/* A definition that is being looked at. */
struct fit {
	virConnectPtr conn;
	xmlDocPtr doc;
	xmlXPathContextPtr x;
	json_t *problems;
	char type[32], arch[64], machine[64], emulator[256];
};

static void close_fit(struct fit *f)
{
	if (f->x)
		xmlXPathFreeContext(f->x);
	if (f->doc)
		xmlFreeDoc(f->doc);
	json_decref(f->problems);
}

/* The string value of `path`, "" if there is none. */
static void value_of(struct fit *f, xmlNodePtr node, const char *path, char *out, size_t size)
{
	xmlXPathObjectPtr found;
	xmlChar *text = NULL;

	f->x->node = node;
	found = xmlXPathEvalExpression(BAD_CAST path, f->x);
	if (found && !xmlXPathNodeSetIsEmpty(found->nodesetval))
		text = xmlXPathCastNodeToString(found->nodesetval->nodeTab[0]);
	snprintf(out, size, "%s", text ? (const char *)text : "");
	xmlFree(text);
	xmlXPathFreeObject(found);
}

static void problem(struct fit *f, const char *id, const char *level, const char *object,
		    const char *text, const char *cure)
{
	json_array_append_new(f->problems,
			      json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "level", level,
					"object", object, "text", text, "cure", cure));
}

static const char *libvirt_says(void)
{
	const virError *e = virGetLastError();

	return e && e->message ? e->message : "libvirt gives no reason";
}

static void check_machine(struct fit *f)
{
	vckpt_autofree char *caps = virConnectGetDomainCapabilities(f->conn, f->emulator, f->arch,
								    f->machine, f->type, 0);
	char text[700];

	if (caps)
		return;
	snprintf(text, sizeof(text), "machine type %s with %s (%s) cannot be had: %.200s",
		 f->machine, f->emulator, f->type, libvirt_says());
	problem(f, "machine", "bad", f->machine, text,
		"install the QEMU that the guest was started with, at the same path, or a newer "
		"one");
}

/* A processor that is passed through is whatever that host has: libvirt has nothing to compare. */
static void check_cpu(struct fit *f)
{
	xmlNodePtr cpu = xmlFirstElementChild(xmlDocGetRootElement(f->doc));
	char mode[64], text[400];
	xmlBufferPtr buf;
	int rc;

	while (cpu && xmlStrcmp(cpu->name, BAD_CAST "cpu"))
		cpu = xmlNextElementSibling(cpu);
	if (!cpu)
		return;
	value_of(f, cpu, "@mode", mode, sizeof(mode));
	if (mode[0] && strcmp(mode, "custom") != 0) {
		if (strcmp(f->type, "qemu") != 0) {
			snprintf(
				text, sizeof(text),
				"the guest's processor is that of the host it was started on (%s): "
				"it may fail on another one",
				mode);
			problem(f, "cpu", "warn", "cpu", text,
				"use a named CPU model for guests that are to move");
		}
		return;
	}
	buf = xmlBufferCreate();
	if (!buf || xmlNodeDump(buf, f->doc, cpu, 0, 0) < 0) {
		xmlBufferFree(buf);
		return;
	}
	rc = virConnectCompareHypervisorCPU(f->conn, f->emulator, f->arch, f->machine, f->type,
					    (const char *)xmlBufferContent(buf), 0);
	xmlBufferFree(buf);
	if (rc == VIR_CPU_COMPARE_INCOMPATIBLE || rc == VIR_CPU_COMPARE_ERROR) {
		snprintf(text, sizeof(text), "its processor lacks what the guest has: %.200s",
			 rc == VIR_CPU_COMPARE_ERROR ? libvirt_says()
						     : "libvirt finds them incompatible");
		problem(f, "cpu", "bad", "cpu", text,
			"restart on a host with the same or a newer processor");
	}
}

static bool has_network(struct fit *f, const char *name)
{
	virNetworkPtr net = virNetworkLookupByName(f->conn, name);
	bool active = net && virNetworkIsActive(net) == 1;

	if (net)
		virNetworkFree(net);
	return active;
}

static void check_nic(struct fit *f, xmlNodePtr nic)
{
	char type[32], name[256], path[300], text[400];
	bool fine;

	value_of(f, nic, "@type", type, sizeof(type));
	value_of(f, nic, "source/@bridge|source/@network|source/@dev", name, sizeof(name));
	if (!name[0] || strchr(name, '/'))
		return;
	snprintf(path, sizeof(path), "/sys/class/net/%s", name);
	fine = strcmp(type, "network") == 0 ? has_network(f, name) : access(path, F_OK) == 0;
	if (fine)
		return;
	snprintf(text, sizeof(text), "there is no %s %s for the guest's network", type, name);
	problem(f, "network", "bad", name, text, "set it up there as on the other hosts");
}

static bool attribute_is(const char *folder, const char *device, const char *name,
			 const char *wanted, int base)
{
	vckpt_autofree char *text = NULL;
	char path[512];
	size_t len;

	if (!*wanted)
		return true;
	snprintf(path, sizeof(path), "%s/%.200s/%s", folder, device, name);
	return vckpt_read_file(path, 64, &text, &len, NULL) == 0 &&
	       strtoul(text, NULL, base) == strtoul(wanted, NULL, base);
}

bool vckpt_usb_is_here(const char *folder, const char *vendor, const char *product, const char *bus,
		       const char *device)
{
	DIR *dir = opendir(folder);
	const struct dirent *e;
	bool found = false;

	while (dir && !found && (e = readdir(dir)))
		found = e->d_name[0] != '.' &&
			attribute_is(folder, e->d_name, "idVendor", vendor, 16) &&
			attribute_is(folder, e->d_name, "idProduct", product, 16) &&
			attribute_is(folder, e->d_name, "busnum", bus, 10) &&
			attribute_is(folder, e->d_name, "devnum", device, 10) && (*vendor || *bus);
	if (dir)
		closedir(dir);
	return found;
}

/* Without it libvirt would not start the guest, unless its definition says that it may. */
static void check_usb(struct fit *f, xmlNodePtr node)
{
	char vendor[32], product[32], bus[32], device[32], policy[32], text[300];

	value_of(f, node, "source/vendor/@id", vendor, sizeof(vendor));
	value_of(f, node, "source/product/@id", product, sizeof(product));
	value_of(f, node, "source/address/@bus", bus, sizeof(bus));
	value_of(f, node, "source/address/@device", device, sizeof(device));
	value_of(f, node, "source/@startupPolicy", policy, sizeof(policy));
	/* What has a name may have been plugged in elsewhere since. */
	if (vendor[0])
		bus[0] = device[0] = '\0';
	if (strcmp(policy, "optional") == 0 ||
	    vckpt_usb_is_here(USB_DEVICES, vendor, product, bus, device))
		return;
	if (vendor[0])
		snprintf(text, sizeof(text), "there is no USB device %s:%s for the guest", vendor,
			 product);
	else
		snprintf(text, sizeof(text), "there is no USB device %s on bus %s for the guest",
			 device, bus);
	problem(f, "host-device", "bad", "USB device", text,
		"plug one in, or detach it before a checkpoint; with startupPolicy='optional' in "
		"the domain's definition the guest comes back without");
}

static void check_file(struct fit *f, xmlNodePtr node)
{
	xmlChar *path = xmlNodeGetContent(node);
	char text[400];

	if (path && *path == '/' && access((const char *)path, R_OK) < 0) {
		snprintf(text, sizeof(text), "%.300s is not there", (const char *)path);
		problem(f, "file", "bad", (const char *)path, text,
			"have it on all hosts, at the same path");
	}
	xmlFree(path);
}

static void for_all(struct fit *f, const char *path, void (*each)(struct fit *f, xmlNodePtr node))
{
	xmlXPathObjectPtr found;

	f->x->node = xmlDocGetRootElement(f->doc);
	found = xmlXPathEvalExpression(BAD_CAST path, f->x);
	for (int i = 0; found && found->nodesetval && i < found->nodesetval->nodeNr; i++)
		each(f, found->nodesetval->nodeTab[i]);
	xmlXPathFreeObject(found);
}

static uint64_t memory_available(void)
{
	vckpt_autofree char *text = NULL;
	unsigned long long kib = 0;
	const char *line;
	size_t len;

	if (vckpt_read_file("/proc/meminfo", 65536, &text, &len, NULL) < 0)
		return 0;
	line = strstr(text, "MemAvailable:");
	if (line)
		sscanf(line, "MemAvailable: %llu", &kib);
	return (uint64_t)kib << 10;
}

int vckpt_hv_host(struct vckpt_hv *hv, char **json, struct vckpt_error *err)
{
	vckpt_autoconn virConnectPtr conn = NULL;
	unsigned long qemu = 0, libvirt = 0;
	json_auto_t *o = NULL;
	virNodeInfo node;

	if (vckpt_hv_conn(hv, &conn, err) < 0)
		return -1;
	/* A QEMU that cannot be run is told of where a guest needs one. */
	if (virConnectGetVersion(conn, &qemu) < 0)
		qemu = 0;
	if (virConnectGetLibVersion(conn, &libvirt) < 0 || virNodeGetInfo(conn, &node) < 0)
		return vckpt_virt_fail(err, "cannot ask libvirt about this host");
	o = json_pack("{s:I, s:I, s:i, s:s, s:I, s:I, s:i}", "qemu", (json_int_t)qemu, "libvirt",
		      (json_int_t)libvirt, "cpus", (int)node.cpus, "arch", node.model, "memory",
		      (json_int_t)node.memory << 10, "memory_free", (json_int_t)memory_available(),
		      "domains", virConnectNumOfDomains(conn));
	*json = o ? json_dumps(o, JSON_COMPACT) : NULL;
	return *json ? 0 : vckpt_fail(err, VCKPT_EFAIL, "no memory for what this host is");
}

uint64_t vckpt_hv_qemu(struct vckpt_hv *hv)
{
	vckpt_autoconn virConnectPtr conn = NULL;
	unsigned long qemu = 0;

	if (vckpt_hv_conn(hv, &conn, NULL) < 0 || virConnectGetVersion(conn, &qemu) < 0)
		return 0;
	return qemu;
}

int vckpt_hv_fit(struct vckpt_hv *hv, const char *xml, char **json, struct vckpt_error *err)
{
	vckpt_autoconn virConnectPtr conn = NULL;
	vckpt_auto(close_fit) struct fit f = {.problems = json_array()};
	xmlNodePtr root;

	if (vckpt_hv_conn(hv, &conn, err) < 0)
		return -1;
	f.conn = conn;
	f.doc = xmlReadMemory(xml, (int)strlen(xml), "domain", NULL,
			      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	f.x = f.doc ? xmlXPathNewContext(f.doc) : NULL;
	root = f.doc ? xmlDocGetRootElement(f.doc) : NULL;
	if (!f.x || !root)
		return vckpt_fail(err, VCKPT_EDAMAGED, "this is not a definition of a domain");
	value_of(&f, root, "@type", f.type, sizeof(f.type));
	value_of(&f, root, "os/type/@arch", f.arch, sizeof(f.arch));
	value_of(&f, root, "os/type/@machine", f.machine, sizeof(f.machine));
	value_of(&f, root, "devices/emulator", f.emulator, sizeof(f.emulator));
	check_machine(&f);
	/* Without the machine libvirt knows nothing of its processors. */
	if (json_array_size(f.problems) == 0)
		check_cpu(&f);
	for_all(&f, "devices/interface", check_nic);
	for_all(&f, "devices/hostdev[@type='usb']", check_usb);
	/* Disks that are written to come back on the layers of the epoch, not on what they were on.
	 */
	for_all(&f,
		"os/kernel|os/initrd|os/loader|devices/disk[readonly or "
		"@device='cdrom']/source/@file",
		check_file);
	*json = json_dumps(f.problems, JSON_COMPACT);
	return *json ? 0 : vckpt_fail(err, VCKPT_EFAIL, "no memory for what a guest needs");
}
