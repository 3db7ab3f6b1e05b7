/* Parameters of a policy in integers: compiled in, and nothing else. All that would change them is refused. */
#include "params.h"

#include <string.h>

#include "protocol.h"

static const struct params_outcome ok = {RESULT_OK, 0};
static const struct params_outcome refused = {RESULT_FROZEN, 0};

int params_finite(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7F800000UL) != 0x7F800000UL;
}

struct params_outcome params_init(struct params *params)
{
    params->base_crc = POLICY_PARAMETERS_CRC32;
    params->uploading = 0;
    return ok;
}

int params_selftest(struct params *params, struct policy_state *memory, float *worst)
{
    static const uint32_t infinity = 0x7F800000UL; /* integers are right or wrong */
    const int failed = policy_selftest_counts(memory);

    (void)params;
    *worst = 0.0f;
    if (failed) {
        memcpy(worst, &infinity, sizeof *worst);
    }
    return failed;
}

const float *params_in_force(const struct params *params)
{
    (void)params;
    return 0;
}

uint8_t params_read(const struct params *params, uint32_t offset, float *values)
{
    (void)params;
    (void)offset;
    (void)values;
    return 0;
}

struct params_outcome params_begin(struct params *params, uint32_t count, uint32_t crc)
{
    (void)params;
    (void)count;
    (void)crc;
    return refused;
}

struct params_outcome params_chunk(struct params *params, uint32_t offset, uint8_t used, const float *values)
{
    (void)params;
    (void)offset;
    (void)used;
    (void)values;
    return refused;
}

struct params_outcome params_end(struct params *params)
{
    (void)params;
    return refused;
}

/* The base itself runs; a candidate beside it needs float32. */
struct params_outcome params_candidate(struct params *params, uint32_t seed, float sigma)
{
    (void)params;
    (void)seed;
    return sigma < 0.0f || sigma > 0.0f || !params_finite(sigma) ? refused : ok;
}

struct params_outcome params_commit(struct params *params, uint32_t seed, float sigma, uint32_t expected)
{
    (void)params;
    (void)seed;
    (void)sigma;
    (void)expected;
    return refused;
}
