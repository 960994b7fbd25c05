#include "stream/saveimage.h"

#include <byteswap.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 2

enum { AT_VERSION = 16, AT_DATA_LEN = 20, AT_RUNNING = 24, AT_COMPRESSED = 28, AT_COOKIE = 32 };

int vckpt_saveimage_encode(const char *xml, const char *cookie, bool was_running, size_t align,
			   void **image, size_t *len, struct vckpt_error *err)
{
	size_t xml_len = strlen(xml) + 1, cookie_len = cookie ? strlen(cookie) + 1 : 0, total;
	uint32_t word;
	char *out;

	if (!align)
		align = 1;
	if (xml_len == 1 || xml_len > VCKPT_SAVEIMAGE_MAX_DATA ||
	    cookie_len > VCKPT_SAVEIMAGE_MAX_DATA - xml_len || align > VCKPT_SAVEIMAGE_MAX_DATA)
		return vckpt_fail(
			err, VCKPT_EUSAGE,
			"save image: a domain definition of %zu and a cookie of %zu bytes",
			xml_len - 1, cookie_len);
	total = VCKPT_SAVEIMAGE_HEADER + xml_len + cookie_len;
	total = (total + align - 1) / align * align;
	if (total - VCKPT_SAVEIMAGE_HEADER > VCKPT_SAVEIMAGE_MAX_DATA)
		return vckpt_fail(err, VCKPT_EUSAGE, "save image: its data would be %zu bytes",
				  total - VCKPT_SAVEIMAGE_HEADER);
	out = calloc(1, total);
	if (!out)
		return vckpt_fail_errno(err, "save image header of %zu bytes", total);
	memcpy(out, "LibvirtQemudSave", 16);
	word = VERSION;
	memcpy(out + AT_VERSION, &word, 4);
	word = total - VCKPT_SAVEIMAGE_HEADER;
	memcpy(out + AT_DATA_LEN, &word, 4);
	word = was_running;
	memcpy(out + AT_RUNNING, &word, 4);
	word = cookie ? xml_len : 0;
	memcpy(out + AT_COOKIE, &word, 4);
	memcpy(out + VCKPT_SAVEIMAGE_HEADER, xml, xml_len);
	if (cookie)
		memcpy(out + VCKPT_SAVEIMAGE_HEADER + xml_len, cookie, cookie_len);
	*image = out;
	*len = total;
	return 0;
}

int vckpt_saveimage_decode_header(const void *header, struct vckpt_saveimage *image,
				  struct vckpt_error *err)
{
	const char *h = header;
	uint32_t version, data_len, running, compressed, cookie;

	if (!memcmp(h, "LibvirtQemudPart", 16))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "save image: its writing never ended, it cannot be restored");
	if (memcmp(h, "LibvirtQemudSave", 16))
		return vckpt_fail(err, VCKPT_EDAMAGED, "not a save image of libvirt's QEMU driver");
	memcpy(&version, h + AT_VERSION, 4);
	memcpy(&data_len, h + AT_DATA_LEN, 4);
	memcpy(&running, h + AT_RUNNING, 4);
	memcpy(&compressed, h + AT_COMPRESSED, 4);
	memcpy(&cookie, h + AT_COOKIE, 4);
	if (version > VERSION && bswap_32(version) <= VERSION) {
		version = bswap_32(version);
		data_len = bswap_32(data_len);
		running = bswap_32(running);
		compressed = bswap_32(compressed);
		cookie = bswap_32(cookie);
	}
	if (version != VERSION)
		return vckpt_fail(err, VCKPT_EREFUSED, "save image: version %u, only %u is known",
				  version, VERSION);
	if (compressed)
		return vckpt_fail(err, VCKPT_EREFUSED,
				  "save image: compressed (method %u); save it again with "
				  "save_image_format = \"raw\"",
				  compressed);
	if (data_len < 2 || data_len > VCKPT_SAVEIMAGE_MAX_DATA || cookie >= data_len)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "save image: a definition of %u bytes, its cookie at %u",
				  data_len, cookie);
	image->data_len = data_len;
	image->was_running = running != 0;
	image->cookie_offset = cookie;
	return 0;
}

int vckpt_saveimage_decode_data(const struct vckpt_saveimage *image, const void *data,
				const char **xml, const char **cookie, struct vckpt_error *err)
{
	size_t xml_room = image->cookie_offset ? image->cookie_offset : image->data_len;
	const char *text = data;

	if (!*text || !memchr(text, 0, xml_room))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "save image: its domain definition is not a whole text");
	if (image->cookie_offset && !memchr(text + xml_room, 0, image->data_len - xml_room))
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "save image: its cookie is not a whole text");
	*xml = text;
	*cookie = image->cookie_offset ? text + xml_room : NULL;
	return 0;
}
