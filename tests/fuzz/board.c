/* fuzz board: any text as a gate's /cluster, and behind a 0 as its /metrics; what is taken is drawn
 * within bounds, and makes JSON */
#include "gate/board.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static void draw(const struct lsc_board *board, unsigned columns, unsigned lines)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT;
	unsigned n = 0;

	check(lsc_board_draw(board, "http://h:1", columns, lines, &text) == 0);
	for (char *at = (char *)text.data, *end; at && *at; at = end + 1, n++) {
		end = strchr(at, '\n');
		check(end && (size_t)(end - at) <= columns);
	}
	check(n <= lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	LSC_CLEANUP(lsc_board_release) struct lsc_board board = LSC_BOARD_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf text = LSC_BUF_INIT, json = LSC_BUF_INIT;
	const uint8_t *zero = len ? memchr(data, 0, len) : NULL;
	size_t first = zero ? (size_t)(zero - data) : len;
	struct lsc_err err = LSC_ERR_INIT;
	json_t *tree;

	check(lsc_buf_add(&text, data, len) == 0);
	for (int i = 1; i < 4; i++)
		if (lsc_board_take(&board, (char *)text.data, first,
				   zero ? (char *)text.data + first + 1 : "", i, &err) < 0)
			check(err.text[0] != 0);
	draw(&board, 80, 24);
	draw(&board, 40, 3);
	check(lsc_board_json(&board, &json) == 0);
	tree = json_loadb((char *)json.data, json.len, 0, NULL);
	check(tree != NULL);
	json_decref(tree);
	return 0;
}
