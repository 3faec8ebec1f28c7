/* prompt - words of a text, as many as make so many tokens
 *
 * Words are kept escaped for JSON, so that a prompt of a hundred thousand tokens is copied together
 * in the time between two requests.
 */
#include "load/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "load/random.h"
#include "stream/json.h"

#define MAX_WORD     24
#define RUN          4 /* words that follow each other as in the text */
#define MAX_OVERHEAD 300

/* What is drawn from the streams of one seed. */
enum { DRAW_OWN = 16, DRAW_BLOCK };

/* --- a text --- */

static bool is_blank(unsigned char c)
{
	return c <= ' ';
}

/* The bytes of the word at text, which is UTF-8: up to a blank, or to the last whole character
 * within MAX_WORD. */
static size_t word_length(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && !is_blank((unsigned char)text[n]))
		n++;
	if (n <= MAX_WORD)
		return n;
	n = MAX_WORD;
	while (((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	return n;
}

static int add_word(struct lsc_buf *buf, const char *word, size_t len)
{
	int r = lsc_buf_add(buf, " ", 1);

	return r ? r : lsc_json_escape(word, len, buf);
}

static uint32_t count_words(const char *bytes, size_t len)
{
	uint32_t n = 0;

	for (size_t i = 0; i < len;) {
		size_t word = word_length(bytes + i, len - i);

		n += word > 0;
		i += LSC_MAX(word, 1u);
	}
	return n;
}

int lsc_text_init(struct lsc_text *text, const char *bytes, size_t len, struct lsc_err *err)
{
	uint32_t n;
	int r = 0;

	/* First: what finds a word's end goes back to a character's beginning. */
	if (!lsc_utf8_is_valid(bytes, len))
		return lsc_err_set(err, EBADMSG, "the text is not UTF-8");
	n = count_words(bytes, len);
	if (n < LSC_TEXT_MIN_WORDS)
		return lsc_err_set(err, EBADMSG, "the text has %u words, and needs %u", n,
				   LSC_TEXT_MIN_WORDS);
	text->starts = calloc(n + (size_t)1, sizeof(*text->starts));
	for (size_t i = 0; i < len && text->starts && !r;) {
		size_t word = word_length(bytes + i, len - i);

		if (word) {
			text->starts[text->n++] = (uint32_t)text->bytes.len;
			r = add_word(&text->bytes, bytes + i, word);
		}
		i += LSC_MAX(word, 1u);
	}
	if (r < 0 || !text->starts)
		return lsc_err_set(err, ENOMEM, "no memory for a text of %zu bytes", len);
	text->starts[text->n] = (uint32_t)text->bytes.len;
	return 0;
}

void lsc_text_release(struct lsc_text *text)
{
	lsc_buf_release(&text->bytes);
	free(text->starts);
	*text = (struct lsc_text)LSC_TEXT_INIT;
}

/* --- a gauge --- */

void lsc_gauge_init(struct lsc_gauge *gauge, double per_word)
{
	*gauge = (struct lsc_gauge){
		.per_word = per_word > 0 ? per_word : LSC_GAUGE_GUESS,
		.fixed = per_word > 0,
	};
}

static void fit(struct lsc_gauge *gauge)
{
	double n = gauge->answers, spread = n * gauge->words2 - gauge->words * gauge->words;
	double slope = (n * gauge->both - gauge->words * gauge->tokens) / spread;
	double overhead = (gauge->tokens - slope * gauge->words) / n;
	double plain = gauge->tokens / gauge->words;

	/* A line through lengths that hardly differ would be drawn by chance. */
	if (gauge->most >= 2 * gauge->least && slope > plain / 2 && slope < plain * 1.2 &&
	    overhead >= 0 && overhead <= MAX_OVERHEAD) {
		gauge->per_word = slope;
		gauge->overhead = overhead;
	} else {
		gauge->per_word = plain;
	}
}

void lsc_gauge_learn(struct lsc_gauge *gauge, uint32_t words, uint32_t tokens)
{
	double w = words, t = tokens;

	if (gauge->fixed || !words || !tokens)
		return;
	gauge->least = gauge->answers ? fmin(gauge->least, w) : w;
	gauge->most = fmax(gauge->most, w);
	gauge->words += w;
	gauge->tokens += t;
	gauge->words2 += w * w;
	gauge->both += w * t;
	if (++gauge->answers < LSC_GAUGE_ANSWERS)
		return;
	fit(gauge);
	gauge->fixed = true;
}

uint32_t lsc_gauge_words(const struct lsc_gauge *gauge, uint32_t tokens)
{
	double words = (tokens - gauge->overhead) / gauge->per_word;

	return words < 1 ? 1 : (uint32_t)llround(fmin(words, 2.0 * LSC_TRACE_MAX_TOKENS));
}

/* --- a request --- */

static int add_words(const struct lsc_text *text, struct lsc_random random, uint32_t n,
		     struct lsc_buf *buf)
{
	int r = 0;

	while (n && !r) {
		uint32_t run = LSC_MIN(n, (uint32_t)RUN);
		uint32_t from = lsc_random_below(&random, text->n - run + 1);

		r = lsc_buf_add(buf, text->bytes.data + text->starts[from],
				text->starts[from + run] - text->starts[from]);
		n -= run;
	}
	return r;
}

static int add_prompt(const struct lsc_text *text, const struct lsc_gauge *gauge,
		      const struct lsc_due *due, uint32_t number, const struct lsc_trace *trace,
		      uint64_t seed, struct lsc_buf *buf, uint32_t *ret_words)
{
	uint32_t left = lsc_gauge_words(gauge, due->prompt);
	uint32_t block = LSC_MAX((uint32_t)(LSC_TRACE_BLOCK_TOKENS / gauge->per_word), 1u);
	const struct lsc_trace_row *row =
		trace && due->row != LSC_NO_ROW ? &trace->rows[due->row] : NULL;
	int r = 0;

	*ret_words = left;
	for (uint32_t i = 0; row && i < row->n_blocks && left && !r; i++) {
		uint64_t id = trace->blocks[row->first_block + i];
		uint32_t n = LSC_MIN(left, block);

		r = add_words(text, lsc_random_of(seed, DRAW_BLOCK | (uint64_t)due->copy << 32, id),
			      n, buf);
		left -= n;
	}
	return r ? r : add_words(text, lsc_random_of(seed, DRAW_OWN, number), left, buf);
}

static int add_model(const char *model, struct lsc_buf *buf)
{
	int r = lsc_buf_add_str(buf, "{\"model\":\"");

	return r ? r : lsc_json_escape(model, strlen(model), buf);
}

int lsc_ask_body(const struct lsc_ask *ask, const struct lsc_text *text,
		 const struct lsc_gauge *gauge, const struct lsc_due *due, uint32_t number,
		 const struct lsc_trace *trace, uint64_t seed, struct lsc_buf *buf,
		 uint32_t *ret_words)
{
	int r = add_model(ask->model, buf);

	if (!r)
		r = lsc_buf_add_str(buf, ask->chat ? "\",\"messages\":[{\"role\":\"user\","
						     "\"content\":\""
						   : "\",\"prompt\":\"");
	if (!r)
		r = add_prompt(text, gauge, due, number, trace, seed, buf, ret_words);
	if (!r)
		r = lsc_buf_printf(buf, "%s,\"max_tokens\":%u,\"stream\":true%s%s%s}",
				   ask->chat ? "\"}]" : "\"", due->output,
				   ask->no_usage ? ""
						 : ",\"stream_options\":{\"include_usage\":true}",
				   ask->greedy ? ",\"temperature\":0" : "",
				   ask->ignore_eos ? ",\"ignore_eos\":true" : "");
	return r;
}
