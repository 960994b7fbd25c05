/*
 * hv/layers_xml.h: disks in a domain's definition, beside what hv/disks.h has.  Pure and
 * thread-safe.
 */
#ifndef VCKPT_HV_LAYERS_XML_H
#define VCKPT_HV_LAYERS_XML_H

#include <jansson.h>

#include "base/error.h"

/* In the name of each file that vckpt makes as a layer. */
#define VCKPT_LAYER_MARK ".vckpt-"

/* A <domainsnapshot> that cuts `disks` to their overlays and leaves all others of the definition
 * alone.  *out is the caller's to free. */
int vckpt_snapshot_xml(const char *domain_xml, const json_t *disks, char **out,
		       struct vckpt_error *err);

/* Adds each file that is named as a disk, or below one, to the array `paths`. */
int vckpt_xml_files(const char *domain_xml, json_t *paths, struct vckpt_error *err);

#endif
