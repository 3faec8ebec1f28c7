/* trace: each format, cut anywhere; what is none; real traces where they are */
#include "tap.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "load/trace.h"

static struct lsc_err err;

static int read_cut(struct lsc_trace *trace, const char *text, size_t len, size_t piece)
{
	int r = 0;

	for (size_t at = 0; at < len && !r; at += piece)
		r = lsc_trace_add(trace, text + at, piece < len - at ? piece : len - at, &err);
	return r ? r : lsc_trace_end(trace, &err);
}

static bool same(const struct lsc_trace *a, const struct lsc_trace *b)
{
	return a->n == b->n && a->n_blocks == b->n_blocks && a->format == b->format &&
	       !memcmp(a->rows, b->rows, a->n * sizeof(*a->rows)) &&
	       (!a->n_blocks || !memcmp(a->blocks, b->blocks, a->n_blocks * sizeof(*a->blocks)));
}

/* Rows as "ms:prompt:output ...". */
static void check_file(const char *path, enum lsc_trace_format format, const char *want)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT, rows = LSC_BUF_INIT;
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace whole = LSC_TRACE_INIT;
	bool all = true;

	is_int(lsc_trace_read(&whole, path, &err), 0, "%s is read", path);
	for (uint32_t i = 0; i < whole.n; i++)
		lsc_buf_printf(&rows, "%s%g:%u:%u", i ? " " : "", (double)whole.rows[i].at_ns / 1e6,
			       whole.rows[i].prompt, whole.rows[i].output);
	is_str((const char *)rows.data, want, "its rows");
	is_str(lsc_trace_format_name(whole.format), lsc_trace_format_name(format), "its format");
	lsc_file_read(path, 1 << 20, &text, &err);
	for (size_t piece = 1; piece < 20; piece++) {
		LSC_CLEANUP(lsc_trace_release) struct lsc_trace cut = LSC_TRACE_INIT;

		all = all && read_cut(&cut, (const char *)text.data, text.len, piece) == 0 &&
		      same(&cut, &whole);
	}
	ok(all, "the same in pieces of 1 to 19 bytes");
}

static void test_formats(void)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace trace = LSC_TRACE_INIT;

	check_file("tests/data/traces/azure-2023.csv", LSC_TRACE_AZURE,
		   "0:480:10 52:3180:8 52:110:27 1020.04:7433:1");
	check_file("tests/data/traces/azure-2024.csv", LSC_TRACE_AZURE,
		   "0:2162:5 59.93:2399:6 1050:76:15 1550:2376:14");
	check_file("tests/data/traces/burstgpt.csv", LSC_TRACE_BURSTGPT,
		   "0:472:18 40000:1087:230 113000:417:0 113500:417:276");
	check_file("tests/data/traces/burstgpt-sessions.csv", LSC_TRACE_BURSTGPT,
		   "0:31:4 2750:800:11 3250:900:12");
	check_file("tests/data/traces/mooncake.jsonl", LSC_TRACE_MOONCAKE,
		   "0:1100:50 27:700:5 27:1500:7 3000:12:3");
	check_file("tests/data/traces/times.txt", LSC_TRACE_TIMES,
		   "0:0:0 360:0:0 607:0:0 9162:0:0 9162:0:0");
	lsc_trace_read(&trace, "tests/data/traces/mooncake.jsonl", &err);
	ok(trace.rows[2].n_blocks == 3 && trace.blocks[trace.rows[2].first_block] == 0 &&
		   trace.blocks[trace.rows[2].first_block + 2] == 4 &&
		   trace.blocks[8] == 900000000000,
	   "ids of blocks");
	is_int(trace.rows[3].line, 4, "a row knows its line");
	lsc_trace_release(&trace);
	lsc_trace_read(&trace, "tests/data/traces/burstgpt-sessions.csv", &err);
	is_int(trace.unordered, 1, "what was sorted is counted");
}

static void test_bounds(void)
{
	static const char text[] = "1\n2\n3\n4\n5\n";
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace trace = LSC_TRACE_INIT;

	trace.most = 2;
	ok(read_cut(&trace, text, strlen(text), 3) == 0 && trace.n == 2, "no more rows than asked");
	lsc_trace_release(&trace);
	trace.within_ns = 2000000000;
	ok(read_cut(&trace, text, strlen(text), 3) == 0 && trace.n == 4,
	   "none later than asked, but the next one");
}

static void refuse(const char *text, const char *words)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace trace = LSC_TRACE_INIT;

	is_int(read_cut(&trace, text, strlen(text), 4096), -EBADMSG, "refused: %.40s", text);
	if (!ok(strstr(err.text, words) != NULL, "with words: %s", words))
		printf("# %s\n", err.text);
}

#define AZURE "TIMESTAMP,ContextTokens,GeneratedTokens\n"
#define BURST "Timestamp,Model,Request tokens,Response tokens\n"
#define MOON  "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"hash_ids\":[]}\n"

static void test_bad(void)
{
	refuse("", "no request");
	refuse("\n\n", "no request");
	refuse("time,tokens\n1,2\n", "line 1: neither the columns");
	refuse(AZURE, "no request");
	refuse(AZURE "2023-11-16 18:17:03,1\n", "line 2: fewer than the 3 columns");
	refuse(AZURE "2023-11-16 18:17:03,1,2,3\n", "line 2: more than");
	refuse(AZURE "2023-13-16 18:17:03,1,2\n", "'2023-13-16 18:17:03' is not a date and a time");
	refuse(AZURE "2023-11-16 18:17,1,2\n", "is not a date");
	refuse(AZURE "2023-11-16 18:17:03+2,1,2\n", "is not a date");
	refuse(AZURE "1700000000,1,2\n", "is not a date");
	refuse(AZURE "2023-11-16 18:17:03,-1,2\n", "'-1' is not a number of tokens");
	refuse(AZURE "2023-11-16 18:17:03,1.5,2\n", "'1.5' is not a number of tokens");
	refuse(AZURE "2023-11-16 18:17:03,1,\n", "'' is not a number of tokens");
	refuse(AZURE "2023-11-16 18:17:03,1,99999999\n", "more than 4194304 tokens");
	refuse(AZURE "2023-11-16 18:17:03,1,99999999999999999999\n", "is not a number of tokens");
	refuse(AZURE "2023-11-16 18:17:03,1,2\n2025-11-16 18:17:03,1,2\n",
	       "line 3: more than a year");
	refuse(BURST "x,GPT-4,1,2\n", "'x' is not a time");
	refuse(BURST "0x10,GPT-4,1,2\n", "'0x10' is not a time");
	refuse(BURST "1e999,GPT-4,1,2\n", "is not a time");
	refuse(BURST "-5,GPT-4,1,2\n", "is not a time");
	refuse("5\n4\n", "line 2: a time before");
	refuse("5\nfive\n", "line 2: 'five' is not a time");
	refuse("5 6\n", "line 1: '5 6' is not a time");
	refuse(MOON "{\n", "line 2: not JSON");
	refuse(MOON "[]\n", "line 2: not a JSON object");
	refuse("{\"timestamp\":0,\"input_length\":1}\n", "no output_length");
	refuse("{\"timestamp\":\"0\",\"input_length\":1,\"output_length\":1}\n", "no timestamp");
	refuse("{\"timestamp\":-1,\"input_length\":1,\"output_length\":1}\n", "no timestamp");
	refuse("{\"timestamp\":0,\"input_length\":1.5,\"output_length\":1}\n", "no input_length");
	refuse("{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"hash_ids\":7}\n",
	       "hash_ids are not an array");
	refuse("{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"hash_ids\":[\"a\"]}\n",
	       "hash_ids that are not whole numbers");
	refuse("{\"timestamp\":0,\"timestamp\":1}\n", "not JSON");
}

static void test_long_line(void)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace trace = LSC_TRACE_INIT;
	LSC_CLEANUP_FREE char *line = malloc(LSC_TRACE_MAX_LINE + 2);

	memset(line, '1', LSC_TRACE_MAX_LINE + 2);
	is_int(read_cut(&trace, line, LSC_TRACE_MAX_LINE + 2, 4096), -EBADMSG, "a line too long");
	ok(trace.part.len <= LSC_TRACE_MAX_LINE, "is not gathered");
}

static void test_real(void)
{
	static const struct {
		const char *path;
		uint32_t rows;
		double last_s;
	} files[] = {
		{"traces/AzureLLMInferenceTrace_code.csv", 8819, 3435.948},
		{"traces/AzureLLMInferenceTrace_conv.csv", 19366, 3501.722},
		{"traces/mooncake_conversation_trace.jsonl", 12031, 3536.999},
		{"traces/lambda-scale_trace_0.txt", 498, 1762.827},
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		LSC_CLEANUP(lsc_trace_release) struct lsc_trace trace = LSC_TRACE_INIT;
		const char *path = test_data(files[i].path);

		if (!path) {
			skip("no test data %s", files[i].path);
			continue;
		}
		ok(lsc_trace_read(&trace, path, &err) == 0 && trace.n == files[i].rows,
		   "%s: %u rows", files[i].path, trace.n);
		ok((double)trace.rows[trace.n - 1].at_ns / 1e9 - files[i].last_s < 0.001 &&
			   (double)trace.rows[trace.n - 1].at_ns / 1e9 - files[i].last_s > -0.001,
		   "the last after %.3f s", (double)trace.rows[trace.n - 1].at_ns / 1e9);
	}
}

int main(void)
{
	LSC_CLEANUP(lsc_trace_release) struct lsc_trace trace = LSC_TRACE_INIT;

	test_formats();
	test_bounds();
	test_bad();
	test_long_line();
	is_int(lsc_trace_read(&trace, "tests/data/traces/none", &err), -ENOENT, "no such file");
	test_real();
	return done_testing();
}
