/* What a test asks of the emulated device. */
#ifndef EMULATED_EMULATE_H
#define EMULATED_EMULATE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In which order threads of a block, and blocks, go on between two barriers: what is right does not
 * depend on it. */
enum emulated_order { EMULATED_FORWARD, EMULATED_BACKWARD, EMULATED_SHUFFLED };
void emulated_set_order(enum emulated_order order);

void emulated_set_devices(int n);         /* 1 at first */
void emulated_set_memory(size_t bytes);   /* of the device; 1 GiB at first */
void emulated_set_shared(size_t bytes);   /* that a block may ask for; 227 KiB at first */
void emulated_set_cores(int n);           /* multiprocessors; 4 at first */
size_t emulated_memory_used(void);        /* device and pinned */
unsigned long emulated_launches(void);    /* kernels and products that ran so far */
unsigned long emulated_graphs(void);      /* graphs launched so far */
unsigned long emulated_allocations(void); /* of device and pinned memory so far */

#ifdef __cplusplus
}
#endif

#endif
