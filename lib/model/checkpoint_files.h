/* The files a checkpoint is made of, mapped.  Inside lib/model only. */
#ifndef LSC_MODEL_CHECKPOINT_FILES_H
#define LSC_MODEL_CHECKPOINT_FILES_H

#include "base/io.h"
#include "model/checkpoint.h"
#include "model/gguf.h"

struct lsc_checkpoint_file {
	char *name; /* relative to the directory, or the file's base name */
	struct lsc_map map;
};

struct lsc_checkpoint_files {
	struct lsc_checkpoint_file *files;
	size_t n;
	struct lsc_gguf gguf; /* of a GGUF file; it owns the tensors then */
};

/* Maps DIR/name (or DIR itself where name is NULL) and adds it.  *ret_map stays good until the
 * checkpoint is closed.  -ENOENT where it does not exist. */
int lsc_checkpoint_map(struct lsc_checkpoint_files *files, const char *dir, const char *name,
		       struct lsc_map *ret_map, struct lsc_err *err);

/* The map of a file by name, or NULL. */
const struct lsc_map *lsc_checkpoint_mapped(const struct lsc_checkpoint_files *files,
					    const char *name);

/* Maps what a Hugging Face directory has and reads its tensors into checkpoint. */
int lsc_checkpoint_open_hf(struct lsc_checkpoint *checkpoint, struct lsc_err *err);

#endif
