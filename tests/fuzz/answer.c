/* fuzz answer: any bytes as a streamed answer, at once and a few bytes at a time: the same comes of
 * it; and as the bodies of errors and of lists of models */
#include "load/answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static int feed(struct lsc_answer *answer, const uint8_t *data, size_t len, size_t piece)
{
	int r = 0;

	for (size_t at = 0; at < len && !r; at += piece)
		r = lsc_answer_feed(answer, at, data + at, LSC_MIN(piece, len - at), NULL);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct lsc_digest gaps;
	LSC_CLEANUP(lsc_answer_release) struct lsc_answer whole, cut;
	LSC_CLEANUP_FREE char *model = NULL;
	char text[64];
	int r;

	lsc_answer_init(&whole, &gaps);
	lsc_answer_init(&cut, NULL);
	r = feed(&whole, data, len, len ? len : 1);
	check(r == 0 || r == -EBADMSG || r == -EREMOTEIO);
	for (size_t piece = 1; piece < 8; piece += 3) {
		lsc_answer_reset(&cut);
		check(feed(&cut, data, len, piece) == r);
		check(cut.chunks == whole.chunks && cut.done == whole.done &&
		      cut.has_usage == whole.has_usage &&
		      cut.prompt_tokens == whole.prompt_tokens &&
		      cut.output_tokens == whole.output_tokens);
		check(r || whole.done ||
		      (cut.events.line.len == whole.events.line.len &&
		       cut.events.has_data == whole.events.has_data));
		check(cut.first_ns <= cut.last_ns);
	}
	lsc_answer_error_text((const char *)data, len, text, sizeof(text));
	check(memchr(text, 0, sizeof(text)) && !memchr(text, '\n', strlen(text)));
	if (lsc_answer_model((const char *)data, len, &model, NULL) == 0)
		check(model && *model);
	return 0;
}
