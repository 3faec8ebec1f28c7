/* replicas_output - where replicas start: a table, records, or the commands that would do it */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/amount.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "replicas.h"
#include "stream/json.h"

#define WIDEST 40 /* of a column with names */

struct output {
	const struct replicas_options *opt;
	const struct lsc_start *start;
	const struct lsc_start_choice *choices;
	uint32_t found, sources;
	double ready_s;
	struct lsc_buf text;
	struct lsc_pack pack;
};

static void output_release(struct output *output)
{
	lsc_buf_release(&output->text);
	lsc_pack_release(&output->pack);
}

static int nothing_more(struct output *output, int r, struct lsc_err *err)
{
	if (!r)
		r = lsc_write_full(STDOUT_FILENO, output->text.data, output->text.len);
	return r < 0 ? lsc_err_set(err, -r, "cannot write standard output: %m") : 0;
}

static bool receives(const struct lsc_start_choice *choice)
{
	return choice->how == LSC_START_RECEIVES || choice->how == LSC_START_BOTH;
}

static bool reads(const struct lsc_start_choice *choice)
{
	return choice->how == LSC_START_READS || choice->how == LSC_START_BOTH;
}

static bool is_whole(const struct lsc_start_node *node)
{
	return node->have[LSC_TIER_GPU] >= 1 || node->have[LSC_TIER_HOST] >= 1 ||
	       node->have[LSC_TIER_DISK] >= 1;
}

/* --- in words --- */

/* Names come from elsewhere: nothing in them is to move a terminal's cursor or end a comment. */
static int add_plain(struct lsc_buf *buf, const char *text)
{
	int r = 0;

	for (; *text && !r; text++)
		r = lsc_buf_add(buf, iscntrl((unsigned char)*text) ? "?" : text, 1);
	return r;
}

/* What a chosen node is ready from, or why another is not chosen. */
static int add_why(struct output *output, uint32_t i, struct lsc_buf *buf)
{
	const struct lsc_start_choice *choice = &output->choices[i];
	const struct lsc_start_node *node = &output->start->nodes[i];
	uint32_t others = output->sources - choice->source;
	int r = 0;

	if (choice->how == LSC_START_CANNOT && choice->lacks < LSC_TIERS)
		return lsc_buf_printf(buf, "%s: %s can be free, and %s are needed",
				      lsc_tier_words(choice->lacks),
				      lsc_amount_bytes(node->room[choice->lacks]).text,
				      lsc_amount_bytes(output->start->bytes).text);
	if (choice->how == LSC_START_CANNOT)
		return add_plain(buf, choice->why);
	if (choice->how == LSC_START_SERVES)
		r = lsc_buf_printf(buf, "has it in %s",
				   lsc_tier_words(node->have[LSC_TIER_GPU] >= 1 ? LSC_TIER_GPU
										: LSC_TIER_HOST));
	if (choice->how == LSC_START_COPIES)
		r = lsc_buf_printf(buf, "from host memory, at %s", lsc_amount_rate(node->gpu).text);
	if (reads(choice))
		r = lsc_buf_printf(buf, "from disk, at %s%s", lsc_amount_rate(node->disk).text,
				   receives(choice) ? ", and " : "");
	if (!r && receives(choice))
		r = lsc_buf_printf(buf, "from %u %s, at %s", others, others == 1 ? "node" : "nodes",
				   lsc_amount_rate(choice->rate).text);
	if (!r && choice->frees)
		r = lsc_buf_printf(buf, "; %s have to leave first",
				   lsc_amount_bytes(choice->frees).text);
	return !r && !choice->chosen ? lsc_buf_add_str(buf, "; others are ready sooner") : r;
}

/* --- a table --- */

static int width(const struct lsc_start *start)
{
	size_t widest = strlen("node");

	for (uint32_t i = 0; i < start->n_nodes; i++)
		widest = LSC_MAX(widest, strlen(start->nodes[i].name));
	return (int)LSC_MIN(widest, (size_t)WIDEST);
}

static int add_row(struct output *output, uint32_t i, int wide)
{
	const struct lsc_start_choice *choice = &output->choices[i];
	struct lsc_buf *text = &output->text;
	size_t at = text->len;
	int r = add_plain(text, output->start->nodes[i].name);

	if (!r)
		r = lsc_buf_printf(text, "%*s  %-8s  %-6s  %8s  ",
				   (int)LSC_MAX(wide - (int)(text->len - at), 0), "",
				   choice->chosen ? lsc_start_how_name(choice->how) : "-",
				   choice->source ? "source" : "",
				   choice->how == LSC_START_CANNOT
					   ? "-"
					   : lsc_amount_seconds(choice->ready_s).text);
	if (!r)
		r = add_why(output, i, text);
	return r ? r : lsc_buf_add_str(text, "\n");
}

/* In the order in which nodes are ready. */
static int add_table(struct output *output)
{
	const struct lsc_start *start = output->start;
	LSC_CLEANUP_FREE uint32_t *order = calloc(start->n_nodes + (size_t)1, sizeof(*order));
	struct lsc_buf *text = &output->text;
	int wide = width(start), r = order ? 0 : -ENOMEM;

	if (!r)
		r = add_plain(text, output->opt->model);
	if (!r)
		r = lsc_buf_printf(text, ": %s, in %s on %u of %u nodes",
				   lsc_amount_bytes(start->bytes).text,
				   lsc_tier_words(start->target), output->found, start->n_nodes);
	if (!r && output->found)
		r = lsc_buf_printf(text, ", all ready after %s",
				   lsc_amount_seconds(output->ready_s).text);
	if (!r)
		r = lsc_buf_printf(text, "\n%-*s  how       sends      ready  why\n", wide, "node");
	for (uint32_t i = 0; i < start->n_nodes && !r; i++)
		order[output->choices[i].place] = i;
	for (uint32_t k = 0; k < start->n_nodes && !r; k++)
		r = add_row(output, order[k], wide);
	return r;
}

/* --- records --- */

static int put_record(struct output *output, int packed)
{
	const struct lsc_buf *buf = &output->pack.buf;

	if (packed)
		return packed;
	if (output->opt->format == REPLICAS_RECORDS)
		return lsc_buf_add(&output->text, buf->data, buf->len);
	packed = lsc_json_write(buf->data, buf->len, &output->text, NULL);
	return packed ? packed : lsc_buf_add_str(&output->text, "\n");
}

static int put_start(struct output *output, const struct holders *holders)
{
	struct lsc_pack *pack = &output->pack;

	lsc_pack_begin(pack, "start");
	lsc_pack_str(pack, "model", output->opt->model);
	if (holders->image)
		lsc_pack_bin(pack, "id", holders->image->id.bytes, LSC_HASH_BYTES);
	lsc_pack_uint(pack, "bytes", output->start->bytes);
	lsc_pack_str(pack, "tier", lsc_tier_name(output->start->target));
	lsc_pack_uint(pack, "replicas", output->start->replicas);
	lsc_pack_uint(pack, "found", output->found);
	if (output->found)
		lsc_pack_real(pack, "ready_s", output->ready_s);
	return put_record(output, lsc_pack_end(pack));
}

static int put_choice(struct output *output, uint32_t i)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf why = LSC_BUF_INIT;
	const struct lsc_start_choice *choice = &output->choices[i];
	struct lsc_pack *pack = &output->pack;
	int r = add_why(output, i, &why);

	if (r)
		return r;
	lsc_pack_begin(pack, "node");
	lsc_pack_str(pack, "node", output->start->nodes[i].name);
	lsc_pack_str(pack, "how", lsc_start_how_name(choice->how));
	lsc_pack_bool(pack, "chosen", choice->chosen);
	lsc_pack_bool(pack, "source", choice->source);
	lsc_pack_uint(pack, "place", choice->place);
	if (choice->how != LSC_START_CANNOT)
		lsc_pack_real(pack, "ready_s", choice->ready_s);
	if (receives(choice))
		lsc_pack_real(pack, "rate", choice->rate);
	if (choice->frees)
		lsc_pack_uint(pack, "frees", choice->frees);
	lsc_pack_str(pack, "why", (const char *)why.data);
	return put_record(output, lsc_pack_end(pack));
}

static int add_records(struct output *output, const struct holders *holders)
{
	int r = put_record(output, lsc_pack_hello(&output->pack, "start"));

	if (!r)
		r = put_start(output, holders);
	for (uint32_t i = 0; i < output->start->n_nodes && !r; i++)
		r = put_choice(output, i);
	lsc_pack_begin(&output->pack, "end");
	return r ? r : put_record(output, lsc_pack_end(&output->pack));
}

/* --- commands --- */

static bool is_simple(const char *text)
{
	return *text && *text != '-' &&
	       text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				 "._:/@%+=,-")] == '\0';
}

/* One word for a shell. */
static int add_word(struct lsc_buf *buf, const char *text)
{
	int r;

	if (is_simple(text))
		return lsc_buf_add_str(buf, text);
	r = lsc_buf_add_str(buf, "'");
	for (; *text && !r; text++)
		r = *text == '\'' ? lsc_buf_add_str(buf, "'\\''") : lsc_buf_add(buf, text, 1);
	return r ? r : lsc_buf_add_str(buf, "'");
}

/* A node's own part, which it does without the others. */
static int add_own(struct output *output, uint32_t i)
{
	struct lsc_buf *text = &output->text;
	int r = lsc_buf_add_str(text, "# ");

	if (!r)
		r = add_plain(text, output->start->nodes[i].name);
	if (!r)
		r = lsc_buf_printf(text, " %s: ", lsc_start_how_name(output->choices[i].how));
	if (!r)
		r = add_why(output, i, text);
	return r ? r : lsc_buf_add_str(text, "\n");
}

enum list { TO_ASK, RECEIVERS };

/* One that sends the whole image has it, and is not sent it; one that sends parts may get the rest.
 */
static bool is_in(const struct output *output, uint32_t i, enum list list)
{
	const struct lsc_start_choice *choice = &output->choices[i];
	bool is_sent = choice->chosen && receives(choice) &&
		       !(choice->source && is_whole(&output->start->nodes[i]));

	return list == RECEIVERS ? is_sent : choice->source && !is_sent;
}

/* A list of nodes as the value of an option; nothing where there are none. */
static int add_list(struct output *output, const char *option, enum list list)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf names = LSC_BUF_INIT;
	int r = 0;

	for (uint32_t i = 0; i < output->start->n_nodes && !r; i++) {
		if (!is_in(output, i, list))
			continue;
		if (names.len)
			r = lsc_buf_add_str(&names, ",");
		if (!r)
			r = lsc_buf_add_str(&names, output->start->nodes[i].name);
	}
	if (r || !names.len)
		return r;
	r = lsc_buf_printf(&output->text, " %s ", option);
	return r ? r : add_word(&output->text, (const char *)names.data);
}

/* Sources are found by asking them: one that has lost it meanwhile is none. */
static int add_cast(struct output *output)
{
	struct lsc_buf *text = &output->text;
	bool dash = output->opt->model[0] == '-';
	int r = lsc_buf_add_str(text, dash ? "lsc-cast send" : "lsc-cast send ");

	if (!r && !dash)
		r = add_word(text, output->opt->model);
	if (!r)
		r = lsc_buf_add_str(text, " --sources auto");
	if (!r)
		r = add_list(output, "--ask", TO_ASK);
	if (!r)
		r = add_list(output, "--to", RECEIVERS);
	if (!r && dash)
		r = lsc_buf_add_str(text, " -- ");
	if (!r && dash)
		r = add_word(text, output->opt->model);
	return r ? r : lsc_buf_add_str(text, "\n");
}

static int add_commands(struct output *output)
{
	uint32_t receivers = 0;
	int r = 0;

	for (uint32_t i = 0; i < output->start->n_nodes && !r; i++) {
		bool cast = is_in(output, i, RECEIVERS);

		receivers += cast;
		if (output->choices[i].chosen && !cast)
			r = add_own(output, i);
	}
	return r || !receivers ? r : add_cast(output);
}

int replicas_output(const struct replicas_options *opt, const struct holders *holders,
		    const struct lsc_start *start, const struct lsc_start_choice *choices,
		    uint32_t found, struct lsc_err *err)
{
	LSC_CLEANUP(output_release)
	struct output output = {.opt = opt,
				.start = start,
				.choices = choices,
				.found = found,
				.text = LSC_BUF_INIT,
				.pack = LSC_PACK_INIT};

	for (uint32_t i = 0; i < start->n_nodes; i++) {
		output.sources += choices[i].source;
		if (choices[i].chosen)
			output.ready_s = LSC_MAX(output.ready_s, choices[i].ready_s);
	}
	if (opt->format == REPLICAS_TABLE)
		return nothing_more(&output, add_table(&output), err);
	if (opt->format == REPLICAS_COMMANDS)
		return nothing_more(&output, add_commands(&output), err);
	return nothing_more(&output, add_records(&output, holders), err);
}
