/* What people and programs read. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tool.h"

int tool_failed_with(struct tool *t, const char *command, const struct vckpt_error *err,
		     json_t *record)
{
	const char *next = tool_next_step(command, err);

	tool_progress_free(t->progress);
	t->progress = NULL;
	if (t->json) {
		json_t *j = json_pack("{s:{s:s, s:s}}", "error", "code", vckpt_code_name(err->code),
				      "text", err->text);

		if (next)
			json_object_set_new(json_object_get(j, "error"), "next", json_string(next));
		if (record)
			json_object_set(j, "record", record);
		tool_print_json(j);
		json_decref(j);
	} else {
		fprintf(stderr, "vckpt %s: %s\n", command, err->text);
		if (!t->quiet) {
			tool_print_hooks(stderr, json_object_get(record, "hooks"), true);
			tool_print_notes(stderr, record);
			if (next)
				fprintf(stderr, "  next: %s\n", next);
		}
	}
	/* A newer host may know codes that we do not document. */
	return err->code == VCKPT_OK || err->code > VCKPT_ECANCELED ? VCKPT_EFAIL : (int)err->code;
}

int tool_failed(struct tool *t, const char *command, const struct vckpt_error *err)
{
	return tool_failed_with(t, command, err, NULL);
}

void tool_print_notes(FILE *to, const json_t *record)
{
	const json_t *note;
	size_t i;

	json_array_foreach (json_object_get(record, "notes"), i, note)
		fprintf(to, "  note: %s\n", json_string_value(note));
}

void tool_print_hooks(FILE *to, const json_t *hooks, bool failed)
{
	const json_t *h;
	size_t i;

	json_array_foreach (hooks, i, h) {
		const char *guest = tool_string(h, "guest"), *said = tool_string(h, "said");
		double status = tool_number(h, "status");
		bool ran = *tool_string(h, "hook");
		char took[16];

		if (failed && ran && status == 0)
			continue;
		fprintf(to, "  hook %s%s%s, %s: ", tool_string(h, "when"), ran ? "/" : "",
			tool_string(h, "hook"), *guest ? guest : tool_string(h, "host"));
		if (json_is_true(json_object_get(h, "late")))
			fprintf(to, "ended after %s%s", tool_ms(took, tool_number(h, "took_ms")),
				*said ? ": " : "");
		else if (ran)
			fprintf(to, "status %.0f in %s%s", status,
				tool_ms(took, tool_number(h, "took_ms")), *said ? ": " : "");
		fprintf(to, "%s\n", said);
	}
}

void tool_print_outside(const json_t *record)
{
	const json_t *one, *guest, *file;
	size_t i, k;

	json_array_foreach (json_object_get(record, "outside"), i, one)
		printf("  not in the cut: %s %s: %s\n", tool_string(one, "guest"),
		       tool_string(one, "object"), tool_string(one, "text"));
	json_array_foreach (json_object_get(record, "guests"), i, guest) {
		const json_t *files = json_object_get(json_object_get(guest, "hold"), "files");

		if (!files)
			files = json_object_get(json_object_get(guest, "prepare"), "files");
		json_array_foreach (files, k, file)
			printf("    %s: pid %.0f %s %s, %.0f bytes long\n",
			       tool_string(guest, "guest"), tool_number(file, "pid"),
			       json_is_true(json_object_get(file, "append")) ? "appends to"
									     : "writes to",
			       tool_string(file, "path"), tool_number(file, "length"));
	}
}

void tool_print_frozen(const json_t *record)
{
	const json_t *g;
	size_t i;

	json_array_foreach (json_object_get(record, "guests"), i, g) {
		const char *frozen = tool_string(g, "hold.frozen");
		const char *unfrozen = tool_string(g, "hold.unfrozen");

		if (*frozen)
			printf("  frozen: %s: %s\n", tool_string(g, "guest"), frozen);
		if (*unfrozen)
			printf("  not frozen: %s: %s\n", tool_string(g, "guest"), unfrozen);
	}
}

void tool_print_loud(const json_t *record)
{
	const json_t *loud;
	size_t i;

	json_array_foreach (json_object_get(record, "loud"), i, loud) {
		const char *guest = tool_string(loud, "guest"), *what = tool_string(loud, "what");
		char b[16];

		/* Without a process it is what the host said of the guest. */
		if (!json_object_get(loud, "pid"))
			printf("  not quiet: %s: %s\n", guest, what);
		else if (strcmp(what, "not gated") == 0)
			printf("  not held: %s pid %.0f to %s\n", guest, tool_number(loud, "pid"),
			       tool_string(loud, "peer"));
		else
			printf("  not quiet: %s pid %.0f to %s: %s, %s\n", guest,
			       tool_number(loud, "pid"), tool_string(loud, "peer"), what,
			       tool_bytes(b, tool_number(loud, "bytes")));
	}
}

void tool_print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
}

void tool_print_event(const struct tool *t, const json_t *event, void (*print)(const json_t *event))
{
	if (t->json) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (!t->quiet) {
		print(event);
	}
	/* Whoever reads it wants it now. */
	fflush(stdout);
}

const char *tool_bytes(char buf[16], double n)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t u = 0;

	while (n >= 1024 && u + 1 < sizeof(units) / sizeof(units[0])) {
		n /= 1024;
		u++;
	}
	snprintf(buf, 16, u ? "%.1f %s" : "%.0f %s", n, units[u]);
	return buf;
}

const char *tool_ms(char buf[16], double ms)
{
	if (ms >= 1000)
		snprintf(buf, 16, "%.2f s", ms / 1000);
	else
		snprintf(buf, 16, "%.1f ms", ms);
	return buf;
}

static const json_t *member(const json_t *j, const char *path)
{
	char key[64];

	while (j && *path) {
		size_t n = strcspn(path, ".");

		if (n >= sizeof(key))
			return NULL;
		memcpy(key, path, n);
		key[n] = '\0';
		j = json_object_get(j, key);
		path += n + (path[n] == '.');
	}
	return j;
}

double tool_number(const json_t *j, const char *path)
{
	return json_number_value(member(j, path));
}

const char *tool_string(const json_t *j, const char *path)
{
	const char *s = json_string_value(member(j, path));

	return s ? s : "";
}

const char *tool_when(char buf[32], uint64_t time_ns)
{
	time_t s = (time_t)(time_ns / 1000000000);
	struct tm tm;

	localtime_r(&s, &tm);
	strftime(buf, 32, "%Y-%m-%d %H:%M:%S", &tm);
	return buf;
}
