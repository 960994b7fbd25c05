#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/catalogue.h"
#include "store/crypt.h"
#include "store/layer.h"
#include "store/layout.h"
#include "store/seal.h"

void vckpt_receipt_clear(struct vckpt_receipt *r)
{
	vckpt_store_free_names(r->needs, r->n_needs);
	json_decref(r->disks);
	memset(r, 0, sizeof(*r));
}

static json_t *file_json(const struct vckpt_store_file *f)
{
	char hex[VCKPT_DIGEST_TEXT];

	vckpt_digest_text(&f->digest, hex);
	return json_pack("{s:I,s:s}", "bytes", (json_int_t)f->bytes, "xxh3_128", hex);
}

json_t *vckpt_receipt_to_json(const struct vckpt_receipt *r, struct vckpt_error *err)
{
	json_auto_t *needs = json_array();
	json_t *j, *pages;

	for (size_t i = 0; i < r->n_needs; i++)
		json_array_append_new(needs, json_string(r->needs[i]));
	j = json_pack(
		"{s:s, s:{s:o,s:o,s:o,s:o}, s:I, s:{s:I,s:I,s:I,s:I}, s:I, s:I, s:O, s:O*, s:s*}",
		"guest", r->guest, "files", "map", file_json(&r->map), "device",
		file_json(&r->device), "xml", file_json(&r->xml), "pack", file_json(&r->pack),
		"ram_bytes", (json_int_t)r->ram_bytes, "pages", "stored",
		(json_int_t)r->pages_stored, "zero", (json_int_t)r->pages_zero, "inherited",
		(json_int_t)r->pages_inherited, "absent", (json_int_t)r->pages_absent, "bytes_in",
		(json_int_t)r->bytes_in, "bytes_out", (json_int_t)r->bytes_out, "needs", needs,
		"disks", r->disks, "key", r->key[0] ? r->key : NULL);
	if (j && r->pages.bytes) { /* all three or none of them */
		pages = json_object_get(j, "pages");
		if (json_object_set_new(json_object_get(j, "files"), "pages",
					file_json(&r->pages)) < 0 ||
		    json_object_set_new(pages, "shared",
					json_integer((json_int_t)r->pages_shared)) < 0 ||
		    json_object_set_new(pages, "written",
					json_integer((json_int_t)r->pages_written)) < 0) {
			json_decref(j);
			j = NULL;
		}
	}
	if (j && r->pages_words &&
	    json_object_set_new(json_object_get(j, "pages"), "transposed",
				json_integer((json_int_t)r->pages_words)) < 0) {
		json_decref(j);
		j = NULL;
	}
	if (!j)
		vckpt_fail(err, VCKPT_EFAIL, "cannot put the receipt of guest %s into JSON",
			   r->guest);
	return j;
}

static int get_file(json_t *j, struct vckpt_store_file *f)
{
	json_int_t bytes;
	const char *hex;

	if (json_unpack_ex(j, NULL, JSON_STRICT, "{s:I,s:s}", "bytes", &bytes, "xxh3_128", &hex) <
		    0 ||
	    bytes < 0 || strlen(hex) != VCKPT_DIGEST_TEXT - 1 ||
	    vckpt_digest_parse(hex, &f->digest) < 0)
		return -1;
	f->bytes = (uint64_t)bytes;
	return 0;
}

static int get_needs(json_t *needs, struct vckpt_receipt *r)
{
	size_t n = json_array_size(needs);

	if (!json_is_array(needs))
		return -1;
	r->needs = calloc(n + 1, sizeof(*r->needs));
	if (!r->needs)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(needs, i));

		if (!name || !vckpt_pack_epoch(name))
			return -1;
		r->needs[i] = strdup(name);
		if (!r->needs[i])
			return -1;
		r->n_needs++;
	}
	return 0;
}

static int fill(json_t *j, struct vckpt_receipt *r, json_error_t *why)
{
	json_t *map, *device, *xml, *pack, *needs, *disks = NULL, *pages = NULL;
	json_int_t v[7], shared = -1, written = -1, words = 0;
	const char *guest, *key = "";

	if (json_unpack_ex(j, why, JSON_STRICT,
			   "{s:s, s:{s:o,s:o,s:o,s:o,s?o!}, s:I, s:{s:I,s:I,s:I,s:I,s?I,s?I,s?I!}, "
			   "s:I, s:I, s:o, s?o, s?s}",
			   "guest", &guest, "files", "map", &map, "device", &device, "xml", &xml,
			   "pack", &pack, "pages", &pages, "ram_bytes", &v[0], "pages", "stored",
			   &v[1], "zero", &v[2], "inherited", &v[3], "absent", &v[4], "shared",
			   &shared, "written", &written, "transposed", &words, "bytes_in", &v[5],
			   "bytes_out", &v[6], "needs", &needs, "disks", &disks, "key", &key) < 0)
		return -1;
	snprintf(why->text, sizeof(why->text), "impossible value");
	if (vckpt_store_check_name("guest", guest, NULL) < 0 || get_file(map, &r->map) < 0 ||
	    get_file(device, &r->device) < 0 || get_file(xml, &r->xml) < 0 ||
	    get_file(pack, &r->pack) < 0 || get_needs(needs, r) < 0 ||
	    (disks && vckpt_layers_check(disks) < 0) || (*key && !vckpt_key_id_valid(key)))
		return -1;
	if (pages ? get_file(pages, &r->pages) < 0 || !r->pages.bytes || shared < 0 || written < 0
		  : shared != -1 || written != -1)
		return -1;
	for (int i = 0; i < 7; i++)
		if (v[i] < 0)
			return -1;
	if (words < 0 || (json_object_get(json_object_get(j, "pages"), "transposed") && !words))
		return -1;
	r->pages_words = (uint64_t)words;
	if (pages) {
		r->pages_shared = (uint64_t)shared;
		r->pages_written = (uint64_t)written;
	}
	snprintf(r->guest, sizeof(r->guest), "%s", guest);
	snprintf(r->key, sizeof(r->key), "%s", key);
	r->disks = json_incref(disks);
	r->ram_bytes = (uint64_t)v[0];
	r->pages_stored = (uint64_t)v[1];
	r->pages_zero = (uint64_t)v[2];
	r->pages_inherited = (uint64_t)v[3];
	r->pages_absent = (uint64_t)v[4];
	r->bytes_in = (uint64_t)v[5];
	r->bytes_out = (uint64_t)v[6];
	return 0;
}

int vckpt_receipt_from_json(json_t *j, struct vckpt_receipt *r, struct vckpt_error *err)
{
	json_error_t why = {0};

	memset(r, 0, sizeof(*r));
	if (fill(j, r, &why) == 0)
		return 0;
	vckpt_receipt_clear(r);
	return vckpt_fail(err, VCKPT_EDAMAGED, "this is not the receipt of a capture: %s",
			  why.text);
}
