#include "store.h"

#include <string.h>

#include "crc32.h"
#include "hal.h"
#include "hashes.h"
#include "protocol.h"
#include "rom.h"

#define TRAILER_BYTES (STORE_SLOT_BYTES - STORE_PARAMETERS_BYTES)
#define NONE 2u /* no slot */

static const char policy_hash[] ROM = POLICY_HASH;
static const char spec_hash[] ROM = POLICY_SPEC_HASH;

/* What stands behind the parameters, but for the CRC, which is of the parameters and of this. */
static void put_trailer(uint8_t *trailer, uint32_t generation)
{
    (void)put_u32(trailer, generation);
    hash_bytes(policy_hash, trailer + 4);
    hash_bytes(spec_hash, trailer + 12);
}

static uint32_t slot_at(unsigned slot)
{
    return slot * STORE_SLOT_BYTES;
}

/* Whether a slot is whole and of this policy and robot; if so, its generation. */
static int look(unsigned slot, uint32_t *generation)
{
    uint8_t bytes[TRAILER_BYTES];
    uint8_t expected[TRAILER_BYTES];
    uint32_t crc = 0;
    uint32_t found, at;

    for (at = 0; at < STORE_PARAMETERS_BYTES; at += 4) {
        hal_store_read(slot_at(slot) + at, bytes, 4);
        crc = crc32_bytes(crc, bytes, 4);
    }
    hal_store_read(slot_at(slot) + STORE_PARAMETERS_BYTES, bytes, TRAILER_BYTES);
    crc = crc32_bytes(crc, bytes, TRAILER_BYTES - 4);
    (void)get_u32(bytes, generation);
    (void)get_u32(bytes + TRAILER_BYTES - 4, &found);
    put_trailer(expected, *generation);
    return found == crc && memcmp(bytes, expected, TRAILER_BYTES - 4) == 0;
}

/* The slot with the newest generation, or NONE; a generation that wrapped is newer than one that did not. */
static unsigned newest(uint32_t *generation)
{
    uint32_t other;
    const int first = look(0, generation);
    const int second = look(1, &other);

    if (second && (!first || other - *generation < (uint32_t)0x80000000UL)) {
        *generation = other;
        return 1;
    }
    return first ? 0 : NONE;
}

int store_load(float *parameters)
{
    uint8_t bytes[4];
    uint32_t generation, i;
    unsigned slot;

    if (hal_store_size() < STORE_BYTES) {
        return 0;
    }
    slot = newest(&generation);
    if (slot == NONE) {
        return 0;
    }
    for (i = 0; i < POLICY_PARAMETERS; i++) {
        float value;
        hal_store_read(slot_at(slot) + 4u * i, bytes, 4);
        (void)get_f32(bytes, &value);
        if (!params_finite(value)) {
            return 0; /* nobody saves such a number: treat the slot as broken */
        }
        parameters[i] = value;
    }
    return 1;
}

enum store_result store_save(const float *parameters)
{
    uint8_t trailer[TRAILER_BYTES];
    uint8_t bytes[4];
    uint32_t generation = 0;
    uint32_t crc = 0;
    uint32_t written, i;
    unsigned slot;

    if (hal_store_size() < STORE_BYTES) {
        return STORE_TOO_SMALL;
    }
    slot = newest(&generation) == 0 ? 1 : 0;
    generation++;
    for (i = 0; i < POLICY_PARAMETERS; i++) {
        (void)put_f32(bytes, parameters[i]);
        hal_store_write(slot_at(slot) + 4u * i, bytes, 4);
        crc = crc32_bytes(crc, bytes, 4);
    }
    put_trailer(trailer, generation);
    crc = crc32_bytes(crc, trailer, TRAILER_BYTES - 4);
    (void)put_u32(trailer + TRAILER_BYTES - 4, crc);
    hal_store_write(slot_at(slot) + STORE_PARAMETERS_BYTES, trailer, TRAILER_BYTES);
    return look(slot, &written) && written == generation ? STORE_OK : STORE_FAILED;
}

enum store_result store_forget(void)
{
    uint32_t generation;
    unsigned slot;

    if (hal_store_size() < STORE_BYTES) {
        return STORE_OK; /* nothing was ever kept */
    }
    for (slot = 0; slot < 2; slot++) {
        uint8_t crc[4];
        if (!look(slot, &generation)) {
            continue;
        }
        hal_store_read(slot_at(slot) + STORE_SLOT_BYTES - 4, crc, 4);
        crc[0] = (uint8_t)~crc[0]; /* one byte is enough, and one byte is written at once or not at all */
        hal_store_write(slot_at(slot) + STORE_SLOT_BYTES - 4, crc, 1);
    }
    return newest(&generation) == NONE ? STORE_OK : STORE_FAILED;
}

void store_restore(struct params *params)
{
    if (store_load(params->candidate)) {
        params_keep(params);
    }
}

struct params_outcome store_keep(const struct params *params, uint8_t keep)
{
    const enum store_result result = keep ? store_save(params->base) : store_forget();
    struct params_outcome out;

    out.result = result == STORE_OK ? RESULT_OK : RESULT_NOT_STORED;
    out.detail = result == STORE_TOO_SMALL ? STORE_BYTES : 0;
    return out;
}
