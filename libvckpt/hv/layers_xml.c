#include "hv/layers_xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xpath.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "hv/disks.h"

#define XML_MAX (16u << 20)

static void put_doc(xmlDocPtr *doc)
{
	if (*doc)
		xmlFreeDoc(*doc);
}
#define auto_doc vckpt_auto(put_doc) xmlDocPtr

static int parse(const char *xml, xmlDocPtr *doc, struct vckpt_error *err)
{
	size_t len = strlen(xml);
	xmlNodePtr root;

	*doc = len > XML_MAX
		       ? NULL
		       : xmlReadMemory(xml, (int)len, "domain", NULL,
				       XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	root = *doc ? xmlDocGetRootElement(*doc) : NULL;
	if (!root || xmlStrcmp(root->name, BAD_CAST "domain"))
		return vckpt_fail(err, VCKPT_EDAMAGED, "this is not a definition of a domain");
	return 0;
}

static xmlNodePtr child(xmlNodePtr node, const char *name)
{
	for (xmlNodePtr c = node ? node->children : NULL; c; c = c->next)
		if (c->type == XML_ELEMENT_NODE && !xmlStrcmp(c->name, BAD_CAST name))
			return c;
	return NULL;
}

/* A copy of an attribute; "" where it is not there. */
static json_t *attribute(xmlNodePtr node, const char *name)
{
	xmlChar *value = node ? xmlGetNoNsProp(node, BAD_CAST name) : NULL;
	json_t *text = json_string(value ? (const char *)value : "");

	xmlFree(value);
	return text ? text : json_string("");
}

static bool is(xmlNodePtr node, const char *name, const char *wanted)
{
	json_auto_t *text = attribute(node, name);

	return strcmp(json_string_value(text), wanted) == 0;
}

static xmlNodePtr first_disk(xmlDocPtr doc)
{
	xmlNodePtr devices = child(xmlDocGetRootElement(doc), "devices");

	return child(devices, "disk");
}

static xmlNodePtr next_disk(xmlNodePtr disk)
{
	while ((disk = disk->next))
		if (disk->type == XML_ELEMENT_NODE && !xmlStrcmp(disk->name, BAD_CAST "disk"))
			return disk;
	return NULL;
}

static bool is_written(xmlNodePtr disk)
{
	return !child(disk, "readonly") && !is(disk, "device", "cdrom") &&
	       !is(disk, "device", "floppy") && child(disk, "source");
}

/* The layer that a <disk> or a <backingStore> describes; its format stands in other places. */
static json_t *layer(xmlNodePtr node)
{
	xmlNodePtr format = child(node, "driver") ? child(node, "driver") : child(node, "format");
	json_auto_t *kind = attribute(format, "type");

	return json_pack("{s:o, s:s}", "path", attribute(child(node, "source"), "file"), "format",
			 *json_string_value(kind) ? json_string_value(kind) : "raw");
}

static json_t *layers_of(xmlNodePtr disk)
{
	json_t *list = json_array();

	for (xmlNodePtr at = disk; child(at, "source"); at = child(at, "backingStore"))
		json_array_append_new(list, layer(at));
	return list;
}

int vckpt_disks_parse(const char *xml, json_t **out, struct vckpt_error *err)
{
	json_auto_t *disks = json_array();
	auto_doc doc = NULL;

	if (parse(xml, &doc, err) < 0)
		return -1;
	for (xmlNodePtr d = first_disk(doc); d; d = next_disk(d)) {
		json_t *layers, *top;

		if (!is_written(d))
			continue;
		layers = layers_of(d);
		top = json_array_get(layers, 0);
		json_array_append_new(disks,
				      json_pack("{s:o, s:O, s:O, s:o}", "target",
						attribute(child(d, "target"), "dev"), "source",
						json_object_get(top, "path"), "format",
						json_object_get(top, "format"), "layers", layers));
	}
	*out = vckpt_steal_ptr(&disks);
	return 0;
}

static void drop(xmlNodePtr node)
{
	if (!node)
		return;
	xmlUnlinkNode(node);
	xmlFreeNode(node);
}

static void put_one(xmlNodePtr disk, const char *overlay)
{
	xmlNodePtr source = child(disk, "source"), driver = child(disk, "driver");

	if (!driver) {
		driver = xmlNewNode(NULL, BAD_CAST "driver");
		xmlSetProp(driver, BAD_CAST "name", BAD_CAST "qemu");
		xmlAddPrevSibling(disk->children, driver);
	}
	xmlSetProp(driver, BAD_CAST "type", BAD_CAST "qcow2");
	xmlSetProp(source, BAD_CAST "file", BAD_CAST overlay);
	/* A number of a running QEMU's. */
	xmlUnsetProp(source, BAD_CAST "index");
	drop(child(disk, "backingStore"));
	drop(child(disk, "mirror"));
}

static xmlNodePtr disk_named(xmlDocPtr doc, const char *target)
{
	for (xmlNodePtr d = first_disk(doc); d; d = next_disk(d))
		if (is(child(d, "target"), "dev", target) && child(d, "source"))
			return d;
	return NULL;
}

/* The text of a tree, the caller's to free; NULL without memory. */
static char *text_of(xmlDocPtr doc)
{
	xmlBufferPtr buf = xmlBufferCreate();
	char *text = NULL;

	if (buf && xmlNodeDump(buf, doc, xmlDocGetRootElement(doc), 0, 0) >= 0)
		text = strdup((const char *)xmlBufferContent(buf));
	xmlBufferFree(buf);
	return text;
}

int vckpt_disks_put(const char *xml, const json_t *disks, char **out, struct vckpt_error *err)
{
	auto_doc doc = NULL;
	json_t *one;
	size_t i;

	if (parse(xml, &doc, err) < 0)
		return -1;
	json_array_foreach (disks, i, one) {
		const char *target = json_string_value(json_object_get(one, "target"));
		const char *overlay = json_string_value(json_object_get(one, "overlay"));
		xmlNodePtr d = target ? disk_named(doc, target) : NULL;

		if (!d || !overlay)
			return vckpt_fail(err, VCKPT_ENOTFOUND,
					  "the definition has no disk %s any more: put it back",
					  target ? target : "");
		put_one(d, overlay);
	}
	*out = text_of(doc);
	return *out ? 0 : vckpt_fail(err, VCKPT_EFAIL, "no memory for a domain definition");
}

static const char *overlay_of(const json_t *disks, const char *target)
{
	json_t *one;
	size_t i;

	json_array_foreach (disks, i, one)
		if (strcmp(json_string_value(json_object_get(one, "target")), target) == 0)
			return json_string_value(json_object_get(one, "overlay"));
	return NULL;
}

int vckpt_snapshot_xml(const char *domain_xml, const json_t *disks, char **out,
		       struct vckpt_error *err)
{
	auto_doc doc = NULL, snap = xmlNewDoc(BAD_CAST "1.0");
	xmlNodePtr root = xmlNewNode(NULL, BAD_CAST "domainsnapshot"), list;

	xmlDocSetRootElement(snap, root);
	list = xmlNewChild(root, NULL, BAD_CAST "disks", NULL);
	if (parse(domain_xml, &doc, err) < 0)
		return -1;
	for (xmlNodePtr d = first_disk(doc); d; d = next_disk(d)) {
		json_auto_t *target = attribute(child(d, "target"), "dev");
		const char *overlay = overlay_of(disks, json_string_value(target));
		xmlNodePtr one = xmlNewChild(list, NULL, BAD_CAST "disk", NULL), part;

		xmlSetProp(one, BAD_CAST "name", BAD_CAST json_string_value(target));
		xmlSetProp(one, BAD_CAST "snapshot", BAD_CAST(overlay ? "external" : "no"));
		if (!overlay)
			continue;
		part = xmlNewChild(one, NULL, BAD_CAST "driver", NULL);
		xmlSetProp(part, BAD_CAST "type", BAD_CAST "qcow2");
		part = xmlNewChild(one, NULL, BAD_CAST "source", NULL);
		xmlSetProp(part, BAD_CAST "file", BAD_CAST overlay);
	}
	*out = text_of(snap);
	return *out ? 0 : vckpt_fail(err, VCKPT_EFAIL, "no memory for a snapshot's definition");
}

int vckpt_xml_files(const char *domain_xml, json_t *paths, struct vckpt_error *err)
{
	auto_doc doc = NULL;

	if (parse(domain_xml, &doc, err) < 0)
		return -1;
	for (xmlNodePtr d = first_disk(doc); d; d = next_disk(d))
		for (xmlNodePtr at = d; child(at, "source"); at = child(at, "backingStore"))
			json_array_append_new(paths, attribute(child(at, "source"), "file"));
	return 0;
}
