/* The command that brings a byte stream to another host, made of a template: words with {host} in
 * them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "host/remote/remote.h"

#define WORDS_MAX 64
#define PLACE     "{host}"

/* What a launcher could take for an option or a shell for more than a word is no host. */
int vckpt_remote_check_name(const char *name, struct vckpt_error *err)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				"._@-");

	if (!*name || name[n] || name[0] == '-')
		return vckpt_fail(
			err, VCKPT_EUSAGE,
			"\"%.60s\" is no name of a host: letters, digits and . _ @ - only, "
			"no - in front",
			name);
	return 0;
}

void vckpt_remote_free_command(char **argv)
{
	for (char **w = argv; w && *w; w++)
		free(*w);
	free(argv);
}

int vckpt_remote_command(const char *template, const char *name, char ***argv,
			 struct vckpt_error *err)
{
	char **words;
	size_t n = 0;

	if (vckpt_remote_check_name(name, err) < 0)
		return -1;
	if (!strstr(template, PLACE))
		return vckpt_fail(
			err, VCKPT_EUSAGE,
			"the launcher \"%.100s\" does not say where the host's name goes: "
			"write " PLACE " there",
			template);
	words = calloc(WORDS_MAX + 1, sizeof(*words));
	if (!words)
		return vckpt_fail_errno(err, "no memory for a launcher");
	for (const char *p = template; *p;) {
		size_t blank = strspn(p, " \t\n"), len = strcspn(p + blank, " \t\n");

		p += blank;
		if (!len)
			break;
		if (n == WORDS_MAX || !(words[n++] = vckpt_fill_text(p, len, PLACE, name))) {
			vckpt_remote_free_command(words);
			return vckpt_fail(err, VCKPT_EUSAGE,
					  "the launcher has more than %d words: put it into a "
					  "script",
					  WORDS_MAX);
		}
		p += len;
	}
	*argv = words;
	return 0;
}

int vckpt_remote_elsewhere(const char *template, const char *name, const char *who,
			   struct vckpt_host **host, struct vckpt_error *err)
{
	char **argv;
	int rc;

	if (vckpt_remote_command(template, name, &argv, err) < 0)
		return -1;
	rc = vckpt_remote_launch(argv, name, who, host, err);
	vckpt_remote_free_command(argv);
	return rc;
}

bool vckpt_remote_is_here(const char *name)
{
	char own[256] = "";
	size_t n;

	if (!*name || strcmp(name, "localhost") == 0)
		return true;
	if (gethostname(own, sizeof(own) - 1) < 0)
		return false;
	n = strcspn(own, ".");
	return strcmp(name, own) == 0 || (strlen(name) == n && strncmp(name, own, n) == 0);
}
