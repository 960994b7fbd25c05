/* What a session tells: events for its owner, lines for the log. */
#include "host/local/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/io.h"

struct vckpt_event_item {
	struct vckpt_event_item *next;
	struct vckpt_host_event ev;
};

void vckpt_session_log(struct vckpt_guest *g, enum vckpt_level level, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	vckpt_log(g->s->local->log, level, "host", "cluster %s, epoch %llu, guest %s: %s",
		  g->s->cluster, (unsigned long long)g->epoch, g->name, text);
}

void vckpt_session_emit(struct vckpt_session *s, struct vckpt_host_event *ev)
{
	struct vckpt_event_item *it = malloc(sizeof(*it));

	if (!it) {
		/* The owner's deadline notices what we cannot tell. */
		vckpt_log(s->local->log, VCKPT_ERROR, "host", "no memory for an event of guest %s",
			  ev->guest);
		vckpt_message_free(&vckpt_host_event_type, ev);
		return;
	}
	it->next = NULL;
	it->ev = *ev;
	memset(ev, 0, sizeof(*ev));
	pthread_mutex_lock(&s->lock);
	*s->last = it;
	s->last = &it->next;
	pthread_mutex_unlock(&s->lock);
	vckpt_event_set(s->ready);
}

int vckpt_session_dispatch(struct vckpt_host *h, vckpt_host_event_cb *cb, void *arg,
			   struct vckpt_error *err)
{
	struct vckpt_session *s = (struct vckpt_session *)h;
	struct vckpt_event_item *list;

	(void)err;
	vckpt_event_clear(s->ready);
	pthread_mutex_lock(&s->lock);
	list = s->first;
	s->first = NULL;
	s->last = &s->first;
	pthread_mutex_unlock(&s->lock);
	while (list) {
		struct vckpt_event_item *it = list;

		list = it->next;
		cb(arg, h, &it->ev);
		vckpt_message_free(&vckpt_host_event_type, &it->ev);
		free(it);
	}
	return 0;
}

int vckpt_session_ready(struct vckpt_host *h)
{
	return ((struct vckpt_session *)h)->ready;
}

void vckpt_events_drop(struct vckpt_session *s)
{
	while (s->first) {
		struct vckpt_event_item *it = s->first;

		s->first = it->next;
		vckpt_message_free(&vckpt_host_event_type, &it->ev);
		free(it);
	}
}
