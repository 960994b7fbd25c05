/*
 * seeds DIR: a message of each type and version, as its sender encodes it, and a frame around it,
 * each into a file in DIR, behind the byte that tests/fuzz/fuzz-wire.c has first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/wire-types.h"
#include "wire/frame.h"

static int put(const char *dir, const char *name, unsigned version, const char *what,
	       const struct vckpt_buf *b)
{
	char path[4096];
	FILE *to;
	int rc;

	snprintf(path, sizeof(path), "%s/%s-%u-%s", dir, name, version, what);
	to = fopen(path, "we");
	if (!to)
		return -1;
	fputc(1, to);
	rc = fwrite(b->data, 1, b->len, to) == b->len ? 0 : -1;
	return fclose(to) || rc ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct vckpt_error err = VCKPT_ERROR_NONE;

	for (size_t i = 0; argc == 2 && i < sizeof(types) / sizeof(types[0]); i++)
		for (unsigned v = 1; v <= VCKPT_HOST_HIGHEST; v++) {
			struct vckpt_buf body = VCKPT_BUF_EMPTY, frame = VCKPT_BUF_EMPTY;
			void *msg = calloc(1, types[i]->size);

			if (!msg || vckpt_encode(types[i], msg, v, &body, &err) < 0 ||
			    vckpt_frame_put(&frame, (uint16_t)(i % 16 + 1), (uint16_t)v, 7,
					    types[i], msg, &err) < 0 ||
			    put(argv[1], types[i]->name, v, "message", &body) < 0 ||
			    put(argv[1], types[i]->name, v, "frame", &frame) < 0) {
				fprintf(stderr, "seeds: %s: %s\n", types[i]->name, err.text);
				return 1;
			}
			vckpt_buf_free(&body);
			vckpt_buf_free(&frame);
			free(msg);
		}
	return argc == 2 ? 0 : 2;
}
