#include "store/layer_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "store/digest.h"

#define MARK VCKPT_LAYER_NAME_MARK

void vckpt_layer_key(const struct vckpt_store *store, const char *cluster, const char *guest,
		     char key[9])
{
	const char *uuid = vckpt_store_uuid(store);
	char who[2 * VCKPT_NAME_SIZE + 1], hex[VCKPT_DIGEST_TEXT];
	struct vckpt_digest d;

	snprintf(who, sizeof(who), "%s/%s", cluster, guest);
	vckpt_digest_of(&d, uuid, strlen(uuid), who, strlen(who));
	vckpt_digest_text(&d, hex);
	memcpy(key, hex, 8);
	key[8] = '\0';
}

int vckpt_layer_stem(const char *path)
{
	const char *base = strrchr(path, '/');
	const char *mark = base ? strstr(base, MARK) : NULL;

	return (int)(mark ? (size_t)(mark - path) : strlen(path));
}

int vckpt_layer_name(const char *source, const char key[9], uint64_t epoch, char path[PATH_MAX],
		     struct vckpt_error *err)
{
	uint32_t salt;

	if (source[0] == '/' && !strchr(source, '\n') &&
	    getrandom(&salt, sizeof(salt), 0) == sizeof(salt) &&
	    snprintf(path, PATH_MAX, "%.*s" MARK "%s-%06" PRIu64 "-%08x", vckpt_layer_stem(source),
		     source, key, epoch, salt) < PATH_MAX &&
	    strlen(strrchr(path, '/') + 1) <= NAME_MAX)
		return 0;
	return vckpt_fail(err, VCKPT_EREFUSED,
			  "no name for a layer beside %s: give the file a shorter one", source);
}
