/*
 * world.h - the physical world of a board that is a program of this machine: it is at the other end of a socket, and
 * answers each record (record.h) with the sensor counts.
 */
#ifndef WORLD_H
#define WORLD_H

#include <stdint.h>

#include "robot_model.h"

struct world {
    int fd;
    int32_t sensors[ROBOT_SENSORS]; /* as of the last reply */
};

/* Prints what went wrong, with errno's words if it is not 0, and ends the program. */
__attribute__((noreturn)) void die(const char *what);

/* Microseconds of a clock that only moves forward. */
uint64_t wall_us(void);

/* One request and its reply; ends the program when the other end of the socket is gone. */
void world_request(struct world *world, char kind, uint32_t episode_seed, uint64_t time_us, const int32_t *actuators,
                   int torque_on);

#endif
