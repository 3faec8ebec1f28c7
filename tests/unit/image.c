/* image - layout, packing, opening, and manifests that are not to be believed */
#include "model/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/macros.h"
#include "model/layout.h"
#include "model/manifest.h"
#include "stream/record.h"
#include "small_model.h"
#include "tap.h"

static const struct lsc_model_config small = SMALL_MODEL(6, 300);

static char *in_scratch(const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s", scratch(), name) < 0)
		abort();
	return path;
}

static bool pack(const char *dir, const struct lsc_model_config *config,
		 const struct lsc_image_options *options)
{
	struct lsc_err err = LSC_ERR_INIT;
	int r = lsc_image_pack_dummy(config, dir, options, &err);

	if (r < 0)
		printf("# %s\n", err.text);
	return r == 0;
}

/* Every rule of lsc-image(5) on where things lie. */
static bool sound(const struct lsc_image *image)
{
	uint64_t at = 0;
	uint32_t unit = 0, piece = 0;

	for (uint32_t b = 0; b < image->n_blocks; b++) {
		const struct lsc_block *block = &image->blocks[b];

		if (block->offset != at || block->first_unit != unit ||
		    block->first_piece != piece || block->bytes == 0 || block->n_units == 0)
			return false;
		at += block->bytes;
		unit += block->n_units;
		piece += block->n_pieces;
		if (b + 1 < image->n_blocks && at % image->align)
			return false;
	}
	if (at != image->bytes || unit != image->n_units || piece != image->n_pieces)
		return false;
	at = 0;
	for (uint32_t p = 0; p < image->n_pieces; p++) {
		if (lsc_image_piece_offset(image, p) != at)
			return false;
		at += lsc_image_piece_bytes(image, p);
	}
	return at == image->bytes;
}

static void test_pack(void)
{
	LSC_CLEANUP_FREE char *dir = in_scratch("a"), *again = in_scratch("b");
	LSC_CLEANUP(lsc_image_close) struct lsc_image a = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image b = LSC_IMAGE_INIT;
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_BF16, .blocks = 4, .seed = 7};
	struct lsc_err err = LSC_ERR_INIT;
	uint32_t bad;

	ok(pack(dir, &small, &options) && pack(again, &small, &options), "two packs");
	ok(lsc_image_open(&a, dir, &err) == 0, "the first opens");
	ok(lsc_image_open(&b, again, &err) == 0, "the second opens");
	ok(lsc_hash_equal(&a.id, &b.id) && a.bytes == b.bytes && !memcmp(a.data, b.data, a.bytes),
	   "they are the same bytes");
	ok(a.n_blocks == 4 && a.n_units == 8 && sound(&a), "everything lies where it should");
	ok(!memcmp(&a.config, &small, offsetof(struct lsc_model_config, eos)) &&
		   a.config.eos[0] == 2 && a.config.n_eos == 1,
	   "the configuration came through");
	ok(lsc_image_verify(&a, 2, &bad, &err) == 0 && bad == a.n_pieces, "all pieces verify");
	ok(lsc_image_pack_dummy(&small, dir, &options, &err) == -EEXIST,
	   "an image that exists is left alone");
}

/* What only some models have comes through too, bit for bit. */
static void test_options(void)
{
	struct lsc_model_config configs[3] = {small, small, small};

	configs[0].window = 77;
	configs[0].window_first = 5;
	configs[0].rope_scaling = LSC_ROPE_YARN;
	configs[0].rope_factor = 4;
	configs[0].rope_ramp_low = 0;
	configs[0].rope_ramp_high = 6.7f;
	configs[0].rope_attention = 1.1386294f;
	configs[1].window = 1;
	configs[1].rope_scaling = LSC_ROPE_LLAMA3;
	configs[1].rope_factor = 8;
	configs[1].rope_low_freq_factor = 1;
	configs[1].rope_high_freq_factor = 4;
	configs[1].rope_original_context = 64;
	configs[2].rope_scaling = LSC_ROPE_LINEAR;
	configs[2].rope_factor = 2.5f;
	configs[2].qkv_bias = configs[2].qk_norm = configs[2].tied = true;
	for (size_t i = 0; i < LSC_ARRAY_SIZE(configs); i++) {
		LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
		const struct lsc_image_options options = {.dtype = LSC_DTYPE_Q8};
		LSC_CLEANUP_FREE char *dir = NULL;
		struct lsc_err err = LSC_ERR_INIT;

		if (asprintf(&dir, "%s/options%zu", scratch(), i) < 0)
			abort();
		ok(pack(dir, &configs[i], &options) && lsc_image_open(&image, dir, &err) == 0 &&
			   !memcmp(&image.config, &configs[i],
				   offsetof(struct lsc_model_config, eos)),
		   "options of a model, %zu", i);
	}
}

static void test_damage(void)
{
	LSC_CLEANUP_FREE char *dir = in_scratch("damaged"), *file = in_scratch("damaged/image");
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F32};
	struct lsc_err err = LSC_ERR_INIT;
	uint32_t bad = 0;
	int fd;

	ok(pack(dir, &small, &options), "one more pack");
	fd = open(file, O_RDWR | O_CLOEXEC);
	ok(lsc_image_open(&image, dir, &err) == 0, "it opens");
	for (uint32_t piece = 0; piece < image.n_pieces; piece += 3) {
		uint64_t at = lsc_image_piece_offset(&image, piece) + 5;
		uint8_t byte = image.data[at], flipped = byte ^ 1;

		if (pwrite(fd, &flipped, 1, (off_t)at) != 1 ||
		    lsc_image_verify(&image, 3, &bad, &err) < 0 || bad != piece ||
		    pwrite(fd, &byte, 1, (off_t)at) != 1)
			bad = UINT32_MAX;
	}
	ok(bad != UINT32_MAX, "one flipped bit is found in its piece");
	ok(ftruncate(fd, (off_t)image.bytes - 1) == 0, "cut it");
	close(fd);
	lsc_image_close(&image);
	ok(lsc_image_open(&image, dir, &err) == -EBADMSG, "a short image is refused: %s", err.text);
}

/* Lays out without packing; weights of any size cost nothing here. */
static bool lays_out(const struct lsc_model_config *config, uint32_t blocks, enum lsc_dtype dtype,
		     struct lsc_image *image)
{
	struct lsc_err err = LSC_ERR_INIT;

	*image = (struct lsc_image){.config = *config, .dtype = dtype};
	return lsc_layout_tensors(image, &err) == 0 &&
	       lsc_layout_blocks(image, blocks, 0, &err) == 0 && sound(image);
}

/* Whether a block begins within a layer. */
static bool parts_layers(const struct lsc_image *image)
{
	for (uint32_t b = 0; b < image->n_blocks; b++)
		if (!lsc_model_may_begin(&image->config, image->blocks[b].first_unit))
			return true;
	return false;
}

static void test_shapes(void)
{
	unsigned wrong = 0, n = 0;
	const char *name;

	for (; (name = lsc_model_shape_name(n)); n++) {
		const struct lsc_model_config *config = lsc_model_shape(name);
		const uint32_t blocks[] = {0, 1, 2, 7, 100, LSC_MODEL_MAX_BLOCKS};
		struct lsc_err err = LSC_ERR_INIT;

		wrong += lsc_model_config_check(config, &err) < 0;
		for (size_t i = 0; i < LSC_ARRAY_SIZE(blocks); i++) {
			LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;

			wrong += !lays_out(config, blocks[i], i % 2 ? LSC_DTYPE_Q8 : LSC_DTYPE_BF16,
					   &image);
			wrong += image.n_blocks > image.n_units;
			wrong += image.n_blocks <= config->layers && parts_layers(&image);
		}
	}
	ok(n > 10 && wrong == 0, "%u known shapes lay out", n);
}

static void test_tied(void)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;

	ok(lays_out(lsc_model_shape("smollm2-135m"), 16, LSC_DTYPE_BF16, &image),
	   "a tied embedding");
	ok(image.units[0].n_tensors == 0 && image.units[0].needs[0].first == 15,
	   "unit 0 needs the last block");
	ok(lsc_image_tensor(&image, 31, LSC_TENSOR_EMBED) &&
		   !lsc_image_tensor(&image, 0, LSC_TENSOR_EMBED) &&
		   !lsc_image_tensor(&image, 31, LSC_TENSOR_HEAD),
	   "it is stored once, with the head");
	ok(image.align == 2u << 20 && image.piece_bytes == 1u << 18, "a large image's measures");
	ok(image.blocks[3].bytes < 2 * image.blocks[7].bytes &&
		   image.blocks[7].bytes < 2 * image.blocks[3].bytes,
	   "blocks are of nearly equal size");
}

/* The greatest and the least of some blocks. */
static double spread(const struct lsc_image *image)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (uint32_t b = 1; b + 1 < image->n_blocks; b++) {
		least = LSC_MIN(least, image->blocks[b].bytes);
		most = LSC_MAX(most, image->blocks[b].bytes);
	}
	return (double)most / (double)least;
}

/* As many units as there may be, in blocks of nearly equal size, and a manifest of many records. */
static void test_experts(void)
{
	LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_image_close) struct lsc_image again = LSC_IMAGE_INIT;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf manifest = LSC_BUF_INIT;
	struct lsc_model_config config = small;
	struct lsc_err err = LSC_ERR_INIT;

	config.experts = 512;
	config.experts_used = 3;
	config.expert_ffn = 32;
	config.layers = 127;
	config.norm_topk = true;
	ok(lays_out(&config, 100, LSC_DTYPE_BF16, &image) && !parts_layers(&image),
	   "of 127 layers each of 100 blocks begins with one");
	lsc_image_close(&image);
	ok(lays_out(&config, 700, LSC_DTYPE_BF16, &image) && image.n_blocks == 700 &&
		   parts_layers(&image) && spread(&image) < 1.1,
	   "700 blocks hold some experts each, of nearly equal size");
	ok(image.n_units == 1 + 127 * 513 + 1 && lsc_model_head_unit(&config) == 65152,
	   "65153 units");
	ok(lsc_image_tensor(&image, 1, LSC_TENSOR_ROUTER) &&
		   lsc_image_tensor(&image, 514, LSC_TENSOR_ROUTER) &&
		   lsc_image_tensor(&image, 513, LSC_TENSOR_DOWN) &&
		   !lsc_image_tensor(&image, 513, LSC_TENSOR_QKV),
	   "an attention, 512 experts, the next attention");
	ok(lsc_manifest_pack(&image, NULL, 0, &manifest, &err) == 0 &&
		   lsc_image_parse(&again, manifest.data, manifest.len, &err) == 0,
	   "a manifest of %zu bytes: %s", manifest.len, err.text);
	ok(again.n_tensors == image.n_tensors &&
		   !memcmp(again.tensors, image.tensors,
			   image.n_tensors * sizeof(*image.tensors)) &&
		   !memcmp(&again.config, &config, offsetof(struct lsc_model_config, eos)),
	   "which says the same %u tensors", image.n_tensors);
}

/* An image that is refused leaves the descriptors as they were. */
static void test_cut_image(void)
{
	LSC_CLEANUP_FREE char *dir = in_scratch("cut"), *path = in_scratch("cut/image");
	const struct lsc_image_options options = {.dtype = LSC_DTYPE_F16};
	struct lsc_image image = LSC_IMAGE_INIT;
	struct lsc_err err = LSC_ERR_INIT;
	struct stat st;
	int null = open("/dev/null", O_RDONLY);

	ok(null >= 0 && (null == 0 || dup2(null, 0) == 0), "0 is a descriptor like others");
	ok(pack(dir, &small, &options) && stat(path, &st) == 0 &&
		   truncate(path, st.st_size - 1) == 0,
	   "an image is cut short");
	is_int(lsc_image_open(&image, dir, &err), -EBADMSG, "it is refused");
	lsc_image_close(&image);
	ok(fcntl(0, F_GETFD) >= 0, "0 is not closed by that");
	ok(unlink(path) == 0 && lsc_image_open(&image, dir, &err) < 0 && fcntl(0, F_GETFD) >= 0,
	   "nor where it has no data");
}

/* Cuts a sound manifest at every byte, and changes every byte: it is refused. */
static void test_damaged_manifest(struct lsc_buf *manifest)
{
	unsigned accepted_short = 0, accepted = 0;
	struct lsc_err err = LSC_ERR_INIT;

	for (size_t len = 0; len < manifest->len; len++) {
		LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;
		LSC_CLEANUP_FREE uint8_t *copy = malloc(len + 1); /* exact, for the sanitizer */

		memcpy(copy, manifest->data, len);
		copy = realloc(copy, len ? len : 1);
		accepted_short += lsc_image_parse(&image, copy, len, &err) == 0;
	}
	ok(accepted_short == 0, "cut anywhere, a manifest is refused");
	for (size_t at = 0; at < manifest->len; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;

			manifest->data[at] ^= 1u << bit;
			accepted +=
				lsc_image_parse(&image, manifest->data, manifest->len, &err) == 0;
			manifest->data[at] ^= 1u << bit;
		}
	ok(accepted == 0, "with any bit flipped, it is refused");
}

/* Someone who writes a manifest can write its hash too: whatever is then accepted must be sound. */
static void test_hostile_manifest(struct lsc_buf *manifest)
{
	LSC_CLEANUP(lsc_pack_release) struct lsc_pack end = LSC_PACK_INIT;
	unsigned unsound = 0, accepted = 0;
	struct lsc_err err = LSC_ERR_INIT;
	struct lsc_hash hash = {0};
	size_t body;

	lsc_pack_begin(&end, "end");
	lsc_pack_bin(&end, "xxh3-128", hash.bytes, LSC_HASH_BYTES);
	lsc_pack_end(&end);
	body = manifest->len - end.buf.len;
	for (size_t at = 0; at < body; at++) {
		static const uint8_t flips[] = {0x01, 0x80, 0xff, 0x10};

		for (size_t i = 0; i < LSC_ARRAY_SIZE(flips); i++) {
			LSC_CLEANUP(lsc_image_close) struct lsc_image image = LSC_IMAGE_INIT;

			manifest->data[at] ^= flips[i];
			hash = lsc_hash_of(manifest->data, body);
			memcpy(manifest->data + manifest->len - LSC_HASH_BYTES, hash.bytes,
			       LSC_HASH_BYTES);
			if (lsc_image_parse(&image, manifest->data, manifest->len, &err) == 0) {
				accepted++;
				unsound += !sound(&image);
			}
			manifest->data[at] ^= flips[i];
		}
	}
	ok(accepted > 0 && unsound == 0, "changed and sealed again, it is refused or sound (%u)",
	   accepted);
}

static void test_manifest(const char *name, const struct lsc_model_config *config,
			  enum lsc_dtype dtype)
{
	LSC_CLEANUP_FREE char *dir = in_scratch(name), *path = NULL;
	LSC_CLEANUP(lsc_buf_release) struct lsc_buf manifest = LSC_BUF_INIT;
	const struct lsc_image_options options = {.dtype = dtype};
	struct lsc_err err = LSC_ERR_INIT;

	if (asprintf(&path, "%s/manifest", dir) < 0)
		abort();
	if (!ok(pack(dir, config, &options) &&
			lsc_file_read(path, LSC_MANIFEST_MAX_BYTES, &manifest, &err) == 0,
		"a manifest"))
		return;
	test_damaged_manifest(&manifest);
	test_hostile_manifest(&manifest);
}

int main(void)
{
	struct lsc_model_config few;

	test_pack();
	test_options();
	test_damage();
	test_shapes();
	test_tied();
	test_cut_image();
	test_experts();
	test_manifest("hostile", &small, LSC_DTYPE_F16);
	test_manifest("hostile-q8", &small, LSC_DTYPE_Q8);
	few = small;
	few.layers = 2;
	few.experts = 3;
	few.experts_used = 2;
	few.expert_ffn = 16;
	test_manifest("hostile-experts", &few, LSC_DTYPE_BF16);
	return done_testing();
}
