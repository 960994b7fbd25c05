/* base/json.h: what everybody asks of a JSON object. */
#ifndef VCKPT_BASE_JSON_H
#define VCKPT_BASE_JSON_H

#include <jansson.h>

/* The text of a member, "" if there is none: never NULL.  It lives as long as the member. */
static inline const char *vckpt_json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

#endif
