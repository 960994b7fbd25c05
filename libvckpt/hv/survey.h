/*
 * hv/survey.h: what a domain is made of, read from its definition.  Pure and thread-safe.
 */
#ifndef VCKPT_HV_SURVEY_H
#define VCKPT_HV_SURVEY_H

#include <jansson.h>

#include "base/error.h"

/*
 * Reads a domain definition (live or not) into
 *   {name, uuid, type, memory_kib, vcpus, machine, emulator, cpu,
 *    channel: null | {path: null | text, state: null | text},
 *    nics: [{mac, type, source, target, model}],
 *    disks: [{target, device, type, source, format, readonly}],
 *    problems, outside: [{id, level, object, text, cure}]}
 * with null for what the definition does not say.  `problems` is what no engine can carry into a
 * checkpoint, `outside` what a checkpoint can do without (docs/outside.md).  *survey is a new reference.  VCKPT_EDAMAGED: not a domain definition.
 */
int vckpt_survey_parse(const char *xml, json_t **survey, struct vckpt_error *err);

/* Refuses (VCKPT_EREFUSED) with the first problem of a survey, if there is one. */
int vckpt_survey_refuse(const json_t *survey, struct vckpt_error *err);

#endif
