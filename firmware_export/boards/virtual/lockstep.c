#include "lockstep.h"

#include <string.h>

#include "hal.h"

#define PERIOD ((uint64_t)ROBOT_CONTROL_PERIOD_US)

static struct lockstep {
    struct firmware firmware;
    int paced;
    int unplugged;
    int stands; /* time is virtual in this turn: it moves by control periods only */

    uint64_t time_us;    /* the controller's clock, as last read */
    uint64_t offset_us;  /* wall clock minus controller's clock, while that follows it */
    uint64_t next_tick_us;
    uint64_t alive_wall_us; /* wall clock at the last sign of life */
    uint32_t alive_us;      /* firmware.alive_us at that moment */
    uint64_t tick_wall_us;  /* wall clock at the last control period */

    int32_t sensors[ROBOT_SENSORS];
    int32_t actuators[ROBOT_ACTUATORS];
    int torque_on;
    int dirty; /* the world has not seen the last command yet */
    int fresh; /* the sensors belong to a control period that has not been run yet */
    unsigned episodes;
} board;

static void request(char kind, uint32_t episode_seed)
{
    board_world(kind, episode_seed, board.time_us, board.actuators, board.torque_on, board.sensors);
    board.dirty = 0;
}

/* ---- hal.h ---- */

void hal_sense(int32_t *sensors)
{
    memcpy(sensors, board.sensors, sizeof board.sensors);
}

void hal_actuate(const int32_t *actuators, int torque_on)
{
    if (memcmp(board.actuators, actuators, sizeof board.actuators) != 0 || board.torque_on != torque_on) {
        memcpy(board.actuators, actuators, sizeof board.actuators);
        board.torque_on = torque_on;
        board.dirty = 1;
    }
}

uint32_t hal_now_us(void)
{
    if (!board.stands) { /* a stamp is the time of its making, not that of the turn: the host measures by it */
        board.time_us = board_wall_us() - board.offset_us;
    }
    return (uint32_t)(board.time_us & 0xFFFFFFFFu);
}

void hal_episode_begin(uint32_t episode_seed)
{
    board.stands = !board.paced;
    request('R', episode_seed);
    board.fresh = 1;
    board.episodes++;
    board.alive_wall_us = board_wall_us();
}

/* ---- time ---- */

/* Microseconds of wall clock until virtual time may move on by one control period; 0: now. */
static uint64_t until_step(uint64_t wall)
{
    const uint32_t age = (uint32_t)((board.time_us + PERIOD) & 0xFFFFFFFFu) - board.firmware.alive_us;
    const uint64_t silence = wall - board.alive_wall_us;

    /* an action that the host owes may take a control period of real time, as it could on a robot */
    if (board.firmware.awaits && wall - board.tick_wall_us < PERIOD) {
        return PERIOD - (wall - board.tick_wall_us);
    }

    if (age < (uint32_t)ROBOT_HOLD_US || silence >= age) {
        return 0;
    }
    return age - silence;
}

static void step(void)
{
    request('S', 0);
    if (!board.paced) {
        board.time_us += PERIOD;
        board.offset_us -= PERIOD;
    }
}

static void run_tick(void)
{
    const struct episode *const episode = &board.firmware.episode;
    if (safety_torque(board.firmware.state) && !board_tick(board.episodes, episode->begun ? episode->tick + 1u : 0u)) {
        board.unplugged = 1;
    }
    board.tick_wall_us = board_wall_us();
    firmware_tick(&board.firmware);
    board.fresh = 0;
    board.next_tick_us = board.time_us + PERIOD;
}

int lockstep_turn(void)
{
    struct firmware *const firmware = &board.firmware;
    const uint64_t wall = board_wall_us();

    board.stands = safety_torque(firmware->state) && !board.paced;
    if (board.stands) {
        board.offset_us = wall - board.time_us;
    } else {
        board.time_us = wall - board.offset_us;
        if (board.dirty && !board.paced) {
            step();
        }
    }
    firmware_poll(firmware);
    if (firmware->alive_us != board.alive_us) {
        board.alive_us = firmware->alive_us;
        board.alive_wall_us = wall;
    }
    if (safety_torque(firmware->state) && board.fresh) {
        run_tick();
        return 1;
    }
    if (safety_torque(firmware->state) && !board.paced) {
        const uint64_t wait = until_step(wall);
        if (wait == 0) {
            step();
            board.fresh = 1;
        } else {
            board_wait(wait);
        }
        return 1;
    }
    if (board.time_us >= board.next_tick_us) {
        const uint64_t due = board.next_tick_us;
        if (board.paced) {
            step();
        }
        run_tick();
        if (board.time_us < due + PERIOD) {
            board.next_tick_us = due + PERIOD; /* absolute deadlines do not drift */
        }
        return 1;
    }
    if (board.unplugged && !safety_torque(firmware->state) && !board.dirty) {
        return 0;
    }
    board_wait(board.dirty && !board.paced ? 0 : board.next_tick_us - board.time_us);
    return 1;
}

void lockstep_start(const char *name, uint32_t firmware_id, uint32_t boot_id, int paced)
{
    memset(&board, 0, sizeof board); /* it may be a reset */
    board.paced = paced;
    board.offset_us = board_wall_us();
    memcpy(board.actuators, robot_safe, sizeof board.actuators);
    request('R', 0); /* sensors show something real from the start */
    firmware_init(&board.firmware, name, firmware_id, boot_id);
}
