/* wishes: kept, read again, replaced, refused where they are damaged */
#include "tap.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tier/wishes.h"

static struct lsc_err err;
static char dir[] = "/tmp/lsc-wishes.XXXXXX", path[64];

static bool has(const struct lsc_wishes *wishes, const char *name, bool pinned, int priority)
{
	const struct lsc_wish *wish = lsc_wishes_find(wishes, name);

	return wish && wish->pinned == pinned && wish->priority == priority;
}

int main(void)
{
	struct lsc_wishes wishes = LSC_WISHES_INIT;
	struct lsc_buf buf = LSC_BUF_INIT;

	if (!mkdtemp(dir))
		return 71;
	snprintf(path, sizeof(path), "%s/.lsc", dir);
	mkdir(path, 0777);
	snprintf(path, sizeof(path), "%s/.lsc/wishes", dir);
	ok(lsc_wishes_open(&wishes, dir, &err) == 0 && !wishes.all,
	   "without a file there are none");
	ok(lsc_wishes_set(&wishes, "a", true, 0, &err) == 0 &&
		   lsc_wishes_set(&wishes, "b", false, 7, &err) == 0 &&
		   lsc_wishes_set(&wishes, "c", true, LSC_PRIORITY_MAX, &err) == 0,
	   "some are set");
	ok(lsc_wishes_set(&wishes, "a", true, 3, &err) == 0 && has(&wishes, "a", true, 3),
	   "one is changed");
	lsc_wishes_close(&wishes);
	ok(lsc_wishes_open(&wishes, dir, &err) == 0 && has(&wishes, "a", true, 3) &&
		   has(&wishes, "b", false, 7) && has(&wishes, "c", true, LSC_PRIORITY_MAX),
	   "they are there again");
	ok(lsc_wishes_set(&wishes, "b", false, 0, &err) == 0 && !lsc_wishes_find(&wishes, "b"),
	   "what wishes nothing is none");
	lsc_wishes_close(&wishes);
	ok(lsc_file_read(path, 1 << 20, &buf, &err) == 0 &&
		   lsc_file_write(path, buf.data, buf.len - 1, &err) == 0 &&
		   lsc_wishes_open(&wishes, dir, &err) == -EBADMSG,
	   "a file that is cut short is refused");
	lsc_wishes_close(&wishes);
	ok(lsc_file_write(path, "nonsense", 8, &err) == 0 &&
		   lsc_wishes_open(&wishes, dir, &err) == -EBADMSG && strstr(err.text, path),
	   "so is another one, by its name");
	lsc_wishes_close(&wishes);
	lsc_buf_release(&buf);
	unlink(path);
	path[strlen(path) - strlen("/wishes")] = 0;
	rmdir(path);
	rmdir(dir);
	return done_testing();
}
