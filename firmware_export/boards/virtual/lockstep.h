/*
 * lockstep.h - the main loop of a board whose world is simulated and whose time is virtual: the host board, and chips
 * in an emulator that does not keep time itself.
 *
 * In RUN and HOLD time moves by one control period a step of the world, as fast as the world answers, but the watchdog
 * must not see a silence that was none: time since the last keep-alive reaches ROBOT_HOLD_US only if the host has
 * really been silent for that long. So an episode repeats bit for bit, however slow the host is. In the other states
 * time follows the wall clock and the world rests, but for the one step that shows it the last command. Paced: time is
 * the wall clock and the world always moves.
 *
 * It is most of hal.h; the board gives the serial line (hal_uart_*) and the four functions below.
 */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include <stdint.h>

#include "firmware.h"

/* ---- given by the board ---- */

/* Microseconds of real time; only moves forward. */
uint64_t board_wall_us(void);

/* One request to the world ('R' reset, 'S' step one control period) and its answer, the sensor counts. */
void board_world(char kind, uint32_t episode_seed, uint64_t time_us, const int32_t *actuators, int torque_on,
                 int32_t *sensors);

/* Waits for bytes from the host, at most so long. */
void board_wait(uint64_t limit_us);

/* Called before each control period with torque: number of the episode, from 1 on, and of the period. Returns 0 when
 * nobody can ever be at the other end of the line again. */
int board_tick(unsigned episode, unsigned tick);

/* ---- for the board ---- */

/* Everything up to the main loop; a first request to the world is part of it. */
void lockstep_start(const char *name, uint32_t firmware_id, uint32_t boot_id, int paced);

/* One turn of the main loop; returns 0 when the line is gone for good and the actuators are released. */
int lockstep_turn(void);

#endif
