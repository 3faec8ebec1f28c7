/* logits - raw f32 numbers of the machine's byte order, [positions][vocab]
 *
 * A prompt is fed in parts, so that a long one takes no more memory than a short one; that changes
 * no bit of the answer.
 */
#include "logits.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/macros.h"

#define ROWS 64 /* positions at once */

int exec_logits_open(struct exec_logits *logits, const char *path, uint32_t vocab,
		     struct lsc_err *err)
{
	*logits = (struct exec_logits)EXEC_LOGITS_INIT;
	if (!path)
		return 0;
	logits->rows = malloc((size_t)ROWS * vocab * sizeof(*logits->rows));
	if (!logits->rows)
		return lsc_err_set(err, ENOMEM, "no memory for %u logits", vocab);
	logits->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (logits->fd < 0)
		return lsc_err_set(err, errno, "cannot create '%s': %m", path);
	logits->path = path;
	return 0;
}

int exec_logits_feed(struct exec_logits *logits, struct lsc_session *session, const uint32_t *ids,
		     uint32_t n, uint32_t *ret_token, struct lsc_err *err)
{
	const size_t row_bytes = session->image->config.vocab * sizeof(*logits->rows);
	int r = 0;

	if (!logits->path)
		return lsc_session_feed(session, ids, n, ret_token, err);
	session->all_logits = logits->rows;
	for (uint32_t at = 0; r == 0 && at < n; at += ROWS) {
		uint32_t some = LSC_MIN(n - at, ROWS);

		r = lsc_session_feed(session, ids + at, some, ret_token, err);
		if (r < 0)
			break;
		r = lsc_write_full(logits->fd, logits->rows, some * row_bytes);
		if (r < 0)
			lsc_err_set(err, -r, "cannot write '%s': %m", logits->path);
	}
	session->all_logits = NULL;
	return r;
}

int exec_logits_end(struct exec_logits *logits, struct lsc_err *err)
{
	int fd = logits->fd;

	logits->fd = -1;
	if (fd >= 0 && close(fd) < 0)
		return lsc_err_set(err, errno, "cannot write '%s': %m", logits->path);
	return 0;
}

void exec_logits_close(struct exec_logits *logits)
{
	struct stat st;

	if (logits->fd >= 0) {
		if (fstat(logits->fd, &st) == 0 && S_ISREG(st.st_mode))
			unlink(logits->path);
		close(logits->fd);
	}
	free(logits->rows);
	*logits = (struct exec_logits)EXEC_LOGITS_INIT;
}
