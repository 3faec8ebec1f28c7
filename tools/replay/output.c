/* output - records, a timetable and a report of lsc-replay
 *
 * Records are gathered and written a second later at the latest, so that no answer that comes
 * meanwhile waits for a disk.
 */
#include "output.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/macros.h"
#include "load/plot.h"
#include "stream/json.h"

#define FLUSH_BYTES (64u << 10)
#define FLUSH_NS    1000000000u

int replay_output_open(struct replay_output *output, const char *path, bool json, bool force,
		       struct lsc_err *err)
{
	bool standard = !strcmp(path, "-");

	output->json = json;
	output->owned = !standard;
	output->fd = standard ? STDOUT_FILENO
			      : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (output->fd < 0)
		return lsc_err_set(err, errno, "cannot write '%s': %m", path);
	if (!json && !force && isatty(output->fd))
		return lsc_err_set(err, EINVAL, "records are binary: -f writes them to a terminal");
	return replay_output_put(output, lsc_pack_hello(&output->pack, "replay"), err);
}

static int flush(struct replay_output *output, struct lsc_err *err)
{
	int r = lsc_write_full(output->fd, output->text.data, output->text.len);

	output->text.len = 0;
	output->flushed_ns = lsc_clock_ns();
	return r < 0 ? lsc_err_set(err, -r, "cannot write records: %m") : 0;
}

int replay_output_close(struct replay_output *output, struct lsc_err *err)
{
	int r = output->fd >= 0 ? flush(output, err) : 0;

	if (output->owned && output->fd >= 0 && close(output->fd) < 0 && r == 0)
		r = lsc_err_set(err, errno, "cannot write records: %m");
	output->fd = -1;
	return r;
}

void replay_output_release(struct replay_output *output)
{
	if (output->owned && output->fd >= 0)
		close(output->fd);
	lsc_pack_release(&output->pack);
	lsc_buf_release(&output->text);
}

int replay_output_put(struct replay_output *output, int packed, struct lsc_err *err)
{
	const struct lsc_buf *buf = &output->pack.buf;
	int r = packed;

	if (output->fd < 0)
		return 0;
	if (!r && output->json)
		r = lsc_json_write(buf->data, buf->len, &output->text, err);
	else if (!r)
		r = lsc_buf_add(&output->text, buf->data, buf->len);
	if (!r && output->json)
		r = lsc_buf_add_str(&output->text, "\n");
	if (r)
		return lsc_err_set(err, -r, "no memory for a record");
	if (output->text.len < FLUSH_BYTES && lsc_clock_ns() - output->flushed_ns < FLUSH_NS)
		return 0;
	return flush(output, err);
}

static int pack_due(struct lsc_pack *pack, const struct lsc_due *due, uint32_t number,
		    const struct lsc_trace *trace)
{
	const struct lsc_trace_row *row =
		trace && due->row != LSC_NO_ROW ? &trace->rows[due->row] : NULL;
	uint64_t blocks = lsc_div_up(due->prompt, LSC_TRACE_BLOCK_TOKENS);

	lsc_pack_begin(pack, "due");
	lsc_pack_uint(pack, "request", number);
	lsc_pack_real(pack, "due", (double)due->at_ns / 1e9);
	lsc_pack_uint(pack, "prompt", due->prompt);
	lsc_pack_uint(pack, "output", due->output);
	if (row) {
		lsc_pack_uint(pack, "line", row->line);
		if (due->copy)
			lsc_pack_uint(pack, "copy", due->copy);
	}
	if (row && row->n_blocks) {
		blocks = LSC_MIN(blocks, row->n_blocks);
		lsc_pack_array(pack, "blocks", (uint32_t)blocks);
		for (uint64_t i = 0; i < blocks; i++)
			lsc_pack_uint(pack, NULL, trace->blocks[row->first_block + i]);
	}
	return lsc_pack_end(pack);
}

int replay_output_timetable(struct replay_output *output, const struct lsc_timetable *table,
			    const struct lsc_trace *trace, struct lsc_err *err)
{
	int r = 0;

	for (uint32_t i = 0; i < table->n && !r; i++)
		r = replay_output_put(output, pack_due(&output->pack, &table->dues[i], i, trace),
				      err);
	return r;
}

int replay_print(const struct lsc_tally *tally, bool json, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack pack = LSC_PACK_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	int r = json ? lsc_tally_pack(tally, &pack) : lsc_tally_table(tally, &text);

	if (!r && json)
		r = lsc_json_write(pack.buf.data, pack.buf.len, &text, err);
	if (!r && json)
		r = lsc_buf_add_str(&text, "\n");
	if (r)
		return lsc_err_set(err, -r, "no memory for a report");
	r = lsc_write_full(STDOUT_FILENO, text.data, text.len);
	return r < 0 ? lsc_err_set(err, -r, "cannot write standard output: %m") : 0;
}

int replay_draw(const struct lsc_tally *tally, const char *path, struct lsc_err *err)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	int r = lsc_plot_draw(tally, &text, err);

	return r < 0 ? r : lsc_file_write(path, text.data, text.len, err);
}
