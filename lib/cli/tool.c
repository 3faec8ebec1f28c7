/* tool - argp glue: common options, subcommands, exit statuses, the option dump */
#include "cli/tool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/macros.h"

enum {
	KEY_FEATURES = 0x1000,
	KEY_DUMP,
	KEY_HELP,
	KEY_USAGE,
};

/* argp keeps its options and ours in one table: the common ones are a child parser. */
static const struct argp_option common_options[] = {
	{"verbose", 'v', NULL, 0, "Say more; twice: debug lines too", -1},
	{"quiet", 'q', NULL, 0, "Say errors only", -1},
	{"version", 'V', NULL, 0, "Print the version and exit", -1},
	{"features", KEY_FEATURES, NULL, 0, "Print what is built in and exit", -1},
	{"help", KEY_HELP, NULL, 0, "Print this help and exit", -1},
	{"usage", KEY_USAGE, NULL, OPTION_HIDDEN, "Print the options in short and exit", -1},
	{"dump-options", KEY_DUMP, NULL, OPTION_HIDDEN, "Print the options, tab separated", -1},
	{0},
};

struct common {
	const struct argp *tool;
	void *input;
	int level;
};

static void dump_table(const struct argp_option *opt)
{
	for (; opt && (opt->name || opt->key || opt->doc); opt++) {
		if (!opt->name || (opt->flags & (OPTION_HIDDEN | OPTION_DOC)))
			continue;
		printf("%s\t%c\t%s\t%s\n", opt->name,
		       opt->key > ' ' && opt->key < 127 ? opt->key : '-', opt->arg ? opt->arg : "-",
		       opt->doc ? opt->doc : "");
	}
}

static void print_features(void)
{
	printf("version %s\n", LSC_VERSION);
	printf("tcp yes\n");
#ifdef LSC_HAVE_TLS
	printf("tls yes\n");
#else
	printf("tls no\n");
#endif
#ifdef LSC_HAVE_CURL
	printf("curl yes\n");
#else
	printf("curl no\n");
#endif
#ifdef LSC_HAVE_MICROHTTPD
	printf("microhttpd yes\n");
#else
	printf("microhttpd no\n");
#endif
#ifdef LSC_HAVE_URING
	printf("uring yes\n");
#else
	printf("uring no\n");
#endif
#ifdef LSC_HAVE_RDMA
	printf("rdma yes\n");
#else
	printf("rdma no\n");
#endif
#ifdef LSC_HAVE_CUDA
	printf("cuda yes\n");
#else
	printf("cuda no\n");
#endif
}

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
	struct common *common = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = common->input;
		return 0;
	case 'v':
		common->level++;
		return 0;
	case 'q':
		common->level = LSC_LOG_ERROR;
		return 0;
	case 'V':
		printf("%s (lsc) %s\n", state->name, LSC_VERSION);
		exit(lsc_tool_finish(0, NULL));
	case KEY_FEATURES:
		print_features();
		exit(lsc_tool_finish(0, NULL));
	case KEY_HELP:
		argp_state_help(state, stdout, ARGP_HELP_STD_HELP & ~ARGP_HELP_EXIT_OK);
		exit(lsc_tool_finish(0, NULL));
	case KEY_USAGE: /* argp's messages speak of it */
		argp_state_help(state, stdout, ARGP_HELP_USAGE);
		exit(lsc_tool_finish(0, NULL));
	case KEY_DUMP:
		dump_table(common->tool->options);
		dump_table(common_options);
		exit(lsc_tool_finish(0, NULL));
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void lsc_tool_check(struct argp_state *state, int result, const struct lsc_err *err)
{
	if (result < 0)
		argp_failure(state, LSC_EXIT_USAGE, 0, "%s", err->text);
}

error_t lsc_tool_argument(struct argp_state *state, int key, char *arg, const char **ret_arg,
			  const char *name)
{
	if (key == ARGP_KEY_ARG && !*ret_arg)
		*ret_arg = arg;
	else if (key == ARGP_KEY_END && !*ret_arg)
		argp_failure(state, LSC_EXIT_USAGE, 0, "want %s", name);
	else if (key != ARGP_KEY_END)
		return ARGP_ERR_UNKNOWN;
	return 0;
}

/* A closed standard descriptor would be given to the next file or socket that is opened, and output
 * go there.  Its place is taken by one that fails as a closed one does. */
static void fill_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			return;
}

void lsc_tool_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	const struct argp_child children[] = {{argp, 0, NULL, 0}, {0}};
	const struct argp top = {
		common_options, parse_common, NULL, NULL, children, NULL, NULL,
	};
	struct common common = {argp, input, LSC_LOG_NOTICE};
	char *slash = strrchr(argv[0], '/');

	/* getopt names argv[0] in its messages as it is. */
	if (slash)
		argv[0] = slash + 1;
	fill_standard_fds();
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stderr, NULL, _IOLBF, 0);
	argp_err_exit_status = LSC_EXIT_USAGE;
	lsc_log_setup(argv[0], LSC_LOG_NOTICE);
	argp_parse(&top, argc, argv, ARGP_NO_HELP, NULL, &common);
	lsc_log_setup(argv[0], common.level);
}

int lsc_tool_status(int errnum)
{
	switch (errnum) {
	case EINVAL:
		return LSC_EXIT_USAGE;
	case EBADMSG:
	case EILSEQ:
		return LSC_EXIT_DATA;
	case EOPNOTSUPP:
	case ENODEV:
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
		return LSC_EXIT_UNAVAILABLE;
	case ENOENT:
	case EACCES:
	case EPERM:
	case EEXIST:
	case EISDIR:
	case ENOTDIR:
	case EIO:
	case ENODATA:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EROFS:
	case EPIPE:
	case EBADF:
	case ENOBUFS:
	case ECONNRESET:
		return LSC_EXIT_IO;
	case ETIMEDOUT:
	case EBUSY:
		return LSC_EXIT_TIMEOUT;
	case EPROTO:
	case EKEYREJECTED:
		return LSC_EXIT_PROTOCOL;
	default:
		return LSC_EXIT_SYSTEM;
	}
}

int lsc_tool_finish(int result, struct lsc_err *err)
{
	int status = result >= 0 ? result : lsc_tool_status(-result);

	if (result < 0)
		lsc_error("%s", err && err->text[0] ? err->text : strerror(-result));
	if (fflush(stdout) || ferror(stdout) || (fclose(stdout) && errno != EBADF)) {
		if (result >= 0)
			lsc_error("cannot write standard output: %s", strerror(errno));
		return status ? status : LSC_EXIT_IO;
	}
	return status;
}

static void print_commands(const char *tool, const char *about, const struct lsc_command *commands,
			   size_t n)
{
	printf("Usage: %s COMMAND [OPTION...]\n%s\n\n", tool, about);
	for (size_t i = 0; i < n; i++)
		printf("  %-12s %s\n", commands[i].name, commands[i].summary);
	printf("\n'%s COMMAND --help' lists a command's options; %s(1) explains them.\n", tool,
	       tool);
}

int lsc_tool_dispatch(const char *tool, const char *about, const struct lsc_command *commands,
		      size_t n, int argc, char **argv)
{
	static char name[64];

	lsc_log_setup(tool, LSC_LOG_NOTICE);
	if (argc < 2) {
		lsc_error("missing command; '%s --help' lists them", tool);
		return LSC_EXIT_USAGE;
	}
	for (size_t i = 0; i < n; i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		snprintf(name, sizeof(name), "%s %s", tool, argv[1]);
		argv[1] = name;
		return commands[i].main(argc - 1, argv + 1);
	}
	if (!strcmp(argv[1], "--help")) {
		print_commands(tool, about, commands, n);
	} else if (!strcmp(argv[1], "-V") || !strcmp(argv[1], "--version")) {
		printf("%s (lsc) %s\n", tool, LSC_VERSION);
	} else if (!strcmp(argv[1], "--features")) {
		print_features();
	} else if (!strcmp(argv[1], "--dump-options")) {
		for (size_t i = 0; i < n; i++)
			printf("%s\t%s\n", commands[i].name, commands[i].summary);
	} else {
		lsc_error("no command '%s'; '%s --help' lists them", argv[1], tool);
		return LSC_EXIT_USAGE;
	}
	return lsc_tool_finish(0, NULL);
}
