/* event_stream: events come out alike however the bytes are cut */
#include "tap.h"

#include "base/cleanup.h"
#include "load/event_stream.h"

static struct lsc_err err;

/* Writes "type|data;" for each event. */
static int note(void *owner, const char *type, const char *data, size_t len, struct lsc_err *e)
{
	struct lsc_buf *buf = owner;

	(void)e;
	lsc_buf_printf(buf, "%s|", type);
	lsc_buf_add(buf, data, len);
	lsc_buf_add_str(buf, ";");
	return !strcmp(data, "stop") ? -ECANCELED : 0;
}

static int feed(const char *text, size_t len, size_t piece, struct lsc_buf *got)
{
	struct lsc_event_stream stream = LSC_EVENT_STREAM_INIT(note, got);
	int r = 0;

	lsc_buf_add_str(got, "");
	for (size_t at = 0; at < len && !r; at += piece) {
		size_t n = piece < len - at ? piece : len - at;
		char *exact = malloc(n);

		memcpy(exact, text + at, n);
		r = lsc_event_stream_feed(&stream, exact, n, &err);
		free(exact);
	}
	lsc_event_stream_release(&stream);
	return r;
}

static void check(const char *what, const char *text, const char *want)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf whole = LSC_BUF_INIT;
	bool alike = true;

	feed(text, strlen(text), strlen(text) + 1, &whole);
	is_str((const char *)whole.data, want, "%s", what);
	for (size_t piece = 1; piece < strlen(text); piece++) {
		LSC_CLEANUP(lsc_buf_release) struct lsc_buf cut = LSC_BUF_INIT;

		feed(text, strlen(text), piece, &cut);
		alike = alike && cut.len == whole.len && !memcmp(cut.data, whole.data, whole.len);
	}
	ok(alike, "%s: however it is cut", what);
}

static void test_events(void)
{
	check("an event", "data: one\n\n", "|one;");
	check("CRLF", "data: one\r\n\r\ndata: two\r\n\r\n", "|one;|two;");
	check("CR", "data: one\r\rdata: two\r\r", "|one;|two;");
	check("ends of lines that differ", "data: a\rdata: b\ndata: c\r\n\r\n", "|a\nb\nc;");
	check("a CR and an empty line", "data: a\r\n\rdata: b\n\n", "|a;|b;");
	check("no blank behind the colon", "data:one\n\n", "|one;");
	check("two blanks", "data:  one\n\n", "| one;");
	check("comments", ": hello\n:\ndata: one\n: more\n\n:\n\n", "|one;");
	check("a type", "event: error\ndata: x\n\ndata: y\n\n", "error|x;|y;");
	check("a type without data", "event: error\n\ndata: y\n\n", "|y;");
	check("other fields", "id: 7\nretry: 10\nfoo: bar\ndata: x\ndatax: y\n dat: z\n\n", "|x;");
	check("a field without a colon", "data\n\n", "|;");
	check("empty data", "data:\n\n", "|;");
	check("empty lines of data", "data\ndata\n\n", "|\n;");
	check("colons in data", "data: a:b: c\n\n", "|a:b: c;");
	check("a byte order mark",
	      "\xef\xbb\xbf"
	      "data: x\n\n",
	      "|x;");
	check("one that is none",
	      "data: x\n\n\xef\xbb\xbf"
	      "data: y\n\n",
	      "|x;");
	check("text of many bytes a character", "data: \xf0\x9f\x90\x8b\xe2\x82\xac\n\n",
	      "|\xf0\x9f\x90\x8b\xe2\x82\xac;");
	check("no end", "data: one\n\ndata: two\n", "|one;");
	check("no end of a line", "data: one\n\ndat", "|one;");
	check("a long type is cut", "event: 0123456789012345678901234567890123456789\ndata: x\n\n",
	      "0123456789012345678901234567890|x;");
	check("nothing", "\n\n\n", "");
}

static void test_limits(void)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf got = LSC_BUF_INIT, text = LSC_BUF_INIT;

	is_int(feed("data: stop\n\ndata: x\n\n", 21, 100, &got), -ECANCELED,
	       "what the owner says ends it");
	is_str((const char *)got.data, "|stop;", "at once");
	lsc_buf_add_str(&text, "data:");
	while (text.len <= LSC_EVENT_MAX_BYTES)
		lsc_buf_add_str(&text, "0123456789abcdef");
	is_int(feed((char *)text.data, text.len, 4096, &got), -EBADMSG, "a line too long");
	text.len = 0;
	while (text.len <= 2 * LSC_EVENT_MAX_BYTES)
		lsc_buf_add_str(&text, "data: 0123456789abcdef\n");
	is_int(feed((char *)text.data, text.len, 4096, &got), -EBADMSG, "an event too long");
}

int main(void)
{
	test_events();
	test_limits();
	return done_testing();
}
