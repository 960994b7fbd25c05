/*
 * seeds DIR: a message of each type and version, as its sender encodes it, and a frame around it,
 * each into a file in DIR, behind the byte that tests/fuzz/fuzz-wire.c has first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/agent_msg.h"
#include "wire/client_msg.h"
#include "wire/frame.h"
#include "wire/host_msg.h"

static const struct vckpt_type *const types[] = {
	&vckpt_agent_hello_type,    &vckpt_agent_welcome_type,   &vckpt_agent_ask_type,
	&vckpt_agent_reply_type,    &vckpt_agent_hold_type,      &vckpt_agent_quiet_type,
	&vckpt_agent_released_type, &vckpt_agent_restored_type,  &vckpt_agent_findings_type,
	&vckpt_client_attach_type,  &vckpt_client_attached_type, &vckpt_client_say_type,
	&vckpt_client_answer_type,  &vckpt_client_event_type,    &vckpt_agent_listen_type,
	&vckpt_agent_news_type,     &vckpt_host_hello_type,      &vckpt_host_welcome_type,
	&vckpt_host_request_type,   &vckpt_host_event_type,      &vckpt_host_ping_type,
};

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
