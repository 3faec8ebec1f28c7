/* printer - an answer on standard output, token by token
 *
 * Text may be held back: bytes of a character that is not whole, and what a stop string may begin
 * with.  Stop strings end an answer in whatever form it is printed.
 */
#include "printer.h"

#include <unistd.h>

#include "base/io.h"

void exec_printer_begin(struct exec_printer *printer, const struct lsc_tokenizer *tokenizer,
			const struct lsc_stops *stops)
{
	lsc_detokenizer_init(&printer->detokenizer, tokenizer);
	lsc_stopper_init(&printer->stopper, stops);
}

void exec_printer_release(struct exec_printer *printer)
{
	lsc_stopper_release(&printer->stopper);
	lsc_buf_release(&printer->raw);
	lsc_buf_release(&printer->text);
}

static int flush(struct exec_printer *printer, struct lsc_err *err)
{
	int r = lsc_write_full(STDOUT_FILENO, printer->text.data, printer->text.len);

	printer->text.len = 0;
	return r < 0 ? lsc_err_set(err, -r, "cannot write the answer: %m") : 0;
}

static int put_logprobs(struct lsc_buf *line, const struct lsc_drawn *drawn)
{
	int r = lsc_buf_printf(line, "%u %.6g", drawn->token, (double)drawn->logprob);

	for (uint32_t i = 0; i < drawn->n_top && r == 0; i++)
		r = lsc_buf_printf(line, " %u %.6g", drawn->top[i].token,
				   (double)drawn->top[i].logprob);
	return r < 0 ? r : lsc_buf_add_str(line, "\n");
}

/* Takes what came of the text to where it is decided: 1 where a stop string ended it. */
static int settle(struct exec_printer *printer)
{
	int r = lsc_stopper_add(&printer->stopper, printer->raw.data, printer->raw.len,
				&printer->text);

	printer->raw.len = 0;
	return r;
}

int exec_printer_add(struct exec_printer *printer, const struct lsc_drawn *drawn,
		     struct lsc_err *err)
{
	int r = lsc_detokenizer_add(&printer->detokenizer, drawn->token, &printer->raw, err), ended;

	ended = r < 0 ? r : settle(printer);
	if (ended < 0)
		return ended;
	if (printer->form != EXEC_PRINT_TEXT)
		printer->text.len = 0;
	if (printer->form == EXEC_PRINT_IDS)
		r = lsc_buf_printf(&printer->text, "%s%u", printer->any ? " " : "", drawn->token);
	else if (printer->form == EXEC_PRINT_LOGPROBS)
		r = put_logprobs(&printer->text, drawn);
	printer->any = true;
	if (r == 0)
		r = flush(printer, err);
	return r < 0 ? r : ended;
}

int exec_printer_end(struct exec_printer *printer, struct lsc_err *err)
{
	int r = 0;

	if (printer->form == EXEC_PRINT_TEXT && printer->stopper.met < 0) {
		r = lsc_detokenizer_end(&printer->detokenizer, &printer->raw);
		if (r == 0 && (r = settle(printer)) == 0)
			r = lsc_stopper_end(&printer->stopper, &printer->text);
	}
	if (r >= 0 && printer->form != EXEC_PRINT_LOGPROBS) /* whose lines have ended */
		r = lsc_buf_add_str(&printer->text, "\n");
	return r < 0 ? r : flush(printer, err);
}
