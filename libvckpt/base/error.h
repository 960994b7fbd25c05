/*
 * base/error.h: what went wrong, in words a person can act on.
 *
 * Convention for the whole of vckpt: a function that can fail returns 0 or -1 (or a pointer or
 * NULL) and takes `struct vckpt_error *err` last.  Who detects the failure writes the sentence: it
 * names the object (guest, host, rank, epoch, path) and the way out.  Callers may prepend context
 * with vckpt_error_prefix(); nobody logs an error that he also returns.  Success leaves *err alone.
 * Nothing on this path allocates.  `err` may be NULL where the caller does not care.
 */
#ifndef VCKPT_BASE_ERROR_H
#define VCKPT_BASE_ERROR_H

#include <stdarg.h>

/* The numbers travel between hosts and are the exit codes of the tools: never reuse one. */
enum vckpt_code {
	VCKPT_OK = 0,
	VCKPT_EFAIL = 1,     /* anything that has no code of its own */
	VCKPT_EUSAGE = 2,    /* the call or the command line is wrong */
	VCKPT_ENOTFOUND = 3, /* no such cluster, domain, epoch, store, guest */
	VCKPT_EBUSY = 4,     /* somebody else is at it; says who */
	VCKPT_ETIME = 5,     /* a deadline passed */
	VCKPT_EDAMAGED = 6,  /* stored or received bytes are not what was written */
	VCKPT_EREFUSED = 7,  /* it could be done but not safely; says what would make it safe */
	VCKPT_EVIRT = 8,     /* libvirt or QEMU said no */
	VCKPT_ESYSTEM = 9,   /* the operating system said no; `sys` holds errno */
	VCKPT_EPEER = 10,    /* the other side of a connection broke the protocol or went away */
	VCKPT_ENOTNOW = 11,  /* the program asked not to be checkpointed at the moment */
	VCKPT_ECANCELED = 12 /* stopped on request */
};

struct vckpt_error {
	enum vckpt_code code;
	int sys; /* errno, or 0 */
	char text[480];
};

#define VCKPT_ERROR_NONE                                                                           \
	{                                                                                          \
		VCKPT_OK, 0, ""                                                                    \
	}

/* Sets *err and returns -1, so that `return vckpt_fail(err, ...)` reads well. */
int vckpt_fail(struct vckpt_error *err, enum vckpt_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int vckpt_vfail(struct vckpt_error *err, enum vckpt_code code, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

/* As vckpt_fail() with VCKPT_ESYSTEM; appends ": strerror(errno)" and keeps errno in err->sys. */
int vckpt_fail_errno(struct vckpt_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Puts "context: " before the text.  Returns -1. */
int vckpt_error_prefix(struct vckpt_error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* One lower-case word for a code ("refused"), for logs and JSON.  Never NULL. */
const char *vckpt_code_name(enum vckpt_code code);

#endif
