/*
 * fuzz-xml: definitions of domains, as libvirt tells them or an epoch has kept them, and QEMU's
 * answers.  What is made of a definition must be a definition.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hv/disks.h"
#include "hv/layers_xml.h"
#include "hv/qmp.h"
#include "hv/survey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each disk on another file, as for a restart. */
static json_t *moved(const json_t *disks)
{
	json_t *list = json_array(), *one;
	size_t i;

	json_array_foreach (disks, i, one) {
		json_t *copy = json_copy(one);

		json_object_set_new(copy, "overlay", json_string("/images/a.qcow2.vckpt-1"));
		json_array_append_new(list, copy);
	}
	return list;
}

static void on_disks(const char *xml)
{
	json_t *disks = NULL, *files = json_array(), *other = NULL;
	char *out = NULL, *snapshot = NULL;

	vckpt_xml_files(xml, files, NULL);
	if (vckpt_disks_parse(xml, &disks, NULL) == 0) {
		json_t *on = moved(disks);

		if (vckpt_disks_put(xml, on, &out, NULL) == 0 && out) {
			if (vckpt_survey_parse(out, &other, NULL) < 0)
				abort();
			json_decref(other);
		}
		vckpt_snapshot_xml(xml, on, &snapshot, NULL);
		json_decref(on);
	}
	json_decref(disks);
	json_decref(files);
	free(out);
	free(snapshot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;
	struct vckpt_migration m;
	json_t *survey, *ret;
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	if (vckpt_survey_parse(text, &survey, &err) == 0) {
		if (vckpt_survey_refuse(survey, &err) < 0 && !err.text[0])
			abort(); /* a refusal without a sentence */
		json_decref(survey);
		on_disks(text);
	}
	if (vckpt_qmp_parse(text, "query-migrate", &ret, NULL) == 0) {
		vckpt_qmp_migration(ret, &m);
		json_decref(ret);
	}
	free(text);
	return 0;
}
