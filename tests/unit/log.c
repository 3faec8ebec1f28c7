/* log: a message is one line, whatever is in it */
#include "tap.h"

#include <fcntl.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

int main(void)
{
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf buf = LSC_BUF_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	char path[4096], very_long[4000];
	int saved = dup(STDERR_FILENO), fd;

	memset(very_long, 'y', sizeof(very_long) - 1);
	very_long[sizeof(very_long) - 1] = 0;
	snprintf(path, sizeof(path), "%s/log", scratch());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0 || saved < 0 || dup2(fd, STDERR_FILENO) < 0)
		return 1;
	lsc_log_setup("lsc-test", LSC_LOG_NOTICE);
	lsc_notice("told '%s'", "\x1b[31mred\nlsc-test: all is well\r\x7f");
	lsc_info("not shown");
	lsc_warning("%s", very_long);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fd);
	ok(lsc_file_read(path, 1 << 20, &buf, &err) == 0 &&
		   !strncmp((char *)buf.data,
			    "lsc-test: told '?[31mred?lsc-test: all is well?"
			    "?'\n",
			    50),
	   "control characters are not passed on");
	ok(buf.len == 50 + 1024 && !strncmp((char *)buf.data + 50, "lsc-test: warning: yyy", 22) &&
		   buf.data[buf.len - 1] == '\n',
	   "what is too long is cut, and ends its line");
	return done_testing();
}
