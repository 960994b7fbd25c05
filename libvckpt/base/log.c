#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = {"error", "warning", "info", "debug"};

int vckpt_level_parse(const char *name, enum vckpt_level *level, struct vckpt_error *err)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		*level = (enum vckpt_level)i;
		return 0;
	}
	return vckpt_fail(err, VCKPT_EUSAGE,
			  "log level \"%s\" is none of error, warning, info, debug", name);
}

void vckpt_log(const struct vckpt_log *log, enum vckpt_level level, const char *where,
	       const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (!log || !log->sink || level > log->level)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log->sink(log->arg, level, where, text);
}

void vckpt_log_stderr(void *arg, enum vckpt_level level, const char *where, const char *text)
{
	char line[1200];
	struct timespec ts;
	struct tm tm;
	int n;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &ts);
	localtime_r(&ts.tv_sec, &tm);
	n = snprintf(line, sizeof(line), "%02d:%02d:%02d.%03ld %s %s: %s\n", tm.tm_hour, tm.tm_min,
		     tm.tm_sec, ts.tv_nsec / 1000000, names[level], where, text);
	if (n >= (int)sizeof(line)) {
		n = sizeof(line);
		line[n - 1] = '\n';
	}
	/* A log line that cannot be written has nowhere else to go. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}
