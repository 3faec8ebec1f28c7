/* hf_index - any text as the index of a sharded model, beside a shard that is sound */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "model/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char dir[4096];

static void write_file(const char *name, const void *data, size_t len)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || lsc_write_full(fd, data, len) < 0)
		abort();
	close(fd);
}

static void remove_dir(void)
{
	lsc_dir_remove(dir, NULL);
}

static void make_dir(void)
{
	static const char shard[] =
		"\x42\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"
		"}            \0\0\0\0";
	const char *temp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/lsc-fuzz.XXXXXX", temp ? temp : "/tmp");
	if (!mkdtemp(dir))
		abort();
	atexit(remove_dir);
	write_file("config.json", "{}", 2);
	write_file("a.safetensors", shard, sizeof(shard) - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lsc_checkpoint checkpoint = LSC_CHECKPOINT_INIT;
	struct lsc_err err = LSC_ERR_INIT;

	if (!dir[0])
		make_dir();
	write_file("model.safetensors.index.json", data, len);
	if (lsc_checkpoint_open(&checkpoint, dir, &err) == 0) {
		for (size_t i = 0; i < checkpoint.n_tensors; i++)
			if (strcmp(checkpoint.tensors[i].name, "a") != 0)
				abort();
		lsc_checkpoint_close(&checkpoint);
	}
	return 0;
}
