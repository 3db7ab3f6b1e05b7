/*
 * params.h - the parameters in RAM: a base, and the candidate of the running episode.
 * Nothing becomes base unless all of it came, its CRC-32 is the one announced, and every number is finite.
 */
#ifndef PARAMS_H
#define PARAMS_H

#include <stdint.h>

#include "policy.h"

#ifdef POLICY_FROZEN
struct params { /* none: frozen/params.c refuses what would change them */
    uint32_t base_crc; /* of the constants compiled in */
    uint8_t uploading;
};
#else
struct params {
    float base[POLICY_PARAMETERS];
    float candidate[POLICY_PARAMETERS]; /* between episodes also where an upload is gathered */
    uint32_t base_crc;
    uint32_t upload_crc;
    uint32_t upload_next; /* index of the first parameter that has not come yet */
    uint8_t uploading;
};
#endif

/* How a change of parameters went; a value of enum protocol_result, and what stands beside it. */
struct params_outcome {
    uint8_t result;
    uint32_t detail;
};

/* CRC-32 (zlib) of floats as little-endian bytes. Start with 0; feed in pieces by handing the last result back. */
uint32_t params_crc32(uint32_t crc, const float *values, uint32_t count);

int params_finite(float value);

/* Base = the policy compiled in. Returns RESULT_NOT_FINITE where that is damaged. */
struct params_outcome params_init(struct params *params);

/* Replays the test vectors of the policy compiled in, in place of the candidate; an unfinished upload is given up.
 * memory: of the policy, of no episode that runs. Returns 0 if all is well; *worst is the largest error. */
int params_selftest(struct params *params, struct policy_state *memory, float *worst);

/* What an episode is to run with: the candidate; a null pointer where the policy is frozen. */
const float *params_in_force(const struct params *params);

/* Base parameters from `offset` on into values[PROTOCOL_CHUNK_FLOATS]; returns how many. */
uint8_t params_read(const struct params *params, uint32_t offset, float *values);

struct params_outcome params_begin(struct params *params, uint32_t count, uint32_t crc);
struct params_outcome params_chunk(struct params *params, uint32_t offset, uint8_t used, const float *values);
struct params_outcome params_end(struct params *params);

/* candidate = base, */
void params_restart(struct params *params);

/* and then candidate += factor * direction(seed), one product and one sum, as often as wanted. */
struct params_outcome params_step(struct params *params, uint32_t seed, float factor);

/* candidate = base + sigma * direction(seed); sigma 0 is the base itself. */
struct params_outcome params_candidate(struct params *params, uint32_t seed, float sigma);

/* base = candidate, which params_candidate or params_step has made. */
void params_keep(struct params *params);

/* base = base + sigma * direction(seed) if the result has the CRC `expected`, else no change. Done already: no change
 * either, and OK, so that the command may be repeated. */
struct params_outcome params_commit(struct params *params, uint32_t seed, float sigma, uint32_t expected);

#endif
