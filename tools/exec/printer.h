/* What `lsc-exec run` prints of an answer: its text, its ids, or lines of probabilities. */
#ifndef LSC_TOOLS_EXEC_PRINTER_H
#define LSC_TOOLS_EXEC_PRINTER_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/sampling.h"
#include "model/stop.h"
#include "model/tokenizer.h"

struct exec_printer {
	enum { EXEC_PRINT_TEXT, EXEC_PRINT_IDS, EXEC_PRINT_LOGPROBS } form;
	bool any; /* token was printed */
	struct lsc_detokenizer detokenizer;
	struct lsc_stopper stopper;
	struct lsc_buf raw, text; /* as it comes, and as it is printed */
};

#define EXEC_PRINTER_INIT                                                                          \
	{                                                                                          \
		0                                                                                  \
	}

/* With form set.  Borrows the tokenizer and the texts that end the answer. */
void exec_printer_begin(struct exec_printer *printer, const struct lsc_tokenizer *tokenizer,
			const struct lsc_stops *stops);
void exec_printer_release(struct exec_printer *printer);

/* Prints a token; 1 where the answer ends with it. */
int exec_printer_add(struct exec_printer *printer, const struct lsc_drawn *drawn,
		     struct lsc_err *err);

/* Prints what was held back, and ends the last line. */
int exec_printer_end(struct exec_printer *printer, struct lsc_err *err);

#endif
