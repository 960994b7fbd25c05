#include "host/tree/alarm.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

int vckpt_alarm_open(struct vckpt_alarm *a)
{
	a->at = UINT64_MAX;
	a->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return a->fd < 0 ? -1 : 0;
}

void vckpt_alarm_set(struct vckpt_alarm *a, uint64_t at)
{
	struct itimerspec when = {0};

	if (a->at == at)
		return;
	a->at = at;
	/* All zero would mean never. */
	if (at != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(at / VCKPT_S);
		when.it_value.tv_nsec = (long)(at % VCKPT_S) + (at == 0);
	}
	timerfd_settime(a->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void vckpt_alarm_hear(struct vckpt_alarm *a)
{
	uint64_t n;

	if (a->at <= vckpt_now() && read(a->fd, &n, sizeof(n)) > 0)
		a->at = UINT64_MAX;
}

void vckpt_alarm_close(struct vckpt_alarm *a)
{
	vckpt_close_fd(&a->fd);
}
