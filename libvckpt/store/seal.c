#include "store/seal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/io.h"
#include "store/guard.h"
#include "store/digest.h"

#define SUFFIX "}\n"

/* The kind is hashed with the body, so that one sort of file cannot stand in for another. */
static void seal_digest(struct vckpt_digest *d, const char *kind, unsigned format, const char *body,
			size_t len)
{
	char head[64];
	int n = snprintf(head, sizeof(head), "%s %u\n", kind, format);

	vckpt_digest_of(d, head, (size_t)n, body, len);
}

static char *seal_as(const char *kind, unsigned format, const char *body, size_t body_len,
		     size_t *len)
{
	char hex[VCKPT_DIGEST_TEXT];
	char head[160];
	struct vckpt_digest d;
	char *text;
	int n;

	seal_digest(&d, kind, format, body, body_len);
	vckpt_digest_text(&d, hex);
	n = snprintf(head, sizeof(head),
		     "{\"vckpt\":\"%s\",\"format\":%u,\"digest\":\"%s\",\"body\":", kind, format,
		     hex);
	*len = (size_t)n + body_len + strlen(SUFFIX);
	text = malloc(*len + 1);
	if (!text)
		return NULL;
	memcpy(text, head, (size_t)n);
	memcpy(text + n, body, body_len);
	memcpy(text + n + body_len, SUFFIX, sizeof(SUFFIX));
	return text;
}

char *vckpt_seal(const char *kind, const char *body, size_t body_len, size_t *len)
{
	return seal_as(kind, VCKPT_SEAL_FORMAT, body, body_len, len);
}

static unsigned highest(const char *kind)
{
	if (strcmp(kind, "places") == 0)
		return VCKPT_SEAL_MARKED;
	return strcmp(kind, "epoch") == 0 ? VCKPT_SEAL_WORDS : VCKPT_SEAL_FORMAT;
}

/* Steps over `word`, or goes bad. */
static const char *expect(const char *p, const char *end, const char *word)
{
	size_t n = strlen(word);

	if (!p || (size_t)(end - p) < n || memcmp(p, word, n) != 0)
		return NULL;
	return p + n;
}

static const char *read_format(const char *p, const char *end, unsigned long *format)
{
	const char *from = p;

	*format = 0;
	while (p && p < end && *p >= '0' && *p <= '9' && p - from < 9)
		*format = *format * 10 + (unsigned long)(*p++ - '0');
	if (!p || p == from || *from == '0')
		return NULL;
	return p;
}

int vckpt_unseal(const char *kind, const char *text, size_t len, const char **body,
		 size_t *body_len, const char *path, struct vckpt_error *err)
{
	const char *end = text + len;
	struct vckpt_digest said, is;
	unsigned long format;
	const char *p;

	p = expect(text, end, "{\"vckpt\":\"");
	p = expect(p, end, kind);
	p = expect(p, end, "\",\"format\":");
	p = read_format(p, end, &format);
	if (!p)
		return vckpt_fail(err, VCKPT_EDAMAGED,
				  "%s is damaged: it does not begin as a %s file does", path, kind);
	if (format > highest(kind))
		return vckpt_fail(
			err, VCKPT_EREFUSED,
			"%s has format %lu and this vckpt reads formats up to %u: use the "
			"newer vckpt that wrote it",
			path, format, highest(kind));
	p = expect(p, end, ",\"digest\":\"");
	if (!p || end - p < 32 || vckpt_digest_parse(p, &said) < 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: its checksum is missing",
				  path);
	p = expect(p + 32, end, "\",\"body\":");
	if (!p || (size_t)(end - p) < strlen(SUFFIX) || memcmp(end - 2, SUFFIX, 2) != 0)
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: it is cut short", path);
	*body = p;
	*body_len = (size_t)(end - 2 - p);
	seal_digest(&is, kind, (unsigned)format, *body, *body_len);
	if (!vckpt_digest_equal(&said, &is))
		return vckpt_fail(err, VCKPT_EDAMAGED, "%s is damaged: its checksum does not match",
				  path);
	return 0;
}

static int write_as(const char *path, const char *kind, unsigned format, const char *body,
		    size_t body_len, struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	size_t len;

	text = seal_as(kind, format, body, body_len, &len);
	if (!text)
		return vckpt_fail_errno(err, "no memory for %s", path);
	if (len > VCKPT_SEAL_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "%s would have %zu bytes; at most %zu can be",
				  path, len, VCKPT_SEAL_MAX);
	if (vckpt_fault_point("store.seal", kind, err) < 0 ||
	    vckpt_replace_file(path, text, len, vckpt_guard_file_mode(path), err) < 0)
		return -1;
	vckpt_fault_here("store.sealed", kind);
	return 0;
}

int vckpt_seal_write(const char *path, const char *kind, const char *body, size_t body_len,
		     struct vckpt_error *err)
{
	return write_as(path, kind, VCKPT_SEAL_FORMAT, body, body_len, err);
}

int vckpt_seal_write_json_as(const char *path, const char *kind, unsigned format, json_t *body,
			     struct vckpt_error *err)
{
	vckpt_autofree char *text = json_dumps(body, JSON_INDENT(1));

	if (!text)
		return vckpt_fail(err, VCKPT_EFAIL, "cannot put %s into JSON", path);
	return write_as(path, kind, format, text, strlen(text), err);
}

int vckpt_seal_write_json(const char *path, const char *kind, json_t *body, struct vckpt_error *err)
{
	return vckpt_seal_write_json_as(path, kind, VCKPT_SEAL_FORMAT, body, err);
}

/* Fails where the file is gone: whoever removed it wanted that. */
static int fill(const char *path, const char *text, size_t len, struct vckpt_error *err)
{
	vckpt_autofd int fd = open(path, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return vckpt_fail_errno(err, "cannot write %s", path);
	if (vckpt_write_full(fd, text, len, path, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return vckpt_fail_errno(err, "cannot sync %s", path);
	return 0;
}

int vckpt_seal_fill(const char *path, const char *kind, unsigned format, json_t *body,
		    struct vckpt_error *err)
{
	vckpt_autofree char *plain = json_dumps(body, JSON_INDENT(1)), *text = NULL;
	size_t len;

	if (plain)
		text = seal_as(kind, format, plain, strlen(plain), &len);
	if (!text)
		return vckpt_fail_errno(err, "no memory for %s", path);
	if (len > VCKPT_SEAL_MAX)
		return vckpt_fail(err, VCKPT_EUSAGE, "%s would have %zu bytes; at most %zu can be",
				  path, len, VCKPT_SEAL_MAX);
	if (vckpt_fault_point("store.seal.fill", NULL, err) < 0)
		return -1;
	return fill(path, text, len, err);
}

static json_t *parse(const char *body, size_t n, const char *path, struct vckpt_error *err)
{
	json_error_t why;
	json_t *j = json_loadb(body, n, JSON_REJECT_DUPLICATES, &why);

	if (!j)
		vckpt_fail(err, VCKPT_EDAMAGED, "%s is not what vckpt writes: %s (line %d)", path,
			   why.text, why.line);
	return j;
}

json_t *vckpt_unseal_json(const char *kind, const char *text, size_t len, const char *path,
			  struct vckpt_error *err)
{
	const char *body;
	size_t n;

	return vckpt_unseal(kind, text, len, &body, &n, path, err) < 0 ? NULL
								       : parse(body, n, path, err);
}

int vckpt_seal_read(const char *path, const char *kind, char **body, size_t *body_len,
		    struct vckpt_error *err)
{
	vckpt_autofree char *text = NULL;
	const char *inside;
	size_t len, n;

	if (vckpt_fault_point("store.unseal", kind, err) < 0 ||
	    vckpt_read_own_file(path, VCKPT_SEAL_MAX, &text, &len, err) < 0)
		return -1;
	if (vckpt_unseal(kind, text, len, &inside, &n, path, err) < 0)
		return -1;
	memmove(text, inside, n);
	text[n] = '\0';
	*body_len = n;
	*body = vckpt_steal_ptr(&text);
	return 0;
}

json_t *vckpt_seal_read_json(const char *path, const char *kind, struct vckpt_error *err)
{
	vckpt_autofree char *body = NULL;
	size_t n;

	return vckpt_seal_read(path, kind, &body, &n, err) < 0 ? NULL : parse(body, n, path, err);
}
