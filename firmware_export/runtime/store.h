/*
 * store.h - parameters that outlive a power cut: two slots in whatever memory the board has for it (hal_store_*).
 *
 * A slot is the parameters, and behind them the generation, the hashes of policy and robot, and a CRC-32 of all of it.
 * Saving writes the slot that does not hold the newest generation, and nothing else. So whenever the power goes, at any
 * byte, the other slot is what it was: the old parameters or the new ones, never a mix.
 */
#ifndef STORE_H
#define STORE_H

#include <stdint.h>

#include "params.h"
#include "policy.h"

#define STORE_PARAMETERS_BYTES (4u * POLICY_PARAMETERS)
/* generation, hashes of the policy compiled in and of the robot, CRC-32 */
#define STORE_SLOT_BYTES (STORE_PARAMETERS_BYTES + 4u + 8u + 8u + 4u)
#define STORE_BYTES (2u * STORE_SLOT_BYTES)

enum store_result {
    STORE_OK = 0,
    STORE_TOO_SMALL = 1, /* the board has no memory for two slots */
    STORE_FAILED = 2     /* what was read back is not what was written */
};

/* Newest parameters[POLICY_PARAMETERS] that were saved by a firmware with this policy and robot; 0, with parameters
 * left alone, where there are none. */
int store_load(float *parameters);

/* Saves parameters[POLICY_PARAMETERS] and reads them back. */
enum store_result store_save(const float *parameters);

/* Makes both slots invalid: the policy compiled in is what starts next. */
enum store_result store_forget(void);

/* Base = what was saved, where there is something. */
void store_restore(struct params *params);

/* PARAMS_STORE: saves the base, or forgets what was saved. */
struct params_outcome store_keep(const struct params *params, uint8_t keep);

#endif
