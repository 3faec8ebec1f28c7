/* options - lsc-replay's command line */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "cli/tool.h"

enum {
	KEY_TRACE = 0x100,
	KEY_SPEED,
	KEY_SCALE,
	KEY_LIMIT,
	KEY_DURATION,
	KEY_POISSON,
	KEY_GAMMA,
	KEY_PROMPT_TOKENS,
	KEY_OUTPUT_TOKENS,
	KEY_MAX_PROMPT,
	KEY_MAX_OUTPUT,
	KEY_SEED,
	KEY_TEXT,
	KEY_TOKENS_PER_WORD,
	KEY_CHAT,
	KEY_MODEL,
	KEY_IGNORE_EOS,
	KEY_NO_USAGE,
	KEY_GREEDY,
	KEY_API_KEY,
	KEY_CA_FILE,
	KEY_MAX_CONCURRENCY,
	KEY_TIMEOUT,
	KEY_SLO,
	KEY_DRY_RUN,
	KEY_JSON,
	KEY_RECORDS,
	KEY_SVG,
};

static const struct argp_option options[] = {
	{"trace", KEY_TRACE, "FILE", 0, "Requests to replay (-: standard input)", 0},
	{"speed", KEY_SPEED, "X", 0, "Divide the trace's time by X (default 1)", 0},
	{"scale", KEY_SCALE, "X", 0, "Multiply its number of requests by X (default 1)", 0},
	{"poisson", KEY_POISSON, "RATE", 0, "Make up arrivals: RATE a second, independent", 0},
	{"gamma", KEY_GAMMA, "RATE,CV", 0, "Make up arrivals whose gaps vary by CV", 0},
	{"limit", KEY_LIMIT, "N", 0, "Send N requests at most", 0},
	{"duration", KEY_DURATION, "TIME", 0, "Send those that are due by TIME", 0},
	{"prompt-tokens", KEY_PROMPT_TOKENS, "N[,CV]", 0,
	 "Prompts of N tokens, or lognormal of mean N; not the trace's lengths", 0},
	{"output-tokens", KEY_OUTPUT_TOKENS, "N[,CV]", 0, "The same for answers", 0},
	{"max-prompt-tokens", KEY_MAX_PROMPT, "N", 0, "Cut longer prompts to N tokens", 0},
	{"max-output-tokens", KEY_MAX_OUTPUT, "N", 0, "Ask for N tokens at most", 0},
	{"seed", KEY_SEED, "N", 0, "Of what is drawn (default 0)", 0},
	{"text", KEY_TEXT, "FILE", 0, "Make prompts of its words (default: of a text built in)", 0},
	{"tokens-per-word", KEY_TOKENS_PER_WORD, "X", 0,
	 "What a word makes (default: 1.35, then what the first answers say)", 0},
	{"chat", KEY_CHAT, NULL, 0, "Ask /v1/chat/completions, not /v1/completions", 0},
	{"model", KEY_MODEL, "NAME", 0, "The model (default: the first that the server lists)", 0},
	{"ignore-eos", KEY_IGNORE_EOS, NULL, 0,
	 "Have answers reach their length, where the server knows ignore_eos", 0},
	{"no-usage", KEY_NO_USAGE, NULL, 0, "Do not ask for usage, count chunks", 0},
	{"greedy", KEY_GREEDY, NULL, 0, "Ask for temperature 0 (default: the server's)", 0},
	{"api-key-file", KEY_API_KEY, "FILE", 0, "Send the key in FILE's first line (-: stdin)", 0},
	{"ca-file", KEY_CA_FILE, "FILE", 0, "Trust these certificates, not the system's", 0},
	{"max-concurrency", KEY_MAX_CONCURRENCY, "N", 0,
	 "Have N requests wait for an answer at most, and others wait for them", 0},
	{"timeout", KEY_TIMEOUT, "TIME", 0, "Give up on a request after TIME (default 300s)", 0},
	{"slo", KEY_SLO, "LIMITS", 0, "Tell goodput: ttft=500ms,tpot=50ms,e2e=10s", 0},
	{"dry-run", 'n', NULL, 0, "Write what would be sent when, and send nothing", 0},
	{"json", KEY_JSON, NULL, 0, "Print the report as JSON", 0},
	{"records", KEY_RECORDS, "FILE", 0, "Write a record for each request (-: stdout)", 0},
	{"svg", KEY_SVG, "FILE", 0, "Draw latencies and tokens a second", 0},
	{"force", 'f', NULL, 0, "Write records to a terminal as well", 0},
	{0},
};

/* "N" or "N,CV"; ret_cv NULL: the pair must be there. */
static int parse_pair(const char *text, double least, double most, bool both, double *ret_n,
		      double *ret_cv, struct lsc_err *err)
{
	LSC_CLEANUP_FREE char *copy = strdup(text);
	char *cv = copy ? strchr(copy, ',') : NULL;
	int r;

	if (!copy)
		return lsc_err_set(err, ENOMEM, "%m");
	if (cv)
		*cv++ = 0;
	else if (both)
		return lsc_err_set(err, EINVAL, "'%s' is not two numbers, N,CV", text);
	r = lsc_parse_real(copy, least, most, ret_n, err);
	return r < 0 || !cv ? r : lsc_parse_real(cv, 0.01, 100, ret_cv, err);
}

static int parse_tokens(const char *arg, struct lsc_lengths *lengths, struct lsc_err *err)
{
	return parse_pair(arg, 1, LSC_TRACE_MAX_TOKENS, false, &lengths->mean, &lengths->cv, err);
}

static int parse_most(const char *arg, uint32_t *ret_most, struct lsc_err *err)
{
	uint64_t most = 0;
	int r = lsc_parse_uint(arg, 1, LSC_TRACE_MAX_TOKENS, &most, err);

	*ret_most = (uint32_t)most;
	return r;
}

static int parse_span(const char *arg, double *ret_s, struct lsc_err *err)
{
	int r = lsc_parse_duration(arg, ret_s, err);

	if (r == 0 && (*ret_s < 0.001 || *ret_s > 1e9))
		return lsc_err_set(err, EINVAL, "'%s' is not from 1ms to 30 years", arg);
	return r;
}

static int parse_arrivals(int key, char *arg, struct replay_options *opt, struct lsc_err *err)
{
	struct lsc_timetable_options *table = &opt->timetable;

	switch (key) {
	case KEY_SPEED:
		opt->reshaped = true;
		return lsc_parse_real(arg, 1e-6, 1e6, &table->speed, err);
	case KEY_SCALE:
		opt->reshaped = true;
		return lsc_parse_real(arg, 1e-6, 1e4, &table->scale, err);
	case KEY_POISSON:
		return lsc_parse_real(arg, 1e-6, 1e6, &table->rate, err);
	case KEY_GAMMA:
		return parse_pair(arg, 1e-6, 1e6, true, &table->rate, &table->cv, err);
	case KEY_LIMIT:
		return lsc_parse_uint(arg, 1, LSC_TIMETABLE_MAX_DUES, &table->limit, err);
	case KEY_DURATION:
		return parse_span(arg, &table->duration_s, err);
	case KEY_SEED:
		return lsc_parse_uint(arg, 0, UINT64_MAX, &table->seed, err);
	case KEY_PROMPT_TOKENS:
		return parse_tokens(arg, &table->prompt, err);
	case KEY_OUTPUT_TOKENS:
		return parse_tokens(arg, &table->output, err);
	case KEY_MAX_PROMPT:
		return parse_most(arg, &table->max_prompt, err);
	default:
		return parse_most(arg, &table->max_output, err);
	}
}

static int parse_value(int key, char *arg, struct replay_options *opt, struct lsc_err *err)
{
	switch (key) {
	case KEY_TOKENS_PER_WORD:
		return lsc_parse_real(arg, 0.1, 100, &opt->tokens_per_word, err);
	case KEY_MAX_CONCURRENCY:
		return lsc_parse_uint(arg, 1, 1 << 20, &opt->max_concurrency, err);
	case KEY_TIMEOUT:
		return parse_span(arg, &opt->timeout_s, err);
	case KEY_SLO:
		return lsc_objectives_parse(arg, &opt->objectives, err);
	default:
		return parse_arrivals(key, arg, opt, err);
	}
}

/* Options that only note something down. */
static bool parse_flag(int key, char *arg, struct replay_options *opt)
{
	const struct {
		int key;
		const char **to;
	} texts[] = {
		{KEY_TRACE, &opt->trace},     {KEY_TEXT, &opt->text_file},
		{KEY_MODEL, &opt->model},     {KEY_API_KEY, &opt->key_file},
		{KEY_CA_FILE, &opt->ca_file}, {KEY_RECORDS, &opt->records},
		{KEY_SVG, &opt->svg},
	};
	const struct {
		int key;
		bool *to;
	} flags[] = {
		{KEY_CHAT, &opt->chat},         {KEY_IGNORE_EOS, &opt->ignore_eos},
		{KEY_NO_USAGE, &opt->no_usage}, {KEY_JSON, &opt->json},
		{'n', &opt->dry_run},           {'f', &opt->force},
		{KEY_GREEDY, &opt->greedy},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].key == key)
			return *texts[i].to = arg, true;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (flags[i].key == key)
			return *flags[i].to = true;
	return false;
}

static void check_options(const struct replay_options *opt, struct argp_state *state)
{
	const struct lsc_timetable_options *table = &opt->timetable;
	const char *wrong = NULL;
	bool made_up = table->rate > 0;

	if (!opt->url && !opt->dry_run)
		wrong = "want URL (or --dry-run)";
	else if (!opt->trace == !made_up)
		wrong = "want one of --trace, --poisson and --gamma";
	else if (made_up && opt->reshaped)
		wrong = "--speed and --scale are for a trace";
	else if (made_up && !table->limit && !(table->duration_s > 0))
		wrong = "made-up arrivals want --limit or --duration";
	else if (made_up && !(table->prompt.mean > 0 && table->output.mean > 0))
		wrong = "made-up arrivals want --prompt-tokens and --output-tokens";
	else if (opt->dry_run && (opt->svg || opt->json))
		wrong = "--dry-run has no report";
	else if (opt->key_file && opt->trace && !strcmp(opt->key_file, "-") &&
		 !strcmp(opt->trace, "-"))
		wrong = "standard input is one thing only";
	if (wrong)
		argp_failure(state, LSC_EXIT_USAGE, 0, "%s", wrong);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct replay_options *opt = state->input;
	struct lsc_err err = LSC_ERR_INIT;

	if (parse_flag(key, arg, opt))
		return 0;
	if (key == ARGP_KEY_END) {
		check_options(opt, state);
		return 0;
	}
	if (key == ARGP_KEY_ARG && !opt->url) {
		opt->url = arg;
		return 0;
	}
	if (key < KEY_TRACE || key > KEY_SVG)
		return ARGP_ERR_UNKNOWN;
	lsc_tool_check(state, parse_value(key, arg, opt, &err), &err);
	return 0;
}

const struct argp replay_argp = {
	options,
	parse,
	"[URL]",
	"Send requests to an OpenAI-compatible server at the times of a trace, and tell how it "
	"answered.",
	NULL,
	NULL,
	NULL,
};
