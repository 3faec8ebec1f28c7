/* lsc - runs the other tools: `lsc cast send ...` is `lsc-cast send ...`
 *
 * A tool is looked for beside this program first, so that a tree that was built and not installed
 * runs its own, and then on PATH, where anyone may put an lsc-NAME of their own.  This file knows
 * no more of a tool than the line that `lsc help` prints.
 */
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/macros.h"
#include "cli/tool.h"

#define MAX_FOUND 256

static const struct {
	const char *name, *summary;
} known[] = {
	{"shard", "pack a model into an image; list and verify one"},
	{"plan", "work out who sends what to whom; draw and prove it"},
	{"cast", "send an image to many nodes at once; receive one"},
	{"exec", "run an image on one node, or serve as a stage of many"},
	{"pipe", "route requests over nodes, while they load and after"},
	{"node", "run what a node needs: receive, execute, restart"},
	{"launch", "run a program on many nodes, for as long as it runs"},
	{"up", "bring up nodes, cast, router and gate; a service"},
	{"down", "end what up brought up"},
	{"top", "watch the nodes and requests of a gate"},
	{"tier", "keep images in memory: load, pin, evict"},
	{"gate", "serve the OpenAI-compatible HTTP interface"},
	{"scale", "decide when to scale out and in, and have it done"},
	{"replay", "send a trace's requests at its times, and measure"},
	{"sim", "simulate casts in a cluster that is not there"},
	{"msg", "turn record streams into JSON lines and back"},
};

/* Sorted, each name once; beside this program or on PATH. */
struct found {
	char *names[MAX_FOUND]; /* without "lsc-" */
	unsigned n;
};

static void found_release(struct found *found)
{
	while (found->n)
		free(found->names[--found->n]);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_in(struct found *found, const char *dir)
{
	DIR *d = opendir(*dir ? dir : ".");
	struct dirent *entry;

	while (d && (entry = readdir(d)) && found->n < MAX_FOUND) {
		const char *name = entry->d_name + 4;
		bool twice = false;
		struct stat st;

		if (strncmp(entry->d_name, "lsc-", 4) || !*name || strchr(name, '.') ||
		    fstatat(dirfd(d), entry->d_name, &st, 0) || !S_ISREG(st.st_mode) ||
		    faccessat(dirfd(d), entry->d_name, X_OK, 0))
			continue;
		for (unsigned i = 0; i < found->n; i++)
			twice |= !strcmp(found->names[i], name);
		if (!twice && (found->names[found->n] = strdup(name)))
			found->n++;
	}
	if (d)
		closedir(d);
}

/* The folder this program lies in, "" when that cannot be told. */
static void own_dir(char dir[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", dir, PATH_MAX - 1);
	char *slash;

	dir[LSC_MAX(n, 0)] = 0;
	slash = strrchr(dir, '/');
	dir[slash ? slash - dir : 0] = 0;
}

static void find_all(struct found *found)
{
	LSC_CLEANUP_FREE char *path = strdup(getenv("PATH") ? getenv("PATH") : "");
	char own[PATH_MAX], *dir, *rest = path;

	own_dir(own);
	if (own[0])
		find_in(found, own);
	while (rest && (dir = strsep(&rest, ":")))
		find_in(found, dir);
	qsort(found->names, found->n, sizeof(found->names[0]), compare_names);
}

static bool take(struct found *found, const char *name)
{
	for (unsigned i = 0; i < found->n; i++) {
		if (strcmp(found->names[i], name))
			continue;
		free(found->names[i]);
		memmove(found->names + i, found->names + i + 1,
			(--found->n - i) * sizeof(found->names[0]));
		return true;
	}
	return false;
}

/* Ours in the order of the table, which is the order of use; then whatever else there is. */
static int list_tools(void)
{
	LSC_CLEANUP(found_release) struct found found = {.n = 0};

	find_all(&found);
	printf("Usage: lsc TOOL [ARGUMENT...]\n"
	       "       lsc help [TOOL|PAGE]\n\n");
	for (unsigned i = 0; i < LSC_ARRAY_SIZE(known); i++)
		if (take(&found, known[i].name))
			printf("  %-10s %s\n", known[i].name, known[i].summary);
	if (found.n)
		printf("\nAlso on PATH:");
	for (unsigned i = 0; i < found.n; i++)
		printf(" %s", found.names[i]);
	printf("%s\nlsc(7) tells how they work together; 'lsc help TOOL' shows a tool's page.\n",
	       found.n ? "\n" : "");
	return 0;
}

/* A name is a word: with a slash it would run something else than a tool. */
static int check_name(const char *name, struct lsc_err *err)
{
	if (!*name || strchr(name, '/') || strlen(name) > NAME_MAX - 8)
		return lsc_err_set(err, EINVAL, "'%s' is not the name of a tool", name);
	return 0;
}

/* Becomes lsc-NAME with these arguments; comes back only when that fails. */
static int run_tool(const char *name, char **argv, struct lsc_err *err)
{
	char own[PATH_MAX], file[PATH_MAX + NAME_MAX], tool[NAME_MAX];
	int r = check_name(name, err);

	if (r < 0)
		return r;
	own_dir(own);
	snprintf(tool, sizeof(tool), "lsc-%s", name);
	snprintf(file, sizeof(file), "%s/%s", own, tool);
	argv[0] = tool;
	if (own[0] && !access(file, X_OK))
		execv(file, argv);
	execvp(tool, argv);
	if (errno == ENOENT) {
		lsc_error("no tool 'lsc-%s' here or on PATH; 'lsc help' lists them", name);
		return LSC_EXIT_NOT_FOUND;
	}
	lsc_error("cannot run 'lsc-%s': %s", name, strerror(errno));
	return LSC_EXIT_CANNOT_RUN;
}

/* A page of the tree this program was built in, when it was not installed: ../man. */
static bool tree_page(const char *name, char page[PATH_MAX + NAME_MAX + 16])
{
	char own[PATH_MAX];

	own_dir(own);
	for (const char *section = "157"; own[0] && *section; section++) {
		snprintf(page, PATH_MAX + NAME_MAX + 16, "%s/../man/%s.%c", own, name, *section);
		if (!access(page, R_OK))
			return true;
	}
	return false;
}

/* Becomes man, or where there is none mandoc, or the tool's own --help. */
static int show_page(const char *name, struct lsc_err *err)
{
	char page[PATH_MAX + NAME_MAX + 16], full[NAME_MAX];
	char *help[] = {full, "--help", NULL};
	int r = check_name(name, err);

	if (r < 0)
		return r;
	snprintf(full, sizeof(full), "%s%s", strcmp(name, "lsc") ? "lsc-" : "", name);
	if (!strncmp(name, "lsc-", 4))
		snprintf(full, sizeof(full), "%s", name);
	if (!tree_page(full, page)) {
		execlp("man", "man", full, (char *)NULL);
	} else {
		execlp("man", "man", page, (char *)NULL);
		execlp("mandoc", "mandoc", "-a", page, (char *)NULL);
	}
	if (!strcmp(full, "lsc"))
		return list_tools();
	return run_tool(full + 4, help, err);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	switch (key) {
	case ARGP_KEY_ARG:
		argp_failure(state, LSC_EXIT_USAGE, 0,
			     "options of a tool go behind its name: 'lsc %s -...'", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		NULL,
		parse,
		"TOOL [ARGUMENT...]",
		"Run one of the lsc tools.\v"
		"'lsc help' lists the tools, 'lsc help TOOL' shows a tool's page.",
		NULL,
		NULL,
		NULL,
	};
	struct lsc_err err = LSC_ERR_INIT;

	if (argc > 1 && argv[1][0] != '-') {
		lsc_log_setup("lsc", LSC_LOG_NOTICE);
		if (strcmp(argv[1], "help"))
			return lsc_tool_finish(run_tool(argv[1], argv + 1, &err), &err);
		return lsc_tool_finish(argc > 2 ? show_page(argv[2], &err) : list_tools(), &err);
	}
	lsc_tool_parse(&argp, argc, argv, NULL);
	lsc_error("missing tool; 'lsc help' lists them");
	return LSC_EXIT_USAGE;
}
