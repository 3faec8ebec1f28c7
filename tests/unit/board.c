/* A gate's words as a table: what fits, what changes, what is wrong. */
#include "gate/board.h"

#include <string.h>

#include "base/cleanup.h"
#include "tap.h"

#define MODEL                                                                                      \
	"\"model\":{\"name\":\"m\",\"chat\":\"none\",\"context\":64,\"vocab\":256,\"units\":8,"    \
	"\"blocks\":10,\"bytes\":10000000}"
#define CLUSTER                                                                                    \
	"{" MODEL ",\"t\":12.5,\"ready\":true,\"ended\":false,\"queue\":9,\"waiting\":1,"          \
	"\"running\":2,\"positions\":30,\"requests\":7,\"failed\":1,\"cancelled\":1,"              \
	"\"prompt_tokens\":%d,\"tokens\":%d,\"routes\":2,\"switches\":3,"                          \
	"\"stages\":[{\"node\":0,\"first\":0,\"last\":2},{\"node\":1,\"first\":3,\"last\":7}],"    \
	"\"nodes\":[" NODE(0, "local", "true", "10", "true") "," NODE(1, "10.0.0.2:7000", "false", \
								      "%d", "false") "]}"
#define NODE(number, name, source, blocks, complete)                                               \
	"{\"node\":" #number ",\"name\":\"" name "\",\"source\":" source ",\"blocks\":" blocks     \
	",\"complete\":" complete ",\"failed\":false,\"up\":true,\"busy\":2}"

static int take(struct lsc_board *board, const char *metrics, double now_s, int prompt, int tokens,
		int blocks)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;

	lsc_buf_printf(&text, CLUSTER, prompt, tokens, blocks);
	return lsc_board_take(board, (char *)text.data, text.len, metrics, now_s, NULL);
}

/* The counter of first tokens, as a gate that had so many in each of two buckets tells it. */
static void metrics_of(struct lsc_buf *text, unsigned quick, unsigned slow)
{
	const struct lsc_cluster cluster = LSC_CLUSTER_INIT;
	struct lsc_meter meter = {.up = true};

	while (quick--)
		lsc_histogram_add(&meter.first, 0.02);
	while (slow--)
		lsc_histogram_add(&meter.first, 2);
	text->len = 0;
	lsc_meter_write(&meter, &cluster, text);
}

static bool has_line(const struct lsc_buf *text, const char *line)
{
	const char *at = strstr((char *)text->data, line);

	return at && (at == (char *)text->data || at[-1] == '\n') && at[strlen(line)] == '\n';
}

static void test_table(void)
{
	LSC_CLEANUP(lsc_board_release) struct lsc_board board = LSC_BOARD_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;

	ok(take(&board, "", 100, 10, 50, 2) == 0 && take(&board, "", 101, 30, 90, 4) == 0, "taken");
	ok(lsc_board_draw(&board, "http://h:1", 80, 24, &text) == 0, "drawn");
	ok(has_line(&text, "m at http://h:1: ready, 0 of 1 nodes complete, casting, 12 s"),
	   "what it is");
	ok(has_line(&text, "requests  1 waiting, 2 running, 2 done, 1 failed, 3 moved"),
	   "requests");
	ok(has_line(&text, "tokens    40.0/s answered, 20.0/s of prompts"), "rates of tokens");
	ok(has_line(&text, "route     units 0-2 on node 0, 3-7 on node 1"), "the route");
	ok(has_line(&text, "node  name          state                       held       rate  busy  "
			   "units"),
	   "heads");
	ok(has_line(&text, "   0  local         source   [################] 100%          -     2  "
			   "0-2"),
	   "a source");
	ok(has_line(&text, "   1  10.0.0.2:7000 loading  [######          ]  40%   500 kB/s     2  "
			   "3-7"),
	   "a node that loads, at a rate of 2 MB in a second, smoothed");
}

static void test_narrow(void)
{
	LSC_CLEANUP(lsc_board_release) struct lsc_board board = LSC_BOARD_INIT;
	bool fits = true;

	take(&board, "", 100, 10, 50, 2);
	for (unsigned columns = 0; columns <= 120; columns++)
		for (unsigned lines = 0; lines < 9; lines++) {
			LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
			unsigned n = 0;

			fits = fits &&
			       lsc_board_draw(&board, "http://h:1", columns, lines, &text) == 0;
			for (char *at = (char *)text.data, *end; at && *at; at = end + 1, n++) {
				end = strchr(at, '\n');
				fits = fits && end && (size_t)(end - at) <= columns;
			}
			fits = fits && n <= lines;
		}
	ok(fits, "a table is never wider or longer than there is room");
}

static void test_first_token(void)
{
	LSC_CLEANUP(lsc_board_release) struct lsc_board board = LSC_BOARD_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;

	metrics_of(&text, 0, 0);
	take(&board, (char *)text.data, 1, 0, 0, 0);
	ok(lsc_board_first_token(&board, 0.5) == 0, "none came");
	metrics_of(&text, 8, 0);
	take(&board, (char *)text.data, 2, 0, 0, 0);
	ok(lsc_board_first_token(&board, 0.5) > 0.01 && lsc_board_first_token(&board, 0.95) < 0.025,
	   "within the bucket that has them");
	metrics_of(&text, 8, 2);
	take(&board, (char *)text.data, 3, 0, 0, 0);
	ok(lsc_board_first_token(&board, 0.5) < 0.025 && lsc_board_first_token(&board, 0.95) > 1,
	   "a part in another");
	for (int s = 4; s < 120; s++)
		take(&board, (char *)text.data, s, 0, 0, 0);
	metrics_of(&text, 8, 3);
	take(&board, (char *)text.data, 120, 0, 0, 0);
	ok(lsc_board_first_token(&board, 0.1) > 1, "those of the last minute alone");
	for (int s = 121; s < 300; s++)
		take(&board, (char *)text.data, s, 0, 0, 0);
	ok(lsc_board_first_token(&board, 0.5) < 0.025, "or of all, where it had none");
}

static void test_words(void)
{
	static const char no_router[] =
		"{\"model\":null,\"ready\":false,\"nodes\":[],\"stages\":[]}";
	static const char *const wrong[] = {"",
					    "[]",
					    "{",
					    "{}x",
					    "{\"model\":3}",
					    "{\"model\":{\"name\":1}}",
					    "{\"t\":1}",
					    "{" MODEL ",\"t\":\"now\"}"};
	LSC_CLEANUP(lsc_board_release) struct lsc_board board = LSC_BOARD_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	bool refused = true;

	take(&board, "", 100, 10, 50, 2);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		refused = refused && lsc_board_take(&board, wrong[i], strlen(wrong[i]), "", 101,
						    &err) == -EBADMSG;
	ok(refused, "what is no cluster is refused");
	ok(lsc_board_line(&board, &text) == 0 &&
		   has_line(&text, "12 s: ready, 0 of 1 nodes complete, 20% held, 1 waiting, 2 "
				   "running, 0.0 tokens/s"),
	   "and changes nothing");
	text.len = 0;
	lsc_board_json(&board, &text);
	ok(strstr((char *)text.data, "\"tokens_s\":0,") &&
		   strstr((char *)text.data, "\"rates\":[0,0]}\n"),
	   "an object");
	text.len = 0;
	ok(lsc_board_take(&board, no_router, strlen(no_router), "", 102, &err) == 0 &&
		   lsc_board_draw(&board, "http://h:1", 80, 24, &text) == 0 &&
		   has_line(&text, "http://h:1: no router is there"),
	   "a gate without a router");
}

int main(void)
{
	test_table();
	test_narrow();
	test_first_token();
	test_words();
	return done_testing();
}
