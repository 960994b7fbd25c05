/* vckpt: checkpoint, restart and look after whole MPI jobs in virtual machines. */
#include <stdio.h>
#include <string.h>

#include "tool.h"

static const struct tool_command *const commands[] = {
	&tool_adopt,     &tool_checkpoint, &tool_ls,          &tool_show,     &tool_log,
	&tool_timeline,  &tool_check,      &tool_prune,       &tool_repair,   &tool_export,
	&tool_import,    &tool_flush,      &tool_lead,        &tool_restart,  &tool_migrate,
	&tool_evacuate,  &tool_make_room,  &tool_consolidate, &tool_suspend,  &tool_resume,
	&tool_kill,      &tool_status,     &tool_hosts,       &tool_doctor,   &tool_watch,
	&tool_supervise, &tool_monitor,    &tool_report,      &tool_interval, &tool_metrics,
	&tool_top,       &tool_key,
};
#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
	fprintf(to,
		"Usage: vckpt COMMAND [OPTION...] [ARGUMENT...]\n\n"
		"Checkpoints, restarts and looks after whole MPI jobs in virtual machines.\n\n");
	for (size_t i = 0; i < NCOMMANDS; i++)
		fprintf(to, "  %-11s %s\n", commands[i]->name, commands[i]->line);
	fprintf(to,
		"\n`vckpt COMMAND --help` tells the options of a command, `man vckpt-COMMAND` all "
		"about it.\n"
		"Exit codes: 0 done, 2 wrong usage, 3 not found, 4 busy, 5 timeout, 6 damaged, "
		"7 refused, 8 hypervisor,\n"
		"9 system, 10 the other side went away, 11 not now, 12 cancelled, 1 anything "
		"else.\n");
}

static const struct tool_command *find(const char *name)
{
	for (size_t i = 0; i < NCOMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct tool t = {.cancel_fd = -1};
	const struct tool_command *c;
	int code;

	if (argc >= 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
		printf("vckpt %s\n", PACKAGE_VERSION);
		return 0;
	}
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
		usage(stdout);
		return 0;
	}
	c = argc >= 2 ? find(argv[1]) : NULL;
	if (!c) {
		if (argc >= 2)
			fprintf(stderr, "vckpt: there is no command '%s'\n\n", argv[1]);
		usage(stderr);
		return VCKPT_EUSAGE;
	}
	tool_settings_load(&t.settings, &t.settings_error);
	code = c->run(&t, argc - 1, argv + 1);
	tool_progress_free(t.progress);
	return code;
}
