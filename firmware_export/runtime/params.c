#include "params.h"

#include <string.h>

#include "crc32.h"
#include "directions.h"
#include "protocol.h"
#include "rom.h"

#define NO_INDEX ((uint32_t)0xFFFFFFFFUL) /* detail of NOT_FINITE: the number is none of the parameters */

static const struct params_outcome ok = {RESULT_OK, 0};

static struct params_outcome outcome(uint8_t result, uint32_t detail)
{
    const struct params_outcome out = {result, detail};
    return out;
}

uint32_t params_crc32(uint32_t crc, const float *values, uint32_t count)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        uint8_t bytes[4];
        (void)put_f32(bytes, values[i]);
        crc = crc32_bytes(crc, bytes, sizeof bytes);
    }
    return crc;
}

int params_finite(float value)
{
    uint32_t bits;
    /* by its bits, so that no compiler flag can argue it away */
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7F800000UL) != 0x7F800000UL;
}

static uint32_t first_not_finite(const float *values, uint32_t count)
{
    uint32_t i;
    for (i = 0; i < count; i++) {
        if (!params_finite(values[i])) {
            return i;
        }
    }
    return NO_INDEX;
}

/* candidate = the policy compiled in */
static void exported(struct params *params)
{
    uint32_t i;

    params->uploading = 0; /* the buffer is needed now */
    for (i = 0; i < POLICY_PARAMETERS; i++) {
        params->candidate[i] = rom_f32(&policy_parameters[i]);
    }
}

struct params_outcome params_init(struct params *params)
{
    uint32_t bad;

    exported(params);
    memcpy(params->base, params->candidate, sizeof params->base);
    bad = first_not_finite(params->base, POLICY_PARAMETERS);
    params->base_crc = params_crc32(0, params->base, POLICY_PARAMETERS);
    return bad == NO_INDEX ? ok : outcome(RESULT_NOT_FINITE, bad);
}

int params_selftest(struct params *params, struct policy_state *memory, float *worst)
{
    (void)memory;
    exported(params);
    return policy_selftest_of(params->candidate, worst);
}

const float *params_in_force(const struct params *params)
{
    return params->candidate;
}

uint8_t params_read(const struct params *params, uint32_t offset, float *values)
{
    uint8_t used = 0;

    while (used < PROTOCOL_CHUNK_FLOATS && offset < POLICY_PARAMETERS) {
        values[used] = params->base[offset];
        used++;
        offset++;
    }
    return used;
}

struct params_outcome params_begin(struct params *params, uint32_t count, uint32_t crc)
{
    if (count != POLICY_PARAMETERS) {
        return outcome(RESULT_BAD_RANGE, POLICY_PARAMETERS);
    }
    params->uploading = 1;
    params->upload_crc = crc;
    params->upload_next = 0;
    return ok;
}

struct params_outcome params_chunk(struct params *params, uint32_t offset, uint8_t used, const float *values)
{
    uint32_t bad;

    if (!params->uploading || used == 0 || used > PROTOCOL_CHUNK_FLOATS || offset > params->upload_next ||
        used > POLICY_PARAMETERS - offset) {
        return outcome(RESULT_BAD_RANGE, params->uploading ? params->upload_next : 0);
    }
    bad = first_not_finite(values, used);
    if (bad != NO_INDEX) {
        return outcome(RESULT_NOT_FINITE, offset + bad);
    }
    memcpy(&params->candidate[offset], values, used * sizeof values[0]);
    if (offset + used > params->upload_next) {
        params->upload_next = offset + used;
    }
    return ok;
}

struct params_outcome params_end(struct params *params)
{
    uint32_t crc;

    if (!params->uploading || params->upload_next != POLICY_PARAMETERS) {
        return outcome(RESULT_BAD_RANGE, params->uploading ? params->upload_next : 0);
    }
    crc = params_crc32(0, params->candidate, POLICY_PARAMETERS);
    if (crc != params->upload_crc) {
        return outcome(RESULT_BAD_CRC, crc);
    }
    params->uploading = 0;
    memcpy(params->base, params->candidate, sizeof params->base);
    params->base_crc = crc;
    return ok;
}

void params_restart(struct params *params)
{
    params->uploading = 0; /* the buffer of an unfinished upload is needed now */
    memcpy(params->candidate, params->base, sizeof params->candidate);
}

struct params_outcome params_step(struct params *params, uint32_t seed, float factor)
{
    struct direction direction;
    uint32_t i;

    direction_start(&direction, seed);
    for (i = 0; i < POLICY_PARAMETERS; i++) {
        const float step = factor * direction_element(&direction, i);
        params->candidate[i] = params->candidate[i] + step;
        if (!params_finite(params->candidate[i])) {
            return outcome(RESULT_NOT_FINITE, i);
        }
    }
    return ok;
}

struct params_outcome params_candidate(struct params *params, uint32_t seed, float sigma)
{
    params_restart(params);
    if (!params_finite(sigma)) {
        return outcome(RESULT_NOT_FINITE, NO_INDEX);
    }
    return sigma < 0.0f || sigma > 0.0f ? params_step(params, seed, sigma) : ok;
}

void params_keep(struct params *params)
{
    memcpy(params->base, params->candidate, sizeof params->base);
    params->base_crc = params_crc32(0, params->base, POLICY_PARAMETERS);
}

struct params_outcome params_commit(struct params *params, uint32_t seed, float sigma, uint32_t expected)
{
    struct params_outcome made;
    uint32_t crc;

    if (!params_finite(sigma)) {
        return outcome(RESULT_NOT_FINITE, NO_INDEX);
    }
    if (params->base_crc == expected) {
        return ok;
    }
    made = params_candidate(params, seed, sigma);
    if (made.result != RESULT_OK) {
        return made;
    }
    crc = params_crc32(0, params->candidate, POLICY_PARAMETERS);
    if (crc != expected) {
        return outcome(RESULT_BAD_CRC, crc);
    }
    memcpy(params->base, params->candidate, sizeof params->base);
    params->base_crc = crc;
    return ok;
}
