/* progress: what people see of many nodes, and what is said in the end */
#include "tap.h"

#include "base/cleanup.h"
#include "cli/progress.h"

#define S 1000000000ull

static const char *frame(const struct lsc_progress *p, unsigned columns, unsigned lines)
{
	static char text[16384];
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;

	lsc_progress_frame(p, columns, lines, &buf);
	snprintf(text, sizeof(text), "%s", buf.data ? (char *)buf.data : "");
	return text;
}

static const char *words(const struct lsc_progress *p, double link_rate)
{
	static char text[512];
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;

	lsc_progress_words(p, link_rate, &buf);
	snprintf(text, sizeof(text), "%s", (char *)buf.data);
	return text;
}

static void set(struct lsc_progress *p, uint32_t i, const char *name, enum lsc_progress_state state,
		uint64_t bytes)
{
	p->nodes[i].name = name;
	p->nodes[i].state = state;
	p->nodes[i].bytes = bytes;
	p->nodes[i].pieces = (uint32_t)(bytes / 1000000);
}

/* The longest line, and how many there are. */
static size_t widest(const char *text, unsigned *ret_lines)
{
	size_t most = 0;

	for (*ret_lines = 0; *text; ++*ret_lines) {
		size_t len = strcspn(text, "\n");

		most = len > most ? len : most;
		text += len + 1;
	}
	return most;
}

static void test_bars(void)
{
	struct lsc_progress p = {.mode = LSC_PROGRESS_NONE};
	unsigned lines;

	lsc_progress_init(&p, 5, 100000000, 100, 0, NULL);
	set(&p, 0, "node01:7000", LSC_PROGRESS_WAITING, 0);
	set(&p, 1, "node02:7000", LSC_PROGRESS_RECEIVING, 0);
	set(&p, 2, "node03:7000", LSC_PROGRESS_SYNCING, 100000000);
	set(&p, 3, "node04:7000", LSC_PROGRESS_COMPLETE, 100000000);
	set(&p, 4, "node05:7000", LSC_PROGRESS_FAILED, 0);
	p.nodes[4].why = "went away, and \033[2J said no more of it, which is a pity";
	for (int i = 1; i <= 50; i++) { /* 5 MB/s for 10 s */
		p.nodes[1].bytes += 1000000;
		p.nodes[1].pieces++;
		lsc_progress_update(&p, (uint64_t)i * S / 5);
	}
	is_str(frame(&p, 72, 24),
	       "node01:7000 [                       ]   0%              0/100 waiting  \n"
	       "node02:7000 [###########            ]  50%  5.00 MB/s  50/100 ETA 0:10 \n"
	       "node03:7000 [#######################] 100%            100/100 syncing  \n"
	       "node04:7000 [#######################] 100%            100/100 complete \n"
	       "node05:7000 failed: went away, and ?[2J said no more of it, which is a \n",
	       "a bar, percent, rate, pieces, and time left or state");
	is_str(frame(&p, 40, 24),
	       "node01:7000 [          ]   0% waiting  \n"
	       "node02:7000 [#####     ]  50% ETA 0:10 \n"
	       "node03:7000 [##########] 100% syncing  \n"
	       "node04:7000 [##########] 100% complete \n"
	       "node05:7000 failed: went away, and ?[2J\n",
	       "less of it on a narrow terminal");
	is_str(frame(&p, 20, 24),
	       "node01:7000   0% wa\n"
	       "node02:7000  50% ET\n"
	       "node03:7000 100% sy\n"
	       "node04:7000 100% co\n"
	       "node05:7000 failed:\n",
	       "and cut on one that is too narrow");
	for (unsigned columns = 1; columns < 600; columns += 13)
		if (widest(frame(&p, columns, 24), &lines) > columns - (columns > 1))
			break;
		else if (columns > 580)
			ok(true, "no line is wider than the terminal");
	is_str(frame(&p, 72, 4),
	       "5 nodes:  50%, 1 failed, 1 complete, 1 syncing, 1 receiving, 1 waiting,\n"
	       "node05:7000 failed: went away, and ?[2J said no more of it, which is a \n"
	       "node01:7000 [                       ]   0%              0/100 waiting  \n",
	       "on a terminal of few lines: all in one, the failed, those behind");
	is_str(frame(&p, 200, 2),
	       "5 nodes:  50%, 1 failed, 1 complete, 1 syncing, 1 receiving, 1 waiting, 5.00 MB/s "
	       "together, ETA 0:10\n",
	       "on one of two lines: all in one");
	frame(&p, 80, 1);
	lsc_progress_release(&p);
}

static void test_many(void)
{
	struct lsc_progress p = {.mode = LSC_PROGRESS_NONE};
	static char names[1000][16];
	const char *text;
	unsigned lines;

	lsc_progress_init(&p, 1000, 100000000, 100, 0, NULL);
	for (uint32_t i = 0; i < 1000; i++) {
		sprintf(names[i], "n%u:1", i);
		set(&p, i, names[i], LSC_PROGRESS_RECEIVING, 50000000 + 1000 * ((i * 77) % 1000));
	}
	set(&p, 500, names[500], LSC_PROGRESS_RECEIVING, 10);
	set(&p, 600, names[600], LSC_PROGRESS_FAILED, 90000000);
	text = frame(&p, 80, 50);
	widest(text, &lines);
	is_int(lines, 24, "1000 nodes take a screen");
	ok(!strncmp(text, "1000 nodes:  50%, 1 failed, 999 receiving", 41), "%.60s", text);
	text = strchr(text, '\n') + 1;
	ok(!strncmp(text, "n600:1 failed", 13), "first the one that failed: %.13s", text);
	text = strchr(text, '\n') + 1;
	ok(!strncmp(text, "n500:1 ", 7), "then the one that is behind: %.7s", text);
	lsc_progress_release(&p);
}

static void test_summary(void)
{
	struct lsc_progress p = {.mode = LSC_PROGRESS_NONE};

	lsc_progress_init(&p, 2, 100000000, 100, 0, NULL);
	set(&p, 0, "a", LSC_PROGRESS_WAITING, 0);
	set(&p, 1, "b", LSC_PROGRESS_WAITING, 0);
	lsc_progress_update(&p,
			    S); /* a second until all are ready, 10 of it at 10 MB/s, one more */
	for (unsigned i = 1; i <= 50; i++) {
		set(&p, 0, "a", LSC_PROGRESS_RECEIVING, 2000000ull * i);
		set(&p, 1, "b", LSC_PROGRESS_RECEIVING, 1000000ull * i);
		lsc_progress_update(&p, S + i * S / 5);
	}
	set(&p, 0, "a", LSC_PROGRESS_COMPLETE, 100000000);
	set(&p, 1, "b", LSC_PROGRESS_COMPLETE, 100000000);
	lsc_progress_update(&p, 12 * S);
	is_str(words(&p, 1e7),
	       "2 nodes complete in 12.0 s: 200 MB at 0.0167 GB/s together, "
	       "1.200 x one copy at 10.0 MB/s",
	       "against a link");
	is_str(words(&p, 0),
	       "2 nodes complete in 12.0 s: 200 MB at 0.0167 GB/s together, "
	       "1.21 x the quickest node's 9.9 s",
	       "against the quickest");
	p.nodes[1].state = LSC_PROGRESS_FAILED;
	p.nodes[1].bytes = 0;
	is_str(words(&p, 1e7),
	       "1 of 2 nodes complete in 12.0 s: 100 MB at 0.00833 GB/s together, "
	       "1.200 x one copy at 10.0 MB/s",
	       "one of them failed");
	p.nodes[1].state = LSC_PROGRESS_COMPLETE;
	p.nodes[0].had_bytes = p.nodes[1].had_bytes = p.nodes[1].bytes = 100000000;
	is_str(words(&p, 1e7), "2 nodes complete in 12.0 s, nothing was to be moved", "all had it");
	p.nodes[1].had_bytes = 50000000;
	is_str(words(&p, 1e7), "2 nodes complete in 12.0 s: 50.0 MB at 0.00417 GB/s together",
	       "no ratio where a part was there");
	lsc_progress_release(&p);
}

int main(void)
{
	test_bars();
	test_many();
	test_summary();
	return done_testing();
}
