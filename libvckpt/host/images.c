#include "host/images.h"

#include <jansson.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "hv/disks.h"
#include "hv/survey.h"
#include "store/import.h"

const struct vckpt_export_disks vckpt_images_disks = {
	.flatten = vckpt_disk_flatten,
	.overlay = vckpt_overlay_beside,
	.put = vckpt_disks_put,
};

int vckpt_images_look(const char *path, char name[256], uint32_t *disks, struct vckpt_error *err)
{
	json_auto_t *survey = NULL, *list = NULL;
	vckpt_autofree char *xml = NULL;
	const char *is;

	if (vckpt_import_xml(path, &xml, err) < 0)
		return -1;
	if (vckpt_survey_parse(xml, &survey, err) < 0 || vckpt_disks_parse(xml, &list, err) < 0)
		return vckpt_error_prefix(err, "%s", path);
	is = json_string_value(json_object_get(survey, "name"));
	if (snprintf(name, 256, "%s", is ? is : "") >= 256)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s: the name of its domain is too long",
				  path);
	*disks = (uint32_t)json_array_size(list);
	return 0;
}
