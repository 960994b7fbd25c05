#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int vckpt_vfail(struct vckpt_error *err, enum vckpt_code code, const char *fmt, va_list ap)
{
	if (!err)
		return -1;
	err->code = code;
	err->sys = 0;
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	return -1;
}

int vckpt_fail(struct vckpt_error *err, enum vckpt_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vckpt_vfail(err, code, fmt, ap);
	va_end(ap);
	return -1;
}

int vckpt_fail_errno(struct vckpt_error *err, const char *fmt, ...)
{
	int sys = errno;
	size_t used;
	va_list ap;

	if (!err)
		return -1;
	va_start(ap, fmt);
	vckpt_vfail(err, VCKPT_ESYSTEM, fmt, ap);
	va_end(ap);
	err->sys = sys;
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(sys));
	errno = sys;
	return -1;
}

int vckpt_error_prefix(struct vckpt_error *err, const char *fmt, ...)
{
	char rest[sizeof(err->text)];
	size_t used;
	va_list ap;

	if (!err)
		return -1;
	memcpy(rest, err->text, sizeof(rest));
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	used = strlen(err->text);
	snprintf(err->text + used, sizeof(err->text) - used, ": %s", rest);
	return -1;
}

const char *vckpt_code_name(enum vckpt_code code)
{
	static const char *const names[] = {
		[VCKPT_OK] = "ok",
		[VCKPT_EFAIL] = "failed",
		[VCKPT_EUSAGE] = "usage",
		[VCKPT_ENOTFOUND] = "not-found",
		[VCKPT_EBUSY] = "busy",
		[VCKPT_ETIME] = "timeout",
		[VCKPT_EDAMAGED] = "damaged",
		[VCKPT_EREFUSED] = "refused",
		[VCKPT_EVIRT] = "hypervisor",
		[VCKPT_ESYSTEM] = "system",
		[VCKPT_EPEER] = "peer",
		[VCKPT_ENOTNOW] = "not-now",
		[VCKPT_ECANCELED] = "canceled",
	};

	if ((unsigned)code >= sizeof(names) / sizeof(names[0]))
		return "unknown";
	return names[code];
}
