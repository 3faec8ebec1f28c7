/* lsc-replay - sends a trace's requests to a server at their times, and tells how it answered
 *
 * What is due when is decided in lib/load/timetable.c, what a prompt is made of in
 * lib/load/prompt.c; replay/sender.c sends and replay/http.c knows HTTP; lib/load/tally.c adds up
 * what comes of it.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "cli/tool.h"
#include "load/answer.h"
#include "replay/options.h"
#include "replay/output.h"
#include "replay/sender.h"

#define MAX_KEY 4096u

struct replay {
	const struct replay_options *opt;
	struct lsc_trace trace;
	struct lsc_timetable table;
	struct lsc_text text;
	struct lsc_tally *tally;
	struct replay_output records;
	struct lsc_buf key;
	char *model;
};

static void replay_release(struct replay *replay)
{
	lsc_trace_release(&replay->trace);
	lsc_timetable_release(&replay->table);
	lsc_text_release(&replay->text);
	free(replay->tally);
	replay_output_release(&replay->records);
	lsc_buf_release(&replay->key);
	free(replay->model);
}

static const struct lsc_trace *trace_of(const struct replay *replay)
{
	return replay->opt->trace ? &replay->trace : NULL;
}

static int make_timetable(struct replay *replay, struct lsc_err *err)
{
	const struct replay_options *opt = replay->opt;
	int r = 0;

	lsc_timetable_bound(&opt->timetable, &replay->trace);
	if (opt->trace)
		r = lsc_trace_read(&replay->trace, opt->trace, err);
	if (r < 0)
		return r;
	if (opt->trace)
		lsc_info("'%s': %u requests, format %s", opt->trace, replay->trace.n,
			 lsc_trace_format_name(replay->trace.format));
	if (replay->trace.unordered)
		lsc_warning("'%s': %u requests out of their order, sorted", opt->trace,
			    replay->trace.unordered);
	r = lsc_timetable_make(&replay->table, &opt->timetable, trace_of(replay), err);
	if (r < 0)
		return opt->trace ? lsc_err_prefix(err, "'%s': ", opt->trace) : r;
	return replay->table.n ? 0 : lsc_err_set(err, EINVAL, "no request is due");
}

static int dry_run(struct replay *replay, struct lsc_err *err)
{
	const struct replay_options *opt = replay->opt;
	int r = replay_output_open(&replay->records, opt->records ? opt->records : "-",
				   !opt->records, opt->force, err);

	if (!r)
		r = replay_output_timetable(&replay->records, &replay->table, trace_of(replay),
					    err);
	return r ? r : replay_output_close(&replay->records, err);
}

static int load_text(struct replay *replay, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf bytes = LSC_BUF_INIT;
	const char *path = replay->opt->text_file;
	int r;

	if (!path)
		return lsc_text_init(&replay->text, lsc_text_builtin, strlen(lsc_text_builtin),
				     err);
	r = lsc_file_read(path, LSC_TEXT_MAX_BYTES, &bytes, err);
	if (r < 0)
		return r;
	r = lsc_text_init(&replay->text, (const char *)bytes.data, bytes.len, err);
	return r < 0 ? lsc_err_prefix(err, "'%s': ", path) : 0;
}

/* The first line of the key's file, without blanks around it: it goes into a header. */
static int load_key(struct replay *replay, const char **ret_key, struct lsc_err *err)
{
	const char *path = replay->opt->key_file;
	char *key;
	int r;

	if (!path)
		return 0;
	if (!strcmp(path, "-"))
		r = lsc_fd_read(STDIN_FILENO, "standard input", MAX_KEY, &replay->key, err);
	else
		r = lsc_file_read(path, MAX_KEY, &replay->key, err);
	if (r < 0)
		return r;
	key = (char *)replay->key.data;
	key += strspn(key, " \t");
	key[strcspn(key, " \t\r\n")] = 0;
	if (!*key)
		return lsc_err_set(err, EBADMSG, "'%s': no key in its first line", path);
	for (const char *c = key; *c; c++)
		if (*c <= ' ' || *c == 127)
			return lsc_err_set(err, EBADMSG, "'%s': not a key that a header can hold",
					   path);
	*ret_key = key;
	return 0;
}

static int find_model(struct replay *replay, const struct replay_server *server,
		      struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf body = LSC_BUF_INIT;
	int r = replay_http_get(server, "/models", &body, err);

	if (r < 0)
		return lsc_err_prefix(err, "no --model, and the server tells none: ");
	r = lsc_answer_model((const char *)body.data, body.len, &replay->model, err);
	if (r == -EBADMSG)
		return lsc_err_set(err, EPROTO, "no --model, and '%s' lists none", server->url);
	if (r == 0)
		lsc_info("model %s", replay->model);
	return r;
}

static int on_result(void *owner, const struct lsc_result *result, struct lsc_err *err)
{
	struct replay *replay = owner;

	if (replay->records.fd < 0)
		return 0;
	return replay_output_put(&replay->records, lsc_result_pack(result, &replay->records.pack),
				 err);
}

static int open_records(struct replay *replay, const char *model, struct lsc_err *err)
{
	const struct replay_options *opt = replay->opt;
	struct lsc_pack *pack = &replay->records.pack;
	int r;

	if (!opt->records)
		return 0;
	r = replay_output_open(&replay->records, opt->records, false, opt->force, err);
	if (r < 0)
		return r;
	lsc_pack_begin(pack, "replay");
	lsc_pack_real(pack, "clock", lsc_clock_wall_s());
	lsc_pack_str(pack, "url", opt->url);
	lsc_pack_str(pack, "model", model);
	lsc_pack_bool(pack, "chat", opt->chat);
	lsc_pack_uint(pack, "seed", opt->timetable.seed);
	lsc_pack_uint(pack, "due", replay->table.n);
	return replay_output_put(&replay->records, lsc_pack_end(pack), err);
}

/* Everything that there is to tell, also where some of it fails. */
static int report(struct replay *replay, struct lsc_err *err)
{
	const struct replay_options *opt = replay->opt;
	struct replay_output *records = &replay->records;
	int r = 0;

	if (opt->records)
		r = replay_output_put(records,
				      lsc_series_pack(&replay->tally->series, &records->pack), err);
	if (!r && opt->records)
		r = replay_output_put(records, lsc_tally_pack(replay->tally, &records->pack), err);
	if (!r)
		r = replay_output_close(records, err);
	if (!r && opt->svg)
		r = replay_draw(replay->tally, opt->svg, err);
	if (!opt->records || strcmp(opt->records, "-")) {
		struct lsc_err late = LSC_ERR_INIT;
		int printed = replay_print(replay->tally, opt->json, r ? &late : err);

		r = r ? r : printed;
	}
	if (r < 0)
		return r;
	return replay->tally->outcomes[LSC_OUTCOME_OK] == replay->tally->due ? 0 : LSC_EXIT_NO;
}

static int run(struct replay *replay, struct lsc_err *err)
{
	const struct replay_options *opt = replay->opt;
	struct replay_server server = {
		.url = opt->url, .ca_file = opt->ca_file, .timeout_s = opt->timeout_s};
	struct replay_job job = {.server = &server,
				 .table = &replay->table,
				 .trace = trace_of(replay),
				 .text = &replay->text,
				 .ask = {.model = opt->model,
					 .chat = opt->chat,
					 .ignore_eos = opt->ignore_eos,
					 .no_usage = opt->no_usage,
					 .greedy = opt->greedy},
				 .seed = opt->timetable.seed,
				 .max_at_once = (uint32_t)opt->max_concurrency,
				 .on_result = on_result,
				 .owner = replay};
	int r = make_timetable(replay, err);

	if (r < 0 || opt->dry_run)
		return r < 0 ? r : dry_run(replay, err);
	if ((r = replay_http_check(opt->url, err)) < 0 || (r = load_text(replay, err)) < 0 ||
	    (r = load_key(replay, &server.key, err)) < 0)
		return r;
	if (!opt->model && (r = find_model(replay, &server, err)) < 0)
		return r;
	if (!opt->model)
		job.ask.model = replay->model;
	job.tally = replay->tally = lsc_tally_new();
	if (!job.tally)
		return lsc_err_set(err, ENOMEM, "%m");
	job.tally->objectives = opt->objectives;
	job.tally->due = replay->table.n;
	lsc_gauge_init(&job.gauge, opt->tokens_per_word);
	r = open_records(replay, job.ask.model, err);
	if (r == 0)
		r = replay_sender_run(&job, err);
	return r < 0 ? r : report(replay, err);
}

int main(int argc, char **argv)
{
	struct replay_options opt = REPLAY_OPTIONS_INIT;
	struct replay replay = {
		.opt = &opt,
		.trace = LSC_TRACE_INIT,
		.records = REPLAY_OUTPUT_INIT,
	};
	struct lsc_err err = LSC_ERR_INIT;
	int r;

	lsc_tool_parse(&replay_argp, argc, argv, &opt);
	r = run(&replay, &err);
	replay_release(&replay);
	return lsc_tool_finish(r, &err);
}
