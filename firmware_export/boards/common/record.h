/*
 * record.h - what a virtual board and its world say to each other: fixed little-endian records, each request answered
 * with the sensor counts.
 *
 *   request  u8 kind ('R' reset, 'S' step one control period), u8 torque_on, u16 0, u32 episode_seed,
 *            u64 time_us, i32 actuators[ROBOT_ACTUATORS]
 *   reply    i32 sensors[ROBOT_SENSORS]
 *
 * A robot on a servo bus has its actuators and sensors there. Of the request only what stands before the actuators is
 * left, and the reply is one byte, the kind again: the time has been taken note of.
 */
#ifndef RECORD_H
#define RECORD_H

#include "protocol.h"

#define REQUEST_BYTES (16 + 4 * ROBOT_ACTUATORS)
#define REPLY_BYTES (4 * ROBOT_SENSORS)
#define TIME_BYTES 16
#define TIME_REPLY_BYTES 1

static inline uint8_t *record_time(uint8_t *p, char kind, uint32_t episode_seed, uint64_t time_us, int torque_on)
{
    p = put_u8(p, (uint8_t)kind);
    p = put_u8(p, (uint8_t)(torque_on != 0));
    p = put_u16(p, 0);
    p = put_u32(p, episode_seed);
    p = put_u32(p, (uint32_t)(time_us & 0xFFFFFFFFu));
    return put_u32(p, (uint32_t)(time_us >> 32));
}

static inline void record_request(uint8_t *p, char kind, uint32_t episode_seed, uint64_t time_us,
                                  const int32_t *actuators, int torque_on)
{
    int i;
    p = record_time(p, kind, episode_seed, time_us, torque_on);
    for (i = 0; i < ROBOT_ACTUATORS; i++) {
        p = put_i32(p, actuators[i]);
    }
}

static inline void record_reply(const uint8_t *p, int32_t *sensors)
{
    int i;
    for (i = 0; i < ROBOT_SENSORS; i++) {
        p = get_i32(p, &sensors[i]);
    }
}

#endif
